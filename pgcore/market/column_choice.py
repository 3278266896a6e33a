"""Which column of a table is the date, the close, the volume …: by name, else by shape, else the person is asked."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import pairwise

import numpy as np

from pgcore.market.cells import Cells, NeedsChoice
from pgcore.market.column_names import fold
from pgcore.market.dates import DateArray, is_clock, read_dates
from pgcore.market.header import kind
from pgcore.market.layout import Layout
from pgcore.market.numbers import decimal_evidence, is_number, read_numbers
from pgcore.market.prices import FloatArray, PriceError

PRICE_ROLES = ("open", "high", "low", "close")
_ROLES = (*PRICE_ROLES, "volume")
Group = dict[str, list[tuple[bool, int, int]]]  # by role: whether adjusted, rank of the name, column
Groups = dict[str, Group]  # by ticker
_WIDEST_DAY = 1.25  # high over low, of the median day


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

    `ticker_columns` hold the ticker of each row; `tickers` are those there are, `ticker` the one taken.
    """

    date: tuple[int, ...]
    clock: int | None = None
    columns: tuple[tuple[str, int], ...] = ()
    scale_from: int | None = None
    ticker_columns: tuple[int, ...] = ()
    tickers: tuple[str, ...] = ()
    ticker: str = ""
    notes: tuple[str, ...] = ()

    def numeric(self) -> list[int]:
        return [column for _, column in self.columns] + ([] if self.scale_from is None else [self.scale_from])

    def texts(self) -> list[int]:
        """The columns that are no numbers; a date only where it takes several columns."""
        dates = self.date if len(self.date) > 1 else ()
        return [*dates, *(() if self.clock is None else (self.clock,)), *self.ticker_columns]

    def used(self) -> set[int]:
        return {*self.date, *self.texts(), *self.numeric()}


def is_numeric(layout: Layout, column: int) -> bool:
    """Whether a column's first cells are numbers, as far as they hold anything."""
    kinds = Counter(kind(cell) for cell in layout.sample_of(column))
    filled = sum(kinds.values()) - kinds["missing"]
    return filled > 0 and kinds["number"] + kinds["weak"] > 0.6 * filled


def choose_columns(layout: Layout, choices: Choices) -> Taken:
    """The columns to take. Raises NeedsChoice where several tickers or prices are there, PriceError where none is."""
    date = (find_label(layout, choices.date),) if choices.date else layout.date
    rest = [i for i in range(layout.width) if i not in date]
    taken = Taken(date, clock=_clock(layout, date, rest), ticker_columns=_ticker_column(layout, rest))
    groups = _groups(layout, rest)
    priced = [group for group, roles in groups.items() if "close" in roles]
    if choices.close:
        close = find_label(layout, choices.close)
        group = layout.meanings[close].group
        taken = _with_roles(replace(taken, columns=(("close", close),)), groups.get(group, {}), groups)
    elif "" in priced and not _is_ticker_among_tickers(layout, groups, rest):
        taken = _completed(layout, _with_roles(taken, groups[""], groups), rest, choices.decimal)
    elif priced and priced != [""]:
        tickers = tuple(group for group in priced if group)
        ticker = pick_ticker(tickers, choices.ticker)
        taken = _with_roles(replace(taken, tickers=tickers, ticker=ticker), groups[ticker], groups)
    else:
        taken = _by_shape(layout, taken, rest, choices)
    return _overridden(layout, taken, choices)


def _groups(layout: Layout, rest: Sequence[int]) -> Groups:
    """The columns of prices and volumes by the ticker in their names ("": none) and their role."""
    groups: Groups = {}
    letters = {layout.meanings[i].role for i in rest if layout.meanings[i].letter}
    for i in rest:
        found = layout.meanings[i]
        certain = found.role in _ROLES and (not found.letter or len(letters) >= 4)
        if certain and (is_numeric(layout, i) or found.role == "volume"):
            groups.setdefault(found.group, {}).setdefault(found.role, []).append((found.adjusted, found.rank, i))
    return _with_the_rest(groups)


def _with_the_rest(groups: Groups) -> Groups:
    """Where only one close is there and it alone names a ticker ("Gold Price,Open,High,Low"), the rest is of that ticker."""
    priced = [group for group, roles in groups.items() if "close" in roles]
    if len(priced) != 1 or priced == [""] or "" not in groups:
        return groups
    own, rest = groups[priced[0]], groups[""]
    return groups | {priced[0]: {role: own.get(role, []) + rest.get(role, []) for role in (*own, *rest)}}


