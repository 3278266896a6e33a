"""Which column of a table is the date, the close, the volume …: by name, else by shape, else the person is asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from pgcore.market.cells import Cells, NeedsChoice
from pgcore.market.column_names import fold
from pgcore.market.dates import is_clock, read_dates
from pgcore.market.layout import Layout, kind
from pgcore.market.numbers import decimal_evidence, is_number, read_numbers
from pgcore.market.prices import FloatArray, PriceError

PRICE_ROLES = ("open", "high", "low", "close")
_ROLES = (*PRICE_ROLES, "volume")
NOTHING = ""


@dataclass(frozen=True)
class Choices:
    """What a person settles where the file does not, or otherwise than the file suggests.

    Columns by their name in the file; "" leaves a column out. `date_order` is day-first, month-first or year-first,
    `decimal` a point or a comma. `fill_gaps` carries the last close forward over rows without a price; else they are left out.
    """

    date: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    volume: str | None = None
    ticker: str | None = None
    date_order: str | None = None
    decimal: str | None = None
    fill_gaps: bool = False

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise PriceError(f"The decimal mark cannot be {self.decimal!r}: give . or ,")
        if self.date_order not in (None, "day-first", "month-first", "year-first"):
            raise PriceError(f"The date order cannot be {self.date_order!r}: give day-first, month-first or year-first.")


@dataclass(frozen=True)
class Taken:
    """The column of each role. `scale_from` is the raw close where open, high and low must be scaled to an adjusted close.

    `ticker_column` holds the ticker of each row; `tickers` are those a header names, `ticker` the one taken.
    """

    date: tuple[int, ...]
    clock: int | None = None
    columns: tuple[tuple[str, int], ...] = ()
    scale_from: int | None = None
    ticker_column: int | None = None
    tickers: tuple[str, ...] = ()
    ticker: str = ""
    notes: tuple[str, ...] = ()

    def numeric(self) -> list[int]:
        return [column for _, column in self.columns] + ([] if self.scale_from is None else [self.scale_from])

    def texts(self) -> list[int]:
        """The columns that are no numbers; a date only where it takes several columns."""
        dates = self.date if len(self.date) > 1 else ()
        return [*dates, *(column for column in (self.clock, self.ticker_column) if column is not None)]

    def used(self) -> set[int]:
        return {*self.date, *self.texts(), *self.numeric()}


def is_numeric(layout: Layout, column: int) -> bool:
    """Whether a column's first cells are numbers, as far as they hold anything."""
    kinds = Counter(kind(cell) for cell in layout.sample_of(column))
    filled = sum(kinds.values()) - kinds["missing"]
    return filled > 0 and kinds["number"] + kinds["weak"] > 0.6 * filled


def choose_columns(layout: Layout, choices: Choices) -> Taken:
    """The columns to take. Raises NeedsChoice where several tickers or prices are there, PriceError where none is."""
    date = (find_label(layout, choices.date),) if choices.date else layout.date_columns
    rest = [i for i in range(layout.width) if i not in date]
    taken = Taken(date, clock=_clock(layout, date, rest), ticker_column=_ticker_column(layout, rest))
    groups: dict[str, dict[str, list[tuple[bool, int, int]]]] = {}
    letters = {layout.meanings[i].role for i in rest if layout.meanings[i].letter}
    for i in rest:
        found = layout.meanings[i]
        if (
            found.role in _ROLES
            and (not found.letter or len(letters) >= 4)
            and (is_numeric(layout, i) or found.role == "volume")
        ):
            groups.setdefault(found.group, {}).setdefault(found.role, []).append((found.adjusted, found.rank, i))
    priced = [group for group, roles in groups.items() if "close" in roles]
    if choices.close:
        taken = replace(taken, columns=(("close", find_label(layout, choices.close)),))
        group = layout.meanings[taken.columns[0][1]].group
        taken = _with_roles(taken, groups.get(group, {}), groups)
    elif "" in priced and not _is_ticker_among_tickers(layout, groups, rest):
        taken = _with_roles(taken, groups[""], groups)
    elif [group for group in priced if group]:
        ticker = pick_ticker([group for group in priced if group], choices.ticker)
        taken = replace(taken, tickers=tuple(group for group in priced if group), ticker=ticker)
        taken = _with_roles(taken, groups[ticker], groups)
    else:
        taken = _by_shape(layout, taken, rest, choices)
    return _overridden(layout, taken, choices)


def find_label(layout: Layout, name: str) -> int:
    """The column of this name. Raises PriceError where there is none."""
    for same in (str.strip, fold):
        found = [i for i, label in enumerate(layout.labels) if same(label) == same(name)]
        if found:
            return found[0]
    near = get_close_matches(name, layout.labels, n=1)
    listed = ", ".join(layout.labels[:12])
    raise PriceError(f"There is no column {name!r}{f' (did you mean {near[0]!r}?)' if near else ''}: the file has {listed}.")


