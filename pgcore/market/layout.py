"""Where the table in a text is: its delimiter, its columns, its first row."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from pgcore.market.cells import Cells
from pgcore.market.column_names import Meaning, meaning
from pgcore.market.dates import is_date, is_monotone, read_dates
from pgcore.market.file_text import LONGEST_LINE
from pgcore.market.header import MOST_NAMED, NumberedRow, Row, fit_header, header_above, kind, known_names, label, names_date
from pgcore.market.prices import PriceError

MOST_COLUMNS = 20_000
DELIMITERS = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "vertical bar",
    "^": "caret",
    "~": "tilde",
    "!": "exclamation mark",
    ":": "colon",
    "&": "ampersand",
    "  ": "two or more spaces",
    " ": "spaces",
}
_SAMPLE_ROWS, _SAMPLE_CELLS = 250, 20_000
_SCORED_ROWS = 60
_LONGEST_ROW = 20  # lines; a quotation mark that opens a longer one was never closed
_LIKELY = 0.6  # share of its cells that make a column one of dates


@dataclass(frozen=True, eq=False)
class Layout:
    """The table: what its columns are called and mean, and where its rows start.

    `data` begins with the first row. `header_line` counts from 1; 0 means that the file names no columns. `sample` holds
    the first rows. `date` lists the columns that make up the date. `quoted`: quotation marks hold cells together. `regular`:
    a plain CSV reader splits the rows as they should be.
    """

    data: memoryview
    delimiter: str
    labels: tuple[str, ...]
    meanings: tuple[Meaning, ...]
    header_line: int
    sample: list[Row]
    date: tuple[int, ...]
    quoted: bool = True
    regular: bool = True

    @property
    def width(self) -> int:
        return len(self.labels)

    def sample_of(self, column: int) -> list[str]:
        return [row[column] for row in self.sample]


def find_layout(data: bytes | memoryview) -> Layout:
    """The table in a UTF-8 text, by the delimiter that makes most sense of its first lines. Raises PriceError."""
    view = memoryview(data)
    lines, starts = _first_lines(view)
    first = "\n".join(lines[:_SCORED_ROWS])
    candidates = [delimiter for delimiter in DELIMITERS if delimiter in first] or [","]
    if hint := re.fullmatch(r"sep=(.)", lines[0].strip(' "'), re.IGNORECASE):
        lines[0], candidates = "", [hint[1]]
    best = max((_attempt(lines[:_SCORED_ROWS], delimiter) for delimiter in candidates), key=lambda attempt: attempt.score)
    return _layout(view, lines, starts, _attempt(lines, best.delimiter, best.quoted))


def _first_lines(view: memoryview) -> tuple[list[str], list[int]]:
    """The first lines, without a last one that is cut off, and the byte each starts at."""
    for size in (2**18, 2**22, len(view)):
        head = bytes(view[:size])
        if len(head) > LONGEST_LINE and not re.search(rb"[\r\n]", head[:LONGEST_LINE]):
            _refuse_line(head)
        ends = [found.span() for found in re.finditer(rb"\r\n|\n|\r", head)][: 4 * _SAMPLE_ROWS]
        if len(ends) > 20 or len(head) == len(view):
            break
    starts = [0, *(end for _, end in ends)]
    stops = [stop for stop, _ in ends]
    if len(head) == len(view) and starts[-1] < len(head):
        stops.append(len(head))
    pieces = [head[start:stop] for start, stop in zip(starts, stops, strict=False)]
    for piece in pieces:
        if len(piece) > LONGEST_LINE:
            _refuse_line(piece)
    return [piece.decode(errors="replace") for piece in pieces], starts


def _refuse_line(line: bytes) -> NoReturn:
    columns = max(line.count(delimiter) for delimiter in (b",", b";", b"\t", b"|")) + 1
    raise PriceError(
        f"A line of the file is longer than {LONGEST_LINE // 2**20} MB"
        + (f" and has more than {MOST_COLUMNS:,} columns" if columns > MOST_COLUMNS else "")
        + ": it is no price table. Give a file with one row a day."
    )


def split(lines: Sequence[str], delimiter: str, quoted: bool = True) -> Iterator[NumberedRow]:
    """The cells of each row, and the number of the line it starts on. Raises PriceError for far too many columns."""
    for row, number in _quoted_rows(lines, delimiter) if quoted and delimiter.strip(" ") else _bare_rows(lines, delimiter):
        if len(row) > MOST_COLUMNS:
            raise PriceError(f"The file has {len(row):,} columns: it is no price table. Give a file with one row a day.")
        yield row, number


def _quoted_rows(lines: Sequence[str], delimiter: str) -> Iterator[NumberedRow]:
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
    while True:
        number = reader.line_num
        try:
            yield next(reader), number
        except StopIteration:
            return
        except csv.Error:
            continue


def _bare_rows(lines: Sequence[str], delimiter: str) -> Iterator[NumberedRow]:
    """Rows in which a quotation mark is no more than a mark."""
    separators = {" ": r"\s+", "  ": r"\s{2,}|\t"}
    for number, line in enumerate(lines):
        cells = re.split(separators[delimiter], line.strip()) if delimiter in separators else line.split(delimiter)
        yield [cell.strip(' "') for cell in cells], number


@dataclass(frozen=True)
class _Attempt:
    """The first lines under one delimiter. `width` is that of most rows with a date and a number; 0: there is none."""

    delimiter: str
    quoted: bool
    rows: list[NumberedRow]
    width: int
    score: float


def _attempt(lines: Sequence[str], delimiter: str, quoted: bool = True) -> _Attempt:
    """Scores a delimiter by the share of cells it makes sense of and the names it finds above them."""
    rows = _rows(lines, delimiter, quoted)
    if rows is None:
        return _attempt(lines, delimiter, quoted=False)
    widths: Counter[int] = Counter()
    explained: dict[int, float] = {}
    for row, _ in rows:
        if len(row) > 1 and _is_body(row):
            kinds = Counter(kind(cell) for cell in row[:MOST_NAMED])
            sense = kinds["date"] + kinds["weak"] + kinds["number"] + kinds["clock"] + kinds["missing"] / 2 - 2 * kinds["odd"]
            widths[len(row)] += 1
            explained[len(row)] = explained.get(len(row), 0.0) + sense / min(len(row), MOST_NAMED)
    names, named = max(((known_names(row), len(row)) for row, _ in rows[:_SCORED_ROWS]), default=(0, 0))
    if not widths:
        return _Attempt(delimiter, quoted, rows, 0, 0.01 * names)
    width = max(widths, key=lambda w: (widths[w], w))
    share = max(explained[width], 0.01) / len(rows)
    fit = 1.2 if names and named == width else 0.5 if named > width else 1.0
    return _Attempt(delimiter, quoted, rows, width, share * (1 + 0.3 * names) * fit)


def _rows(lines: Sequence[str], delimiter: str, quoted: bool) -> list[NumberedRow] | None:
    """The first rows that hold a letter or a digit; None where quotation marks do not hold cells together after all."""
    rows, cells, after = [], 0, 0
    for row, number in split(lines, delimiter, quoted):
        whole_line_quoted = len(row) == 1 and row[0].count(delimiter) > 1 and '"' in lines[number]
        if quoted and (number - after > _LONGEST_ROW or whole_line_quoted):
            return None
        after = number
        if any(c.isalnum() for cell in row for c in cell):
            rows.append((row, number))
            cells += len(row)
        if len(rows) > _SAMPLE_ROWS or (cells > _SAMPLE_CELLS and len(rows) > 10):
            return rows
    if quoted and len(lines) - after > 1 and sum(line.count('"') for line in lines[after:]) % 2:
        return None
    return rows


def _is_body(row: Row) -> bool:
    """Whether a row holds a date and a number."""
    kinds = Counter(kind(cell) for cell in row[:MOST_NAMED])
    numbers = kinds["number"] + kinds["weak"]
    return (kinds["date"] > 0 and numbers > 0) or (kinds["weak"] > 0 and numbers > 1)


def _layout(view: memoryview, lines: Sequence[str], starts: Sequence[int], attempt: _Attempt) -> Layout:
    """Header, dates and first row of the rows as one delimiter gives them."""
    rows, width = attempt.rows, attempt.width
    found = _three_part_dates(rows) or (_one_date(rows, width) if width else None)
    if found is None:
        _refuse(rows)
    levels, header_line, date, first = found
    sample = [row for row, _ in rows[first:] if len(row) == (len(levels[0]) if len(date) == 3 else width)]
    if len(date) == 1:
        levels, date = fit_header(levels, width, date[0], sample, may_be_wider=bool(attempt.delimiter.strip(" ")))
    labels, meanings = label(levels, len(sample[0]), date)
    line = rows[first][1]
    spaced_quotes = re.compile(re.escape(attempt.delimiter) + r' +"')
    return Layout(
        data=view[starts[line] :],
        delimiter=attempt.delimiter,
        labels=labels,
        meanings=meanings,
        header_line=header_line,
        sample=sample,
        date=date,
        quoted=attempt.quoted,
        regular=not any(spaced_quotes.search(text) for text in lines[line : line + _SCORED_ROWS]),
    )


_Found = tuple[
    list[Row], int, tuple[int, ...], int
]  # header rows, line of the first, columns of the date, index of the first row


def _one_date(rows: Sequence[NumberedRow], width: int) -> _Found | None:
    """The header and the date of a table whose dates stand in one column (or go on in the next)."""
    wide = [i for i, (row, _) in enumerate(rows) if len(row) == width]
    body = [i for i in wide if _is_body(rows[i][0])]
    kinds = [Counter(kind(rows[i][0][column]) for i in body) for column in range(width)]
    filled = [max(len(body) - count["missing"], 1) for count in kinds]
    strong = [c for c in range(width) if kinds[c]["date"] > _LIKELY * filled[c]]
    weak = [c for c in range(width) if c not in strong and kinds[c]["date"] + kinds[c]["weak"] > _LIKELY * filled[c]]
    for date in strong or weak:
        first = next(i for i in wide if kind(rows[i][0][date]) in ("date", "weak"))
        if kind(rows[first][0][date]) == "weak" and first not in body:
            first = body[0]
        levels, line = header_above(rows[:first], width, date)
        if any(_date_rank(levels, c) < _date_rank(levels, date) for c in strong):
            continue
        if strong or _can_be_dates(levels, date, [rows[i][0][date] for i in body]):
            return levels, line, (date,), first
    return None


def _date_rank(levels: Sequence[Row], column: int) -> int:
    """How well the name of a column fits the dates of prices: "Trade Date" before "Settlement Date" before none, from 0."""
    named = [meaning(level[column]) for level in levels if len(level) > column]
    return min((name.rank for name in named if name.role == "date"), default=9)


def _can_be_dates(levels: Sequence[Row], column: int, cells: Sequence[str]) -> bool:
    """Whether numbers are epochs or serial days: they are called so, or have no name and only rise or only fall."""
    if any(names_date(level, column) for level in levels):
        return True
    if any(len(level) > column and meaning(level[column]).role for level in levels):
        return False
    try:
        dates = read_dates(Cells.of(list(cells))).values
    except PriceError:
        return False
    return not np.isnat(dates).any() and is_monotone(dates, strictly=True)


def _three_part_dates(rows: Sequence[NumberedRow]) -> _Found | None:
    """The header and the date of a table with columns named year, month and day; None if it has none."""
    for i, (row, number) in enumerate(rows[:20]):
        roles = [meaning(cell).role for cell in row[:MOST_NAMED]]
        if {"year", "month", "day"} <= set(roles) and len(rows) > i + 1:
            date = tuple(roles.index(part) for part in ("year", "month", "day"))
            below = [below for below, _ in rows[i + 1 :] if len(below) == len(row)]
            if below and all(kind(" ".join(cells[part] for part in date)) == "date" for cells in below):
                return [row], number + 1, date, i + 1
    return None


def _refuse(rows: Sequence[NumberedRow]) -> NoReturn:
    """Says what is missing of names, rows, dates and prices."""
    for i, (header, _) in enumerate(rows):
        if known_names(header) >= max(2, 0.2 * len(header)):
            below = [row for row, _ in rows[i + 1 :] if len(row) >= 2]
            if not below:
                raise PriceError(f"The file has column names ({', '.join(header)[:100]}) but no rows below them.")
            date = next((column for column in range(len(header)) if names_date(header, column)), None)
            cell = "" if date is None else next((row[date] for row in below if len(row) > date and row[date].strip()), "")
            if cell and not is_date(cell):
                raise PriceError(f'The dates cannot be read: "{cell.strip()[:40]}" is no date. Write them as 2024-01-31.')
    kinds = Counter(kind(cell) for row, _ in rows for cell in row[:MOST_NAMED])
    wanted = "Give a file with a date and a price on each line."
    if kinds["date"] > 0.5 * len(rows):
        raise PriceError(f"The file has dates but no prices beside them. {wanted}")
    if kinds["number"] + kinds["weak"] > 2 * len(rows):
        raise PriceError(f"The file has numbers but no dates. {wanted}")
    text = " ".join(" ".join(cell for row, _ in rows[:20] for cell in row).split())
    raise PriceError(f'The file holds no table of dates and prices, only "{text[:120]}{"…" * (len(text) > 120)}". {wanted}')