def _completed(layout: Layout, taken: Taken, rest: Sequence[int], decimal: str | None) -> Taken:
    """Where some prices have names that are known and others have not, those are found by how they behave."""
    columns = dict(taken.columns)
    unknown = [i for i in rest if not layout.meanings[i].role and is_numeric(layout, i) and i != taken.clock]
    if not unknown or taken.scale_from is not None or all(role in columns for role in PRICE_ROLES):
        return taken
    found = _ohlc(layout, sorted({*unknown, *(columns[role] for role in PRICE_ROLES if role in columns)}), decimal)
    if not found or any(columns.get(role, column) != column for role, column in found.items()):
        return taken
    new = ", ".join(f'"{layout.labels[column]}"' for role, column in found.items() if role not in columns)
    note = f"{new} is not a name that is known: taken for what its values look like. Please check."
    return replace(taken, columns=tuple((columns | found).items()), notes=(*taken.notes, note))


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


def _with_roles(taken: Taken, roles: Group, groups: Groups) -> Taken:
    """The best column of each role, all adjusted or all raw."""

    def best(role: str, adjusted: bool) -> int | None:
        ranked = [(rank, i) for is_adjusted, rank, i in roles.get(role, []) if is_adjusted == adjusted]
        return min(ranked)[1] if ranked else None

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
                "Open, high and low are raw, the close is adjusted, and no raw close tells the factor: they are left out."
            )
    else:
        columns = raw | given
    own = [] if roles is groups.get("") else roles.get("volume", [])
    own = own or [found for others in groups.values() for found in others.get("volume", [])]
    if own:
        columns["volume"] = min(own)[2]
    return replace(taken, columns=tuple(columns.items()), scale_from=scale_from, notes=tuple(notes))


def _overridden(layout: Layout, taken: Taken, choices: Choices) -> Taken:
    columns = dict(taken.columns)
    scale_from = taken.scale_from
    for role in _ROLES:
        name = getattr(choices, role)
        if name == "":
            columns.pop(role, None)
        elif name is not None:
            columns[role] = find_label(layout, name)
            if role in PRICE_ROLES and role != "close" and layout.meanings[columns[role]].adjusted:
                scale_from = None
    if "close" not in columns:
        raise PriceError("No column is taken for the close: every price history needs one.")
    order = [role for role in _ROLES if role in columns]
    return replace(taken, columns=tuple((role, columns[role]) for role in order), scale_from=scale_from)


def _clock(layout: Layout, date: tuple[int, ...], rest: Sequence[int]) -> int | None:
    """The column with the time of day, where the dates are all of midnight."""
    named = [i for i in rest if layout.meanings[i].role in ("clock", "date")]
    unnamed = [i for i in rest if layout.meanings[i].role in ("", "other")]
    for i in (*named, *unnamed):
        cells = [cell.strip() for cell in layout.sample_of(i) if kind(cell) != "missing"]
        digits = layout.meanings[i].role == "clock" and all(re.fullmatch("[0-9]{1,6}", cell) for cell in cells)
        if cells and all(is_clock(cell) for cell in cells) and (digits or all(":" in cell for cell in cells)):
            return i if _at_midnight(layout, date) else None
    return None


def _at_midnight(layout: Layout, date: tuple[int, ...]) -> bool:
    dates = _sample_dates(layout, date)
    return bool((dates == dates.astype("datetime64[D]")).all())


def _sample_dates(layout: Layout, date: tuple[int, ...]) -> DateArray:
    """The dates of the first rows, without those that are none; in any order where it is open."""
    cells = Cells.of([" ".join(row[i] for i in date) for row in layout.sample])
    try:
        dates = read_dates(cells).values
    except NeedsChoice as several:
        dates = read_dates(cells, several.options[0]).values
    return dates[~np.isnat(dates)]


