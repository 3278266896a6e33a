"""The header of a table: which rows above it name its columns, and what each column is called and means."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from pgcore.market.column_names import Meaning, is_unit, meaning
from pgcore.market.dates import is_clock, is_date, is_full_date, is_weak_date
from pgcore.market.numbers import is_missing, is_number
from pgcore.market.prices import PriceError

Row = list[str]
NumberedRow = tuple[Row, int]  # the cells, and the number of the line they start on, from 0
MOST_NAMED = 300  # cells of a row that are looked at
_MOST_LEVELS = 3
_COMMENT = ("#", "//", "%", "--", "'")
_PRICES = frozenset(("open", "high", "low", "close"))
_TIMES = frozenset(("date", "clock"))


@lru_cache(maxsize=65536)
def kind(cell: str) -> str:
    """What one cell looks like: date, weak (a date or a number), number, clock, missing, word (no digits) or odd."""
    cell = cell.strip()
    if is_missing(cell):
        return "missing"
    if is_date(cell):
        return "weak" if (is_weak_date(cell) or cell.isdecimal()) and is_number(cell) else "date"
    if is_number(cell):
        return "number"
    if is_clock(cell):
        return "clock"
    return "odd" if any(c.isdecimal() for c in cell) else "word"


def known_names(row: Row) -> int:
    """How many cells of a row are known column names, if a date and a price are among them."""
    roles = [meaning(cell).role for cell in row[:MOST_NAMED] if any(c.isalpha() for c in cell)]
    dated = bool({"date", "clock", "year"} & set(roles)) or not row[0].strip()
    return sum(bool(role) for role in roles) if dated and _PRICES & set(roles) else 0


def names_date(row: Row, column: int) -> bool:
    """Whether a header row calls this column a date or a time."""
    return len(row) > column and meaning(row[column]).role in _TIMES


def header_above(above: Sequence[NumberedRow], width: int, date: int) -> tuple[list[Row], int]:
    """The header rows directly above the first row, top first, and the line the first of them is on (from 1; 0: none).

    A row belongs to the header if it names the dates, or half of the columns, or stands above such a row and is as wide; not
    if it holds values.
    """
    levels: list[Row] = []
    line = 0
    for row, number in reversed(above):
        cells = [cell.strip() for cell in row]
        if len(cells) > date and kind(cells[date]) in ("date", "weak"):
            continue
        bare = cells[0].lstrip("#%/ ")
        cells[0] = bare if known_names([bare, *cells[1:]]) else cells[0]
        if len(cells) == 1:
            if levels:
                break
            continue
        beside = [cell for i, cell in enumerate(cells) if i != date and cell]
        enough = len(beside) >= (1 if levels and len(cells) == width else max(1, 0.5 * (min(width, len(cells)) - 1)))
        values = any(kind(cell) in ("date", "number", "weak") for cell in beside if not meaning(cell).role)
        if len(levels) == _MOST_LEVELS or (not names_date(cells, date) and (values or not enough)):
            break
        if not cells[0].startswith(_COMMENT):
            levels.insert(0, cells)
            line = number + 1
    return levels, line


def fit_header(
    levels: list[Row], width: int, date: int, sample: Sequence[Row], may_be_wider: bool = True
) -> tuple[list[Row], tuple[int, ...]]:
    """The header made as wide as the rows, and the columns the date stands in: one with a space or a comma may take several.

    Rows may leave cells out at the end where `may_be_wider`. Raises PriceError where names and cells cannot be matched.
    """
    named = max((len(level) for level in levels), default=0)
    extra = width - named if levels else next((n for n in (1, 2, 3) if _goes_on(sample, date, n)), 0)
    blank = extra > 0 and not any(cell.strip() for row in sample for cell in row[named:])
    if levels and (extra == 0 or blank or (extra < 0 and may_be_wider)):
        return [(level + [""] * width)[:width] for level in levels], (date,)
    if 0 < extra <= 3 and _goes_on(sample, date, extra):
        levels = [level[: date + 1] + [""] * extra + level[date + 1 :] for level in levels]
        return [(level + [""] * width)[:width] for level in levels], tuple(range(date, date + extra + 1))
    if not levels:
        return [], (date,)
    if extra == 1 and date == 0 and not names_date(levels[-1], 0):
        return [(["", *level] + [""] * width)[:width] for level in levels], (date,)
    raise PriceError(
        f"The rows have {width} cells but the header has {named} names: if numbers have a decimal comma, put them in quotes or "
        "use another delimiter."
    )


def _goes_on(sample: Sequence[Row], date: int, extra: int) -> bool:
    """Whether the date goes on in the next cells: it is none without them, or they are the time of day."""
    rows = [row for row in sample if row[date].strip() and len(row) > date + extra]
    if not extra or not rows or any(kind(row[date + extra]) == "date" for row in rows):
        return False
    if any(kind(" ".join(row[date : date + extra + 1])) != "date" for row in rows):
        return False
    alone = any(is_full_date(row[date]) for row in rows)
    return not alone or (extra == 1 and _are_clocks([row[date + 1].strip() for row in rows]))


def _are_clocks(cells: Sequence[str]) -> bool:
    """Times of day with a colon; or HHMMSS, if prices are most unlikely to look so."""
    if all(kind(cell) == "clock" for cell in cells):
        return True
    digits = all(re.fullmatch(r"[0-2]\d[0-5]\d[0-5]\d", cell) for cell in cells)
    return digits and (len(set(cells)) > 20 or any(cell.startswith("00") for cell in cells))


def label(levels: Sequence[Row], width: int, date_columns: Sequence[int]) -> tuple[tuple[str, ...], tuple[Meaning, ...]]:
    """Each column's label and meaning. Of several levels the one with most known names tells the role, others the ticker."""
    if not levels:
        return tuple(f"column {i + 1}" for i in range(width)), (Meaning(),) * width
    beside = [i for i in range(width) if i not in date_columns]
    roles = [sum(bool(meaning(level[i]).role) for i in beside) for level in levels]
    telling = max(range(len(levels)), key=lambda i: (roles[i], i))
    others = [
        _filled(level) if i < telling else level
        for i, level in enumerate(levels)
        if i != telling and roles[i] < 0.5 * max(roles[telling], 1)
    ]
    labels, meanings = [], []
    for i in range(width):
        name = levels[telling][i]
        ticker = " ".join(level[i] for level in others if level[i] and not is_unit(level[i]))
        if i in date_columns:
            name = next((level[i] for level in reversed(levels) if names_date(level, i)), name)
            ticker = ""
        labels.append(" ".join(part for part in (name, ticker) if part) or ("date" if i in date_columns else f"column {i + 1}"))
        meanings.append(replace(meaning(name), group=ticker) if ticker else meaning(name))
    return tuple(labels), tuple(meanings)


def _filled(level: Row) -> Row:
    """A level in which a name stands for the blank cells to its right, as merged cells are saved."""
    filled, last = [level[0]], ""
    for cell in level[1:]:
        last = cell or last
        filled.append(last)
    return filled