def pick_ticker(tickers: Sequence[str], wanted: str | None) -> str:
    """The ticker that was asked for, or the only one. Raises NeedsChoice for several, PriceError for one that is not there."""
    if wanted:
        found = [ticker for same in (str.strip, fold) for ticker in tickers if same(ticker) == same(wanted)]
        if found:
            return found[0]
        near = get_close_matches(wanted, tickers, n=1)
        listed = ", ".join(tickers[:8]) + (" …" if len(tickers) > 8 else "")
        raise PriceError(f"{wanted!r} is not in the file{f' (did you mean {near[0]}?)' if near else ''}: it has {listed}.")
    if len(tickers) > 1:
        listed = ", ".join(tickers[:8]) + (f" and {len(tickers) - 8} more" if len(tickers) > 8 else "")
        raise NeedsChoice(f"The file holds {len(tickers)} tickers ({listed}): choose one.", "ticker", tickers)
    return tickers[0]


def _with_roles(taken: Taken, roles: dict[str, list[tuple[bool, int, int]]], groups: dict[str, dict]) -> Taken:
    """The best column of each role, all adjusted or all raw."""

    def best(role: str, adjusted: bool) -> int | None:
        return min(((rank, i) for adj, rank, i in roles.get(role, []) if adj == adjusted), default=(0, None))[1]

    given = dict(taken.columns)
    raw = {role: found for role in PRICE_ROLES if (found := best(role, False)) is not None}
    adjusted = {role: found for role in PRICE_ROLES if (found := best(role, True)) is not None}
    notes = list(taken.notes)
    scale_from = None
    if "close" in adjusted and given.get("close", adjusted["close"]) == adjusted["close"]:
        columns = {"close": adjusted["close"]}
        if len(adjusted) == 4 or len(raw) == 0:
            columns = adjusted
        elif "close" in raw:
            columns |= {role: column for role, column in raw.items() if role != "close"}
            scale_from = raw["close"] if len(columns) > 1 else None
        else:
            notes.append(
                "Open, high and low are not adjusted as the close is and there is no raw close to scale them by: left out."
            )
    else:
        columns = raw | given
    own = [] if roles is groups.get("") else roles.get("volume", [])
    own = own or [found for others in groups.values() for found in others.get("volume", [])]
    volume = min(((adj, rank, i) for adj, rank, i in own), default=(False, 0, None))[2]
    if volume is not None:
        columns["volume"] = volume
    return replace(taken, columns=tuple(columns.items()), scale_from=scale_from, notes=tuple(notes))


def _overridden(layout: Layout, taken: Taken, choices: Choices) -> Taken:
    columns = dict(taken.columns)
    scale_from = taken.scale_from
    for role in _ROLES:
        name = getattr(choices, role)
        if name == NOTHING:
            columns.pop(role, None)
        elif name is not None:
            columns[role] = find_label(layout, name)
            if role in PRICE_ROLES and role != "close" and layout.meanings[columns[role]].adjusted:
                scale_from = None
    if "close" not in columns:
        raise PriceError("No column is taken for the close: every price history needs one.")
    order = [role for role in _ROLES if role in columns]
    return replace(taken, columns=tuple((role, columns[role]) for role in order), scale_from=scale_from)


def _clock(layout: Layout, date: tuple[int, ...], rest: list[int]) -> int | None:
    """The column with the time of day, where the dates hold none."""
    if any(":" in row[i] for row in layout.sample for i in date):
        return None
    named = [i for i in rest if layout.meanings[i].role in ("clock", "date")]
    unnamed = [i for i in rest if layout.meanings[i].role in ("", "other")]
    for i in (*named, *unnamed):
        cells = [cell for cell in layout.sample_of(i) if kind(cell) != "missing"]
        digits = i in named and layout.meanings[i].role == "clock" and all(cell.strip().isdigit() for cell in cells)
        if cells and all(is_clock(cell) for cell in cells) and (digits or all(":" in cell for cell in cells)):
            return i
    return None


def _ticker_column(layout: Layout, rest: list[int]) -> int | None:
    named = [i for i in rest if layout.meanings[i].role == "ticker" and any(cell.strip() for cell in layout.sample_of(i))]
    return named[0] if named else None


def text_columns(layout: Layout, taken: Taken) -> list[int]:
    """Columns of words that have no role: one of them may tell several instruments apart."""
    free = [i for i in range(layout.width) if i not in taken.used() and not is_numeric(layout, i)]
    return [i for i in free if sum(kind(cell) in ("word", "odd") for cell in layout.sample_of(i)) > 0.6 * len(layout.sample)]