def _ticker_column(layout: Layout, rest: Sequence[int]) -> tuple[int, ...]:
    """The first column that is called a ticker and holds names, or codes of digits that come again and again."""
    for i in rest:
        cells = [cell.strip() for cell in layout.sample_of(i) if cell.strip()]
        codes = all(cell.isdecimal() for cell in cells) and len(set(cells)) <= max(1, len(cells) // 2)
        if layout.meanings[i].role == "ticker" and cells and (codes or not is_numeric(layout, i)):
            return (i,)
    return ()


def text_columns(layout: Layout, taken: Taken) -> list[int]:
    """Columns of words that have no role: one of them may tell several instruments apart."""
    free = [i for i in range(layout.width) if i not in taken.used() and not is_numeric(layout, i)]
    return [i for i in free if sum(kind(cell) in ("word", "odd") for cell in layout.sample_of(i)) > 0.6 * len(layout.sample)]


def _is_ticker_among_tickers(layout: Layout, groups: Groups, rest: Sequence[int]) -> bool:
    """A wide file in which one ticker happens to be a word for a price (NAV, MID): all names are short and in capitals."""
    if set(groups) != {""} or set(groups[""]) != {"close"}:
        return False
    names = [layout.labels[i] for i in rest if is_numeric(layout, i)]
    closes = [layout.labels[i] for _, _, i in groups[""]["close"]]
    common = {"close", "price", "last", "value", "rate", "settle"}
    return len(names) > 2 and all(n.isupper() and len(n) <= 6 for n in names) and not common & {fold(name) for name in closes}


def _by_shape(layout: Layout, taken: Taken, rest: Sequence[int], choices: Choices) -> Taken:
    """No known name for a price: four columns that behave like open, high, low and close; else a single one; else tickers."""
    no_price = ("volume", "year", "month", "day", "other")
    numeric = [i for i in rest if is_numeric(layout, i) and i not in (taken.clock, *taken.ticker_columns)]
    meant = layout.meanings
    numeric = [i for i in numeric if (meant[i].letter or meant[i].role not in no_price) and not _is_count(layout, i)]
    if not numeric:
        raise PriceError("The file has dates but no column of prices: give a file with a price on each line.")
    found = _ohlc(layout, numeric, choices.decimal)
    if found:
        behind = [i for i in range(max(found.values()) + 1, layout.width) if i in rest and is_numeric(layout, i)]
        named = [i for i in rest if layout.meanings[i].role == "volume"]
        volume = (named or behind)[:1]
        note = "Open, high, low and close have no names that are known and were told apart by their values. Please check."
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
    unnamed = layout.labels[column].startswith(("column ", "Unnamed", "index"))
    if not unnamed or len(cells) < 3 or not all(re.fullmatch("[0-9]{1,9}", cell) for cell in cells):
        return False
    return len({int(after) - int(before) for before, after in pairwise(cells)}) == 1


def _ohlc(layout: Layout, numeric: Sequence[int], decimal: str | None) -> dict[str, int]:
    """The first four neighbouring columns of which one is never below and one never above the others, close together.

    Of the other two, the open is the one that follows the close of the day before more closely.
    """
    dates = _sample_dates(layout, layout.date)
    newest_first = bool(dates.size > 1 and dates[0] > dates[-1])
    speaks, _ = decimal_evidence([Cells.of(layout.sample_of(i)) for i in numeric])
    for mark in [decimal] if decimal else (speaks or (".", ",")):
        values = {i: _sample_values(layout, i, mark) for i in numeric}
        for k in range(len(numeric) - 3):
            four = numeric[k : k + 4]
            if (places := _behave(np.array([values[i] for i in four]), newest_first)) is not None:
                return dict(zip(PRICE_ROLES, (four[j] for j in places), strict=True))
    return {}


def _behave(table: FloatArray, newest_first: bool) -> tuple[int, int, int, int] | None:
    """Which of four rows of numbers is the open, the high, the low and the close; None where they are no such prices."""
    table = table[:, np.isfinite(table).all(axis=0)]
    if table.shape[1] == 0 or (table <= 0).any() or (table == table[0]).all():
        return None
    top, bottom = table.max(axis=0), table.min(axis=0)
    high = next((j for j in (1, 2, 3, 0) if (table[j] == top).all()), None)
    low = next((j for j in range(4) if j != high and (table[j] == bottom).all()), None)
    if high is None or low is None or np.median(top / bottom) > _WIDEST_DAY:
        return None
    first, second = (j for j in range(4) if j not in (high, low))
    days = table[:, ::-1] if newest_first else table
    first_opens = np.abs(days[first, 1:] - days[second, :-1]).sum()
    second_opens = np.abs(days[second, 1:] - days[first, :-1]).sum()
    opens, closes = (first, second) if first_opens <= second_opens else (second, first)
    return opens, high, low, closes


def _sample_values(layout: Layout, column: int, mark: str) -> FloatArray:
    """The first cells as numbers, NaN where there is none."""
    return read_numbers(Cells.of([cell if is_number(cell) else "" for cell in layout.sample_of(column)]), mark).values
