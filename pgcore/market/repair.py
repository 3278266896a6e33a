"""From columns of dates and numbers as a file has them to a clean PriceSeries; every repair counted, none from the future."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pgcore.market.prices import FloatArray, PriceError, PriceSeries

_MANY_TWICE = 0.2
_STALE_ROWS = 10
_LONG_GAP = np.timedelta64(11, "D")
_JUMPS = (0.55, 1.5)  # close over the close before; a two-for-one split is 0.5


@dataclass(frozen=True)
class Log:
    """What was repaired and in how many rows, and what looks odd but was left as it is."""

    repairs: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def repair(self, what: str, count: int | np.integer) -> None:
        if count:
            self.repairs[what] = self.repairs.get(what, 0) + int(count)


def repair(
    dates: NDArray[np.datetime64],
    columns: Mapping[str, FloatArray],
    log: Log,
    name: str = "prices",
    scale_from: FloatArray | None = None,
    fill_gaps: bool = False,
    least_rows: int = 2,
) -> PriceSeries:
    """Sorts, drops what has no date or price and what comes twice (the last stays), completes and scales the columns.

    `columns` holds close and perhaps open, high, low, volume, each [T] with NaN where there is no value; `scale_from` is
    the raw close where the close is adjusted and the rest is not. Raises PriceError where no usable history remains.
    """
    rows, values = _ordered(dates, columns, scale_from, fill_gaps, log)
    if rows.size == 0:
        raise PriceError("There is no row with both a date and a price.")
    _refuse_non_positive(rows, values)
    _scale(values, log)
    _complete(values, log)
    volume = values.get("volume", np.full(rows.size, np.nan))
    log.repair("negative volumes taken as unknown", np.count_nonzero(volume < 0))
    volume = np.where((volume >= 0) & np.isfinite(volume), volume, np.nan) if (~(volume >= 0)).any() else volume
    for column in (*values.values(), volume):
        column.flags.writeable = False  # the series then needs no copies
    series = PriceSeries(rows, values["open"], values["high"], values["low"], values["close"], volume, name)
    if len(series) < least_rows:
        raise PriceError(
            f"The file has {len(series):,} usable row{'s' * (len(series) != 1)}; at least {least_rows:,} are needed."
        )
    if (series.close == series.close[0]).all():
        raise PriceError(
            f"All {len(series):,} closes are {series.close[0]:g}: there is nothing to learn from a price that never moves."
        )
    return series


def _ordered(
    dates: NDArray[np.datetime64], columns: Mapping[str, FloatArray], scale_from: FloatArray | None, fill_gaps: bool, log: Log
) -> tuple[NDArray[np.datetime64], dict[str, FloatArray]]:
    """The rows that have a date and a price, oldest first, each date once."""
    values = {name: column for name, column in columns.items() if np.isfinite(column).any() or name == "close"}
    if scale_from is not None:
        values["raw close"] = scale_from
    kept = ~np.isnat(dates)
    if not fill_gaps:
        priced = np.isfinite(values["close"])
        log.repair("rows without a price left out", np.count_nonzero(kept & ~priced))
        kept &= priced
    if not kept.all():
        dates, values = dates[kept], {name: column[kept] for name, column in values.items()}
    steps = np.diff(dates)
    if (steps <= np.timedelta64(0)).any():
        order = np.argsort(dates, kind="stable")
        if (steps >= np.timedelta64(0)).all() or (steps <= np.timedelta64(0)).all():
            log.repair("rows turned round, the newest stood first", dates.size if (steps < np.timedelta64(0)).any() else 0)
        else:
            log.repair("rows sorted by date", np.count_nonzero(order != np.arange(order.size)))
        last = np.append(np.diff(dates[order]) != np.timedelta64(0), True)
        log.repair("rows with a date that comes again left out, the last one kept", np.count_nonzero(~last))
        _refuse_many_twice(dates[order], values["close"][order])
        order = order[last]
        dates, values = dates[order], {name: column[order] for name, column in values.items()}
    if fill_gaps:
        dates, values = _carried_forward(dates, values, log)
    return dates, values


def _refuse_many_twice(dates: NDArray[np.datetime64], close: FloatArray) -> None:
    """Refuses dates [T], in order, that come again and again with another close: nobody knows which of them is meant."""
    again = (np.diff(dates) == np.timedelta64(0)) & (np.diff(close) != 0)
    if (count := np.count_nonzero(again)) > max(1, _MANY_TWICE * dates.size):
        day = str(dates[np.argmax(again)])[:10]
        raise PriceError(
            f"{count:,} of {dates.size:,} rows have a date that another row has with another price, as {day}: the file "
            "holds several instruments or times of day that no column tells apart. Give a file with one row a date."
        )


def _carried_forward(
    dates: NDArray[np.datetime64], values: dict[str, FloatArray], log: Log
) -> tuple[NDArray[np.datetime64], dict[str, FloatArray]]:
    """The close of the last row that has one, over rows that have none; rows before the first price are left out."""
    priced = np.isfinite(values["close"])
    last = np.maximum.accumulate(np.where(priced, np.arange(priced.size), -1))
    known = last >= 0
    log.repair("rows before the first price left out", np.count_nonzero(~known))
    log.repair("rows without a price given the last close before them", np.count_nonzero(known & ~priced))
    filled = {}
    for name, column in values.items():
        gap = np.nan if name == "volume" else values[name if name == "raw close" else "close"][last]
        filled[name] = np.where(priced, column, gap)[known]
    return dates[known], filled


def _refuse_non_positive(dates: NDArray[np.datetime64], values: Mapping[str, FloatArray]) -> None:
    for name, column in values.items():
        if name != "volume" and (wrong := np.flatnonzero(column <= 0)).size:
            kind = "negative" if (column[wrong] < 0).any() else "zero"
            instead = f", or leave the {name} column out" if name in ("open", "high", "low") else ""
            why = {
                "negative": "Prices adjusted by subtracting dividends can fall below zero, and returns cannot be worked out of "
                "them: download raw prices, or prices adjusted by factors.",
                "zero": f"A zero mostly stands for an unknown price: correct these rows or take them out{instead}.",
            }[kind]
            day = str(dates[wrong[0]])[:10]
            raise PriceError(
                f"The {name} holds {kind} prices, first {column[wrong[0]]:g} on {day} ({wrong.size:,} in all). {why}"
            )


def _scale(values: dict[str, FloatArray], log: Log) -> None:
    """Open, high and low on the scale of the adjusted close, by the factor adjusted / raw close of the day."""
    raw = values.pop("raw close", None)
    if raw is None:
        return
    factor = values["close"] / raw
    moved = np.count_nonzero(~np.isclose(factor, 1.0, rtol=1e-9, atol=0.0))
    log.repair("rows whose open, high and low were scaled by adjusted close / close, as the close is adjusted", moved)
    for name in ("open", "high", "low"):
        if name in values:
            same = values[name] == raw
            values[name] = np.where(same, values["close"], values[name] * factor)
            unknown = np.isnan(factor)
            values[name][unknown] = np.nan


def _complete(values: dict[str, FloatArray], log: Log) -> None:
    """Open, high and low where they are missing: the close, or what open and close allow."""
    close = values["close"]
    absent = [name for name in ("open", "high", "low") if name not in values]
    if absent:
        listed = " and ".join([", ".join(absent[:-1]), absent[-1]] if len(absent) > 1 else absent)
        log.warnings.append(
            f"The file has no {listed}: "
            + ("the close stands for them." if len(absent) == 3 else "taken from the prices it has.")
        )
    gaps = np.zeros(close.size, bool)
    for name in ("open", "high", "low"):
        if name in values and np.isnan(values[name]).any():
            gaps |= np.isnan(values[name])
    log.repair("rows in which the close stands for a missing open, high or low", np.count_nonzero(gaps))
    opens = values["open"] = _or_else(values.get("open"), close)
    values["high"] = _or_else(values.get("high"), np.maximum(opens, close))
    values["low"] = _or_else(values.get("low"), np.minimum(opens, close))


def _or_else(column: FloatArray | None, instead: FloatArray) -> FloatArray:
    if column is None:
        return instead
    return np.where(np.isnan(column), instead, column) if np.isnan(column).any() else column


def look_over(series: PriceSeries, log: Log) -> None:
    """Warns of what is odd: highs below closes, long gaps, stale prices, jumps."""
    log.warnings.extend(filter(None, (_crossed(series), _longest_gap(series), _stale(series), _jumps(series))))


def _crossed(series: PriceSeries) -> str:
    slack = 1 + 1e-9
    crossed = np.zeros(len(series), bool)
    for column in (series.open, series.close):
        crossed |= column > series.high * slack
        crossed |= column * slack < series.low
    count = int(np.count_nonzero(crossed))
    return (
        f"In {count:,} row{'s' * (count > 1)} the high is not the highest or the low not the lowest of the day: "
        "check that the columns are right."
        if count
        else ""
    )


def _longest_gap(series: PriceSeries) -> str:
    steps = np.diff(series.dates)
    if not steps.size or (longest := steps.max()) <= max(_LONG_GAP, 10 * steps.mean()):
        return ""
    after = series.dates[int(np.argmax(steps))]
    return f"Longest gap: {int(longest / np.timedelta64(1, 'D'))} days after {str(after)[:10]}."


def _stale(series: PriceSeries) -> str:
    """The longest run of rows with one close, where it is long."""
    last = np.concatenate([[-1], np.flatnonzero(np.diff(series.close) != 0), [len(series) - 1]])  # last row of each run
    longest = int(np.argmax(np.diff(last)))
    rows, first = int(last[longest + 1] - last[longest]), int(last[longest]) + 1
    stale = f"The close stays the same for {rows:,} rows from {str(series.dates[first])[:10]}: stale prices?"
    return stale if rows >= _STALE_ROWS else ""


def _jumps(series: PriceSeries) -> str:
    ratio = series.close[1:] / series.close[:-1]
    jumps = np.flatnonzero((ratio < _JUMPS[0]) | (ratio > _JUMPS[1]))
    if not jumps.size:
        return ""
    at = int(jumps[np.argmax(np.abs(np.log(ratio[jumps])))])
    return (
        f"The close moves by {100 * (ratio[at] - 1):+.0f} % in one row on {str(series.dates[at + 1])[:10]}"
        f"{f' (and {jumps.size - 1} more such jumps)' if jumps.size > 1 else ''}: an unadjusted split?"
    )
