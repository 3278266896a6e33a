"""Any file of prices into a PriceSeries, with a report of what was understood and of every repair."""

import re
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pgcore.market.cells import Cells, IntArray, NeedsChoice
from pgcore.market.column_choice import PRICE_ROLES, Choices, Taken, choose_columns, is_numeric, pick_ticker, text_columns
from pgcore.market.column_names import meaning
from pgcore.market.dates import Dates, read_clock, read_dates, read_epochs
from pgcore.market.file_text import LIMIT_BYTES, FileText, open_text
from pgcore.market.header import kind
from pgcore.market.layout import DELIMITERS, Layout, find_layout
from pgcore.market.numbers import Numbers, decide_decimal, decimal_evidence, read_numbers
from pgcore.market.prices import PriceError, PriceSeries
from pgcore.market.reading import ReadColumns, read_columns
from pgcore.market.repair import Log, look_over, repair

__all__ = ["LIMIT_BYTES", "Choices", "ImportReport", "Imported", "NeedsChoice", "import_prices"]

MOST_UNREADABLE = 0.05


@dataclass(frozen=True)
class ImportReport:
    """What the importer understood. `columns` maps each role to the column taken for it, `available` lists all columns."""

    rows: int
    first: str
    last: str
    encoding: str
    delimiter: str
    decimal: str
    date_order: str
    header_line: int
    columns: dict[str, str]
    available: tuple[str, ...]
    tickers: tuple[str, ...]
    ticker: str
    repairs: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report in plain words, one sentence a line."""
        taken = ", ".join(f'{role} from "{label}"' for role, label in self.columns.items())
        header = f"column names in line {self.header_line}" if self.header_line else "no column names"
        mark = "decimal comma" if self.decimal == "," else "decimal point"
        separated = f", separated by {self.delimiter}" if self.delimiter else ""
        return [
            f"{self.rows:,} rows from {self.first} to {self.last}{f' of {self.ticker}' if self.ticker else ''}.",
            f"Read as {self.encoding}{separated}; {header}; {mark}; dates {self.date_order}.",
            f"Taken: {taken}.",
            *(f"Repaired: {what} ({count:,})." for what, count in self.repairs),
            *(f"Note: {warning}" for warning in self.warnings),
        ]


@dataclass(frozen=True)
class Imported:
    """A history and how it was read."""

    series: PriceSeries
    report: ImportReport


def import_prices(data: bytes, filename: str = "", choices: Choices | None = None, least_rows: int = 2) -> Imported:
    """Reads prices out of the bytes of a file: CSV and its kin in any dialect, .gz, .zip, .xlsx, Parquet.

    Nothing is guessed: where the file can be read in two ways, NeedsChoice says which field of `choices` settles it. Nothing
    is filled from the future. Raises PriceError, with one sentence, for everything that cannot be used, and for a history
    shorter than `least_rows`.
    """
    text = open_text(data, filename)
    layout = find_layout(text.data)
    try:
        return _import_table(text, layout, filename, choices or Choices(), least_rows)
    except PriceError as error:
        error.columns = layout.labels
        raise


def _import_table(text: FileText, layout: Layout, filename: str, choices: Choices, least_rows: int) -> Imported:
    taken = choose_columns(layout, choices)
    table = _read(layout, replace(taken, ticker_columns=_telling_columns(layout, taken)), choices, text.decimal)
    log = Log()
    log.repair("lines with another number of cells left out", table.left_out)
    log.repair("lines of a second table below left out", table.below)
    _lost_dates(table, log)
    log.warnings.extend(note for note in (*table.taken.notes, table.dates.note, *_unreadable(table, layout)) if note)
    if choices.ticker and not table.taken.tickers:
        log.warnings.append(f"The file does not tell tickers apart, so {choices.ticker!r} was not looked for.")
    series = _repaired(table, log, filename, choices, least_rows)
    report = _report(text, layout, table, series, log)
    del table  # a long history should not stand in memory twice while it is looked over
    look_over(series, log)
    return Imported(series, replace(report, repairs=tuple(log.repairs.items()), warnings=tuple(log.warnings)))


def _repaired(table: "_Table", log: Log, filename: str, choices: Choices, least_rows: int) -> PriceSeries:
    columns = {role: table.numbers[column].values for role, column in table.taken.columns}
    scale_from = None if table.taken.scale_from is None else table.numbers[table.taken.scale_from].values
    stem = re.sub(r"(\.(csv|txt|tsv|xls|xlsx|gz|zip|parquet))+$", "", PurePath(filename).name, flags=re.IGNORECASE)
    name = table.taken.ticker or stem or "prices"
    return repair(table.dates.values, columns, log, name, scale_from, choices.fill_gaps, least_rows)


@dataclass(frozen=True, eq=False)
class _Table:
    """The columns of one instrument as they were read."""

    taken: Taken
    dates: Dates
    date_cells: Cells | None
    numbers: dict[int, Numbers]
    decimal: str
    left_out: int
    below: int


def _read(layout: Layout, taken: Taken, choices: Choices, decimal: str | None) -> _Table:
    """Reads the columns that are taken, of the ticker that is chosen."""
    decimal = choices.decimal or decimal or _decimal_of_sample(layout, taken)
    date = taken.date[0] if len(taken.date) == 1 else None
    found = read_columns(layout, taken.texts(), date, taken.numeric(), decimal)
    first_table = _first_table(found.read, layout, taken)
    below = len(found.read[taken.date[0]]) - len(first_table[taken.date[0]])
    columns, taken = _of_one_ticker(first_table, taken, choices)
    clock = None if taken.clock is None else read_clock(Cells.of(columns.pop(taken.clock)))
    dates, date_cells = _dates([columns.pop(i) for i in taken.date], clock, choices.date_order)
    texts = {i: Cells.of(columns.pop(i)) for i in taken.numeric() if i in columns and not isinstance(columns[i], np.ndarray)}
    if decimal is None:
        prices = [texts[column] for role, column in taken.columns if role != "volume" and column in texts]
        others = [Cells.of(layout.sample_of(i)) for i in range(layout.width) if i not in taken.used() and is_numeric(layout, i)]
        decimal = decide_decimal([prices, texts.values(), others])
    marks = dict.fromkeys(texts, decimal)
    volume = dict(taken.columns).get("volume")
    if volume in texts:  # whole numbers, whose mark for thousands some programs take no care to match with the prices
        speaks, _ = decimal_evidence([texts[volume]])
        marks[volume] = next(iter(speaks)) if len(speaks) == 1 else decimal
    numbers = {i: read_numbers(texts[i], marks[i]) if i in texts else Numbers(columns[i]) for i in taken.numeric()}
    return _Table(taken, dates, date_cells, numbers, decimal, len(found.left_out), below)


def _first_table(columns: ReadColumns, layout: Layout, taken: Taken) -> ReadColumns:
    """The rows above those names that begin another table, as of dividends: a date, and beside it no name of this table."""
    date, numeric = taken.date[0], taken.numeric()
    if any(isinstance(columns[column], np.ndarray) for column in (date, *numeric)):
        return columns  # names would not have let them be read as values
    names = [rows for shape, rows in Cells.of(columns[date]).groups() if kind(shape) == "word" and _names_date(shape)]
    for row in np.sort(np.concatenate(names)).tolist() if names else ():
        cells = {column: columns[column][row].as_py().strip() for column in numeric}
        words = {column: cell for column, cell in cells.items() if kind(cell) == "word"}
        if words and not any(meaning(word).role in PRICE_ROLES or word in layout.labels[i] for i, word in words.items()):
            return {i: column[:row] for i, column in columns.items()}
    return columns


def _names_date(cell: str) -> bool:
    return any(meaning(word).role == "date" for word in re.findall(r"\w+", cell))


def _dates(parts: list[Any], clock: IntArray | None, order: str | None) -> tuple[Dates, Cells | None]:
    """The dates, and the cells they were read from where those were text."""
    if isinstance(parts[0], np.ndarray):
        dates = read_epochs(parts[0]) if parts[0].dtype.kind == "i" else Dates(parts[0])
        return (dates if clock is None else replace(dates, values=dates.values + clock.astype("timedelta64[us]"))), None
    whole = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*(part.combine_chunks() for part in parts), " ")
    cells = Cells.of(whole)
    return read_dates(cells, order, clock), cells


def _decimal_of_sample(layout: Layout, taken: Taken) -> str | None:
    """The decimal mark, where already the first prices settle it."""
    prices = [Cells.of(layout.sample_of(column)) for role, column in taken.columns if role != "volume"]
    speaks, _ = decimal_evidence(prices)
    return next(iter(speaks)) if len(speaks) == 1 else None


def _of_one_ticker(columns: ReadColumns, taken: Taken, choices: Choices) -> tuple[ReadColumns, Taken]:
    """The rows of the chosen ticker, where columns tell tickers apart."""
    if not taken.ticker_columns:
        return columns, taken
    told = [columns[column].combine_chunks() for column in taken.ticker_columns]
    encoded = (told[0] if len(told) == 1 else pc.binary_join_element_wise(*told, " ")).dictionary_encode()
    tickers = [ticker.strip() for ticker in encoded.dictionary.to_pylist()]
    named = list(dict.fromkeys(ticker for ticker in tickers if ticker))
    codes = encoded.indices.to_numpy()
    if len(named) == 0:
        return columns, replace(taken, ticker_columns=())
    wanted = pick_ticker(named, choices.ticker if len(named) > 1 or taken.tickers == () else None)
    taken = replace(taken, tickers=tuple(named), ticker=wanted)
    mask = np.isin(codes, [i for i, ticker in enumerate(tickers) if ticker == wanted])
    if mask.all():
        return columns, taken
    chosen = pa.array(mask)
    return {i: c[mask] if isinstance(c, np.ndarray) else c.filter(chosen) for i, c in columns.items()}, taken


def _telling_columns(layout: Layout, taken: Taken) -> tuple[int, ...]:
    """The columns that tell rows of one date apart: that of tickers, and one of words where dates still repeat."""
    candidates = text_columns(layout, taken)
    if not candidates:
        return taken.ticker_columns
    known = [*taken.date, *(() if taken.clock is None else (taken.clock,)), *taken.ticker_columns]
    columns = read_columns(layout, [*known, *candidates]).read
    words = {column: columns[column].combine_chunks().dictionary_encode() for column in columns}
    codes = np.zeros(len(words[known[0]]), np.int64)
    for column in known:
        codes = _paired(codes, words[column])
    if _mostly_differ(codes):
        return taken.ticker_columns
    for column in candidates:
        if 1 < len(words[column].dictionary) < 0.5 * codes.size and _mostly_differ(_paired(codes, words[column])):
            return (*taken.ticker_columns, column)
    return taken.ticker_columns


def _paired(codes: IntArray, words: pa.DictionaryArray) -> IntArray:
    """A number for each pair of a code and a word, [rows]."""
    pairs = codes * len(words.dictionary) + words.indices.to_numpy()
    return np.unique(pairs, return_inverse=True)[1]


def _mostly_differ(codes: IntArray) -> bool:
    return np.unique(codes).size > 0.98 * codes.size


def _lost_dates(table: _Table, log: Log) -> None:
    """Rows without a date: those at the end are footers; others are left out if they are few. Raises PriceError for many."""
    missing = np.isnat(table.dates.values)
    if not missing.any():
        return
    example = "" if table.date_cells is None else table.date_cells.text(int(np.flatnonzero(missing)[0])).strip()
    dated = np.flatnonzero(~missing)
    if dated.size == 0:
        raise PriceError(f'The dates cannot be read: "{example[:40]}" is no date. Write them as 2024-01-31.')
    behind = missing.size - 1 - int(dated[-1])
    within = int(missing.sum()) - behind
    if within > MOST_UNREADABLE * missing.size:
        raise PriceError(
            f'{within:,} of {missing.size:,} dates cannot be read, the first is "{example[:40]}": correct these rows or take '
            "them out."
        )
    shown = f', as "{example[:30]}"' if example and within else ""
    log.repair("lines below the table left out", behind)
    log.repair(f"rows without a readable date left out{shown}", within)


def _unreadable(table: _Table, layout: Layout) -> list[str]:
    """Notes on cells that are no numbers. Raises PriceError where the close of many rows is none."""
    notes = []
    dated = int((~np.isnat(table.dates.values)).sum())
    for role, column in table.taken.columns:
        numbers = table.numbers[column]
        if not numbers.unreadable:
            continue
        label = layout.labels[column]
        if role in PRICE_ROLES and numbers.unreadable > MOST_UNREADABLE * dated + (table.dates.values.size - dated):
            raise PriceError(
                f'{numbers.unreadable:,} cells of the column "{label}" are no numbers, the first is "{numbers.example[:40]}": '
                "correct them, or choose another column or decimal mark."
            )
        what = f'{numbers.unreadable:,} cells of the column "{label}" are no numbers, as "{numbers.example[:40]}"'
        notes.append(f"{what}, and count as missing.")
    return notes


def _report(text: FileText, layout: Layout, table: _Table, series: PriceSeries, log: Log) -> ImportReport:
    midnight = bool((series.dates == series.dates.astype("datetime64[D]")).all())
    first, last = (str(date)[: 10 if midnight else 16].replace("T", " ") for date in (series.dates[0], series.dates[-1]))
    columns = {"date": " + ".join(layout.labels[i] for i in table.taken.date)}
    if table.taken.clock is not None:
        columns["time"] = layout.labels[table.taken.clock]
    columns |= {role: layout.labels[column] for role, column in table.taken.columns}
    return ImportReport(
        rows=len(series),
        first=first,
        last=last,
        encoding=", ".join((text.encoding, *text.notes)),
        delimiter="" if text.decimal else DELIMITERS.get(layout.delimiter, layout.delimiter),
        decimal=table.decimal,
        date_order=table.dates.order,
        header_line=layout.header_line,
        columns=columns,
        available=layout.labels,
        tickers=table.taken.tickers,
        ticker=table.taken.ticker,
        repairs=tuple(log.repairs.items()),
        warnings=tuple(log.warnings),
    )
