"""Where the table in a text is: its delimiter, its header rows, its first row; and reading its columns at full speed."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from pgcore.market.column_names import Meaning, is_unit, meaning
from pgcore.market.dates import is_clock, is_date, is_full_date, is_weak_date
from pgcore.market.file_text import LONGEST_LINE
from pgcore.market.numbers import MISSING_MARKS, is_missing, is_number
from pgcore.market.prices import PriceError

MOST_COLUMNS = 20_000
DELIMITERS = {
    ",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", "^": "caret", "~": "tilde", "!": "exclamation mark",
    ":": "colon", "&": "ampersand",
    "  ": "two or more spaces", " ": "spaces",
}  # fmt: skip
_SAMPLE_ROWS = 250
_SAMPLE_CELLS = 20_000
_SCORED_ROWS, _SCORED_CELLS = 60, 300
_LONGEST_ROW = 20  # lines; a quotation mark that opens a longer one was never closed
_COMMENT = ("#", "//", "%", "--", "'")
Row = list[str]


@dataclass(frozen=True, eq=False)
class Layout:
    """The table: its columns' labels and meanings, and where its rows start.

    `header_line` counts from 1; 0 means that the file names no columns. `sample` holds the first rows.
    `quoted`: quotation marks hold cells together. `regular`: a plain CSV reader splits the rows as they should be.
    """

    data: memoryview
    delimiter: str
    width: int
    labels: tuple[str, ...]
    meanings: tuple[Meaning, ...]
    header_line: int
    sample: list[Row]
    date_columns: tuple[int, ...] = ()
    quoted: bool = True
    regular: bool = True

    def sample_of(self, column: int) -> list[str]:
        return [row[column] for row in self.sample]


@lru_cache(maxsize=65536)
def kind(cell: str) -> str:
    """What one cell looks like: date, weak (date or number), number, clock, missing, word (no digits) or odd."""
    cell = cell.strip()
    if is_missing(cell):
        return "missing"
    if is_date(cell):
        if not is_weak_date(cell) and not cell.isdigit():
            return "date"
        return "weak" if is_number(cell) else "date"
    if is_number(cell):
        return "number"
    if is_clock(cell):
        return "clock"
    return "odd" if any(c.isdigit() for c in cell) else "word"


def find_layout(data: bytes | memoryview) -> Layout:
    """The table in a UTF-8 text, by the delimiter that makes most sense of its first lines. Raises PriceError."""
    view = memoryview(data)
    lines, starts = _first_lines(view)
    if len(lines) > 1 and (hint := re.fullmatch(r"sep=(.)", lines[0].strip(' "'), re.IGNORECASE)):
        lines[0] = ""
        candidates = [hint[1]]
    else:
        first = "\n".join(lines[:_SCORED_ROWS])
        candidates = [delimiter for delimiter in DELIMITERS if delimiter in first] or [","]
    best = max((_attempt(lines[:_SCORED_ROWS], delimiter) for delimiter in candidates), key=lambda attempt: attempt.score)
    best = _attempt(lines, best.delimiter, best.quoted)
    if best.score <= 0:
        raise PriceError(_no_table([row for row, _ in best.rows]))
    return _layout(view, lines, starts, best)


def _first_lines(view: memoryview) -> tuple[list[str], list[int]]:
    """The first lines, without a last one that is cut off, and the byte each starts at."""
    for size in (2**18, 2**22, len(view)):
        head = bytes(view[:size])
        if len(head) > LONGEST_LINE and not re.search(rb"[\r\n]", head[:LONGEST_LINE]):
            _refuse_line(head)
        ends = [found.span() for found in re.finditer(rb"\r\n|\n|\r", head)][: 4 * _SAMPLE_ROWS]
        if len(ends) > 20 or len(head) == len(view):
            break
    starts = [0] + [end for _, end in ends]
    stops = [stop for stop, _ in ends]
    if len(head) == len(view) and starts[-1] < len(head):
        stops.append(len(head))
    for start, stop in zip(starts, stops, strict=False):
        if stop - start > LONGEST_LINE:
            _refuse_line(head[start:stop])
    return [head[start:stop].decode(errors="replace") for start, stop in zip(starts, stops, strict=False)], starts


def _refuse_line(line: bytes) -> None:
    columns = max(line.count(delimiter) for delimiter in (b",", b";", b"\t", b"|")) + 1
    raise PriceError(
        f"A line of the file is longer than {LONGEST_LINE // 2**20} MB"
        + (f" and has more than {MOST_COLUMNS:,} columns" if columns > MOST_COLUMNS else "")
        + ": it is no price table. Give a file with one row a day."
    )


def split(lines: list[str], delimiter: str, quoted: bool = True) -> Iterator[tuple[Row, int]]:
    """The cells of each row, and the number of the line it starts on. Raises PriceError for far too many columns."""
    for row, number in _quoted_rows(lines, delimiter) if quoted and delimiter.strip(" ") else _bare_rows(lines, delimiter):
        if len(row) > MOST_COLUMNS:
            raise PriceError(f"The file has {len(row):,} columns: it is no price table. Give a file with one row a day.")
        yield row, number


def _quoted_rows(lines: list[str], delimiter: str) -> Iterator[tuple[Row, int]]:
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
    while True:
        number = reader.line_num
        try:
            yield next(reader), number
        except StopIteration:
            return
        except csv.Error:
            continue


def _bare_rows(lines: list[str], delimiter: str) -> Iterator[tuple[Row, int]]:
    """Rows in which a quotation mark is no more than a mark."""
    separators = {" ": r"\s+", "  ": r"\s{2,}|\t"}
    for number, line in enumerate(lines):
        cells = re.split(separators[delimiter], line.strip()) if delimiter in separators else line.split(delimiter)
        yield [cell.strip(' "') for cell in cells], number


@dataclass(frozen=True)
class _Attempt:
    """How the first lines look under one delimiter. Rows have the width that most rows with a date and a number have."""

    delimiter: str
    quoted: bool = True
    score: float = 0.0
    rows: list[tuple[Row, int]] = field(default_factory=list)
    width: int = 0


def _attempt(lines: list[str], delimiter: str, quoted: bool = True) -> _Attempt:
    rows, cells, after = [], 0, 0
    for row, number in split(lines, delimiter, quoted):
        if quoted and (
            number - after > _LONGEST_ROW or (len(row) == 1 and row[0].count(delimiter) > 1 and '"' in lines[number])
        ):
            return _attempt(lines, delimiter, quoted=False)
        after = number
        if any(c.isalnum() for cell in row for c in cell):
            rows.append((row, number))
            cells += len(row)
        if len(rows) > _SAMPLE_ROWS or (cells > _SAMPLE_CELLS and len(rows) > 10):
            break
    else:
        if quoted and len(lines) - after > 1 and sum(line.count('"') for line in lines[after:]) % 2:
            return _attempt(lines, delimiter, quoted=False)
    widths: Counter[int] = Counter()
    explained: Counter[int] = Counter()
    for row, _ in rows:
        kinds = Counter(kind(cell) for cell in row[:_SCORED_CELLS])
        numbers = kinds["number"] + kinds["weak"]
        if len(row) > 1 and ((kinds["date"] and numbers) or (kinds["weak"] and numbers > 1)):
            widths[len(row)] += 1
            explained[len(row)] += kinds["date"] + numbers + kinds["clock"] + kinds["missing"] / 2 - 2 * kinds["odd"]
    hits, named = max(((_known(row), len(row)) for row, _ in rows[:60]), default=(0, 0))
    if not widths:
        return _Attempt(delimiter, quoted, 0.01 * hits, rows)
    width = max(widths, key=lambda w: (widths[w], w))
    share = max(explained[width] / min(width, _SCORED_CELLS), 0.01) / len(rows)
    return _Attempt(delimiter, quoted, share * (1 + 0.3 * hits) * (1.2 if hits and named == width else 1), rows, width)


def _known(row: Row) -> int:
    """How many cells of a row are known column names, if a date and a price are among them."""
    roles = [meaning(cell).role for cell in row[:_SCORED_CELLS] if kind(cell) == "word" or any(c.isalpha() for c in cell)]
    if not ({"date", "clock", "year"} & set(roles) or (row and not row[0].strip())) or not {
        "close",
        "open",
        "high",
        "low",
    } & set(roles):
        return 0
    return sum(bool(role) for role in roles)


def _no_table(rows: list[Row]) -> str:
    """What is missing of date and price, in one sentence."""
    kinds = Counter(kind(cell) for row in rows for cell in row)
    if kinds["date"] > 0.5 * len(rows):
        return "The file has dates but no prices beside them: give a file with a date and a price on each line."
    if kinds["number"] + kinds["weak"] > 2 * len(rows):
        return "The file has numbers but no dates: give a file with a date and a price on each line."
    text = " ".join(" ".join(cell for row in rows[:20] for cell in row).split())
    shown = f'"{text[:120]}{"…" if len(text) > 120 else ""}"'
    return f"The file holds no table of dates and prices, only {shown}. Give a file with a date and a price on each line."


def _layout(view: memoryview, lines: list[str], starts: list[int], attempt: _Attempt) -> Layout:
    rows, width = attempt.rows, attempt.width
    if (parted := _parted_dates(view, starts, attempt)) is not None:
        return parted
    body = [(row, number) for row, number in rows if len(row) == width and _is_body(row)]
    if not body:
        return _without_rows(attempt)
    candidates = _date_columns([row for row, _ in body])
    names, _ = _header(rows[: rows.index(body[0])], width, candidates[0])
    date = next(
        (c for c in candidates for level in names if len(level) > c and meaning(level[c]).role == "date"), candidates[0]
    )
    first = next(i for i, (row, _) in enumerate(rows) if len(row) == width and kind(row[date]) in ("date", "weak"))
    if kind(rows[first][0][date]) == "weak" and not _is_body(rows[first][0]):
        first = rows.index(body[0])
    levels, header_line = _header(rows[:first], width, date)
    sample = [row for row, _ in rows[first:] if len(row) == width]
    levels, date_columns = _fit_header(levels, width, date, sample)
    labels, meanings = _label(levels, width, date_columns)
    line = rows[first][1]
    return Layout(
        view[starts[line] :],
        attempt.delimiter,
        width,
        labels,
        meanings,
        header_line,
        sample,
        date_columns,
        quoted=attempt.quoted,
        regular=not any(re.search(re.escape(attempt.delimiter) + r' +"', text) for text in lines[line : line + 50]),
    )


def _parted_dates(view: memoryview, starts: list[int], attempt: _Attempt) -> Layout | None:
    """The table whose dates stand in three columns named year, month and day; None if it is not so."""
    for i, (row, number) in enumerate(attempt.rows[:20]):
        roles = [meaning(cell).role for cell in row]
        if {"year", "month", "day"} <= set(roles) and len(attempt.rows) > i + 1:
            date = tuple(roles.index(part) for part in ("year", "month", "day"))
            sample = [below for below, _ in attempt.rows[i + 1 :] if len(below) == len(row)]
            if sample and all(kind(" ".join(below[part] for part in date)) == "date" for below in sample):
                labels, meanings = _label([row], len(row), date)
                line = attempt.rows[i + 1][1]
                return Layout(
                    view[starts[line] :],
                    attempt.delimiter,
                    len(row),
                    labels,
                    meanings,
                    number + 1,
                    sample,
                    date,
                    attempt.quoted,
                )
    return None


def _is_body(row: Row) -> bool:
    kinds = [kind(cell) for cell in row]
    numbers = kinds.count("number") + kinds.count("weak")
    return ("date" in kinds and numbers > 0) or ("weak" in kinds and numbers > 1)


def _without_rows(attempt: _Attempt) -> Layout:
    """Names without rows to read: says why."""
    names = next(((row, i) for i, (row, _) in enumerate(attempt.rows) if _known(row) >= max(2, 0.2 * len(row))), None)
    if names is None:
        raise PriceError(_no_table([row for row, _ in attempt.rows]))
    header, at = names
    rows = [row for row, _ in attempt.rows[at + 1 :] if len(row) >= 2]
    if not rows:
        raise PriceError(f"The file has column names ({', '.join(header)[:100]}) but no rows below them.")
    date = next((i for i, cell in enumerate(header) if meaning(cell).role in ("date", "clock")), 0)
    cell = next((row[date] for row in rows if len(row) > date and row[date].strip()), "")
    if not is_date(cell):
        raise PriceError(f'The dates cannot be read: "{cell[:40]}" is no date. Write them as 2024-01-31.')
    raise PriceError(f"The file has dates but no prices beside them (line {attempt.rows[at + 1][1] + 1}).")


def _date_columns(body: list[Row]) -> list[int]:
    """The columns whose cells are dates; columns that may as well hold numbers only if no other does."""
    shares = []
    for column in range(len(body[0])):
        kinds = Counter(kind(row[column]) for row in body)
        filled = sum(kinds.values()) - kinds["missing"]
        shares.append((kinds["date"] / max(filled, 1), (kinds["date"] + kinds["weak"]) / max(filled, 1)))
    strong = [column for column, (dates, _) in enumerate(shares) if dates > 0.6]
    weak = [column for column, (_, either) in enumerate(shares) if either > 0.6]
    return strong or weak or [0]


def _header(above: list[tuple[Row, int]], width: int, date: int) -> tuple[list[Row], int]:
    """The header rows directly above the first row, top first, and the line the first of them is on (0: none).

    A row belongs to the header if it has names for half of the columns, or names a column of dates, or stands above such a
    row and fills at least two cells beside the dates.
    """
    levels: list[Row] = []
    line = 0
    for row, number in reversed(above):
        cells = [cell.strip() for cell in row]
        if len(cells) > date and kind(cells[date]) in ("date", "weak"):
            continue
        cells[0] = cells[0].lstrip("#%/ ") if _known([cells[0].lstrip("#%/ "), *cells[1:]]) else cells[0]
        beside = [cell for i, cell in enumerate(cells) if i != date and cell]
        names_dates = len(cells) > max(date, 1) and meaning(cells[date]).role in ("date", "clock")
        enough = len(beside) >= (1 if levels and len(cells) == width else max(1, 0.5 * (min(width, len(cells)) - 1)))
        values = any(kind(cell) in ("date", "number", "weak") for cell in beside if not meaning(cell).role)
        if len(levels) == 3 or (len(cells) > 1 and not names_dates and (values or not enough)) or (levels and len(cells) == 1):
            break
        if len(cells) > 1 and not cells[0].startswith(_COMMENT):
            levels.insert(0, cells)
            line = number + 1
    return levels, line


def _fit_header(levels: list[Row], width: int, date: int, sample: list[Row]) -> tuple[list[Row], tuple[int, ...]]:
    """The header made as wide as the rows, and the columns the date stands in (a date with a space or comma may take several)."""
    named = max((len(level) for level in levels), default=width)
    if named < width:
        blank = all(not cell.strip() for row in sample for cell in row[named:])
        extra = width - named
        if not blank and extra <= 3 and _joins(sample, date, extra):
            levels = [level[: date + 1] + [""] * extra + level[date + 1 :] for level in levels]
            return [level + [""] * (width - len(level)) for level in levels], tuple(range(date, date + extra + 1))
        if not blank and extra == 1 and date == 0 and meaning(levels[-1][0]).role not in ("date", "clock"):
            levels = [["", *level] for level in levels]
        elif not blank:
            raise PriceError(
                f"The rows have {width} cells but only {named} columns are named: if numbers have a decimal comma, put them in quotes or "
                "use another delimiter."
            )
    elif not levels:
        extra = next((n for n in (1, 2, 3) if date + n < width and _joins(sample, date, n)), 0)
        return [], tuple(range(date, date + extra + 1))
    return [(level + [""] * (width - len(level)))[:width] for level in levels], (date,)


def _joins(sample: list[Row], date: int, extra: int) -> bool:
    """Whether the date goes on in the next cells: it is none without them, or they are the time of day."""
    rows = [row for row in sample if row[date].strip()]
    joined = [" ".join(row[date : date + extra + 1]) for row in rows]
    if not joined or any(kind(cell) != "date" for cell in joined) or any(kind(row[date + extra]) == "date" for row in rows):
        return False
    alone = any(is_full_date(row[date]) for row in rows)
    return not alone or (extra == 1 and _are_clocks([row[date + 1] for row in rows]))


def _are_clocks(cells: list[str]) -> bool:
    """Times of day with a colon; or HHMMSS, if prices are most unlikely to look so."""
    if all(kind(cell) == "clock" for cell in cells):
        return True
    digits = all(re.fullmatch(r"[0-2]\d[0-5]\d[0-5]\d", cell.strip()) for cell in cells)
    return digits and (len(set(cells)) > 20 or any(cell.strip().startswith("00") for cell in cells))


def _label(levels: list[Row], width: int, date_columns: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[Meaning, ...]]:
    """Each column's label and meaning. Of several levels the one with most known names tells the role, the others the ticker."""
    if not levels:
        return tuple(f"column {i + 1}" for i in range(width)), (Meaning(),) * width
    beside = [i for i in range(width) if i not in date_columns]
    roles = [sum(bool(meaning(level[i]).role) for i in beside) for level in levels]
    field_level = max(range(len(levels)), key=lambda i: (roles[i], i))
    others = [
        _filled(level) if i < field_level else level
        for i, level in enumerate(levels)
        if i != field_level and roles[i] < 0.5 * max(roles[field_level], 1)
    ]
    labels, meanings = [], []
    for i in range(width):
        name = levels[field_level][i]
        rest = " ".join(level[i] for level in others if level[i] and not is_unit(level[i]))
        if i in date_columns:
            own = next((level[i] for level in reversed(levels) if meaning(level[i]).role in ("date", "clock")), name)
            labels.append(own or "date")
            meanings.append(meaning(own))
        else:
            labels.append(" ".join(part for part in (name, rest) if part) or f"column {i + 1}")
            meanings.append(replace(meaning(name), group=rest) if rest else meaning(name))
    return tuple(labels), tuple(meanings)


def _filled(level: Row) -> Row:
    """A level in which a name stands for the blank cells to its right, as merged cells are saved."""
    filled, last = [level[0]], ""
    for cell in level[1:]:
        last = cell or last
        filled.append(last)
    return filled