def _is_ticker_among_tickers(layout: Layout, groups: dict[str, dict], rest: list[int]) -> bool:
    """A wide file in which one ticker happens to be a word for a price (NAV, MID): all names are short and in capitals."""
    if set(groups) != {""} or set(groups[""]) != {"close"}:
        return False
    names = [layout.labels[i] for i in rest if is_numeric(layout, i)]
    closes = [layout.labels[i] for _, _, i in groups[""]["close"]]
    common = {"close", "price", "last", "value", "rate", "settle"}
    return len(names) > 2 and all(n.isupper() and len(n) <= 6 for n in names) and not common & {fold(name) for name in closes}


def _by_shape(layout: Layout, taken: Taken, rest: list[int], choices: Choices) -> Taken:
    """No known name for a price: four columns that behave like open, high, low and close; else a single one; else tickers."""
    numeric = [i for i in rest if is_numeric(layout, i) and i not in (taken.clock, taken.ticker_column)]
    numeric = [
        i
        for i in numeric
        if layout.meanings[i].role not in ("volume", "year", "month", "day", "other") and not _is_count(layout, i)
    ]
    if not numeric:
        raise PriceError("The file has dates but no column of prices: give a file with a price on each line.")
    found = _ohlc(layout, numeric)
    if found:
        behind = [i for i in range(max(found.values()) + 1, layout.width) if i in rest and is_numeric(layout, i)]
        named = [i for i in rest if layout.meanings[i].role == "volume"]
        volume = (named or behind)[:1]
        note = (
            "The columns have no names that are known: open, high, low and close were told apart by their values. Please check."
        )
        columns = (*found.items(), *(("volume", i) for i in volume))
        return replace(taken, columns=columns, notes=(*taken.notes, note))
    if len(numeric) == 1:
        return replace(taken, columns=(("close", numeric[0]),))
    labels = [layout.labels[i] for i in numeric]
    if not layout.header_line:
        raise NeedsChoice(
            f"The file names no columns, and {len(numeric)} of them could be the price: choose the close.", "close", labels
        )
    ticker = pick_ticker(labels, choices.ticker)
    return replace(taken, columns=(("close", numeric[labels.index(ticker)]),), tickers=tuple(labels), ticker=ticker)


def _is_count(layout: Layout, column: int) -> bool:
    """A column that numbers the rows, as saved indices do."""
    cells = [cell.strip() for cell in layout.sample_of(column)]
    unnamed = layout.labels[column].startswith(("column ", "Unnamed", "index")) or not layout.labels[column]
    return (
        unnamed
        and len(cells) > 2
        and all(c.isdigit() for c in cells)
        and len({int(b) - int(a) for a, b in zip(cells, cells[1:], strict=False)}) == 1
    )


def _ohlc(layout: Layout, numeric: list[int]) -> dict[str, int]:
    """The first four neighbouring columns of which one is never below and one never above the others, close together.

    Of the other two, the open is the one that follows the close of the day before more closely.
    """
    values = {i: _sample_values(layout, i) for i in numeric}
    for k in range(len(numeric) - 3):
        four = numeric[k : k + 4]
        table = np.array([values[i] for i in four])
        table = table[:, np.isfinite(table).all(axis=0)]
        if table.shape[1] == 0 or (table <= 0).any():
            continue
        high = [j for j in range(4) if (table[j] >= table.max(axis=0)).all()]
        low = [j for j in range(4) if (table[j] <= table.min(axis=0)).all()]
        if not high or not low or np.median(table.max(axis=0) / table.min(axis=0)) > 1.25 or (table == table[0]).all():
            continue
        h = next((j for j in (1, 2, 3, 0) if j in high), high[0])
        lo = next((j for j in low if j != h), None)
        if lo is None:
            continue
        first, second = (j for j in range(4) if j not in (h, lo))
        backwards = _newest_first(layout)
        series = table[:, ::-1] if backwards else table
        first_opens = np.abs(series[first, 1:] - series[second, :-1]).sum()
        second_opens = np.abs(series[second, 1:] - series[first, :-1]).sum()
        opens, closes = (first, second) if first_opens <= second_opens else (second, first)
        return {"open": four[opens], "high": four[h], "low": four[lo], "close": four[closes]}
    return {}


def _newest_first(layout: Layout) -> bool:
    cells = Cells.of([" ".join(row[i] for i in layout.date_columns) for row in layout.sample])
    try:
        dates = read_dates(cells).values
    except PriceError:
        return False
    dates = dates[~np.isnat(dates)]
    return bool(dates.size > 1 and dates[0] > dates[-1])


def _sample_values(layout: Layout, column: int) -> FloatArray:
    """The first cells as numbers, NaN where there is none; a decimal mark that is undecided does not change their order."""
    cells = Cells.of([cell if is_number(cell) else "" for cell in layout.sample_of(column)])
    speaks, silent = decimal_evidence([cells])
    return read_numbers(cells, next(iter(speaks), "," if "," in silent else ".")).values
