"""Columns of dates and times of day into datetime64[us]: one order a file, epochs and serial days, zones dropped."""

from calendar import monthrange
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pgcore.market.cells import Cells, IntArray, NeedsChoice, shape_of
from pgcore.market.date_shapes import Places, Stamp, bare_number, understand_clock, understand_date
from pgcore.market.prices import PriceError

DateArray = NDArray[np.datetime64]
ORDERS = {"day-first": "dmy", "month-first": "mdy", "year-first": "ymd"}
EARLIEST, LATEST = 1600, 2200
TAIWAN = 1911  # the year before the first of its calendar
SERIAL_DAYS = (15_000, 80_000)  # 1941 to 2119, as Excel counts days from 1899-12-30
_EXCEL_START = np.datetime64("1899-12-30", "us")
_UNITS = {"s": (1e11, 1_000_000), "ms": (1e14, 1_000), "µs": (1e17, 1)}  # epochs below this many units; microseconds a unit
_HOUR, _MINUTE, _SECOND = 3_600_000_000, 60_000_000, 1_000_000
_NO_INTEGER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Dates:
    """Values datetime64[us] [T], NaT where a cell is no date; `order` as it was read, and what was done with time zones."""

    values: DateArray
    order: str = ""
    note: str = ""
    unreadable: tuple[int, ...] = field(default=(), repr=False)


def is_date(text: str) -> bool:
    """Whether one cell is a date in the calendar, in any order of day, month and year."""
    shape = shape_of(text)
    stamp = understand_date(shape)
    if stamp is None:
        return False
    if not stamp.plain and _in_calendar(text.encode(), stamp):
        return True
    stamp = stamp if stamp.plain else bare_number(shape)
    return stamp is not None and _may_count_time(_spelled(text.encode(), stamp.plain), len(stamp.plain))


def _spelled(content: bytes, places: Places) -> int:
    return int(bytes(content[place] for place in places) or b"0")


def _in_calendar(content: bytes, stamp: Stamp) -> bool:
    if stamp.unordered:
        first, middle, last = (_spelled(content, places) for places in stamp.unordered)
        return 1 <= min(first, middle) <= 12 and (max(first, middle) <= 31 or last <= 31)
    year = _spelled(content, stamp.year) + {2: 2000, 3: TAIWAN}.get(len(stamp.year), 0)
    month = stamp.month if isinstance(stamp.month, int) else _spelled(content, stamp.month)
    if not (EARLIEST <= year <= LATEST and 1 <= month <= 12):
        return False
    return not stamp.day or 1 <= _spelled(content, stamp.day) <= monthrange(year, month)[1]


def _may_count_time(number: int, digits: int) -> bool:
    """Whether a number may be a serial day, an epoch, YYYYMM or YYMMDD."""
    six = digits == 6 and (1 <= number % 100 <= 12 or 1 <= number // 100 % 100 <= 12)
    return SERIAL_DAYS[0] <= number <= SERIAL_DAYS[1] or number >= 1e8 or six


def is_weak_date(text: str) -> bool:
    """Whether a cell that may be a date may as well be a number."""
    stamp = understand_date(shape_of(text))
    return stamp is not None and stamp.weak


def is_full_date(text: str) -> bool:
    """Whether a cell names a day, not only a month."""
    stamp = understand_date(shape_of(text))
    return is_date(text) and stamp is not None and bool(stamp.day or stamp.unordered or stamp.plain)


def is_clock(text: str) -> bool:
    """Whether a cell is a time of day."""
    return understand_clock(shape_of(text)) is not None


def read_dates(cells: Cells, order: str | None = None, clock: IntArray | None = None) -> Dates:
    """Every cell as a date, plus the time of day of `clock` (microseconds, [T]) where that is a column of its own.

    Where day-first and month-first both fit all cells, the one that gives strictly monotone dates is taken. Zones are
    dropped and the local time kept, since a trading day is a day at the exchange. Raises NeedsChoice where both orders
    remain, PriceError where the order that was asked for does not fit.
    """
    values = np.full(len(cells), np.datetime64("NaT", "us"))
    offsets = np.zeros(len(cells), np.int64)
    plain, unordered, zones = [], [], set()
    for shape, rows in cells.groups():
        stamp = understand_date(shape)
        if stamp is None:
            continue
        if stamp.plain:
            plain.append((stamp, rows))
            continue
        if stamp.offset is not None:
            sign, hours, minutes = stamp.offset
            offsets[rows] = sign * (cells.number(rows, hours) * _HOUR + cells.number(rows, minutes) * _MINUTE)
        if stamp.zone or stamp.offset is not None:
            zones.add(stamp.zone)
        if stamp.unordered:
            unordered.append((stamp, rows))
            continue
        values[rows] = _local(cells, rows, stamp, "")
        number = bare_number(shape)
        if number is not None and np.isnat(values[rows]).mean() > 0.5:
            plain.append((number, rows))
    if plain:
        rows = np.concatenate([rows for _, rows in plain])
        values[rows] = _bare_numbers(cells, plain)
    day = clock.astype("timedelta64[us]") if clock is not None else np.timedelta64(0, "us")
    read_as = "year-first"
    if unordered:
        read_as, values = _settle_order(cells, values, unordered, order, day)
    values = values + day
    values, note = _without_zone(values, offsets, zones)
    return Dates(values, read_as, note)


def read_clock(cells: Cells) -> IntArray:
    """Times of day in microseconds after midnight [T], 0 where there is none; bare numbers are HHMMSS, or HHMM if all short."""
    times = np.zeros(len(cells), np.int64)
    understood = [(understand_clock(shape), rows) for shape, rows in cells.groups()]
    with_seconds = any(stamp is not None and len(stamp.plain) > 4 for stamp, _ in understood)
    for stamp, rows in understood:
        if stamp is None:
            continue
        if stamp.plain:
            number = cells.number(rows, stamp.plain) * (1 if with_seconds else 100)
            times[rows] = number // 10_000 * _HOUR + number // 100 % 100 * _MINUTE + number % 100 * _SECOND
        else:
            times[rows] = _time_of_day(cells, rows, stamp)
    return times


def _settle_order(
    cells: Cells, values: DateArray, unordered: list[tuple[Stamp, IntArray]], wanted: str | None, day: np.timedelta64 | NDArray
) -> tuple[str, DateArray]:
    """The order of day, month and year of the whole column, and the values with it."""
    readings: dict[str, DateArray] = {}
    for order in ORDERS:
        readings[order] = values.copy()
        for stamp, rows in unordered:
            readings[order][rows] = _local(cells, rows, stamp, order)
    rows = np.concatenate([rows for _, rows in unordered])
    wrong = {order: int(np.isnat(reading[rows]).sum()) for order, reading in readings.items()}
    example = cells.text(rows[0]).strip()
    if wanted is not None:
        if wrong[wanted] > 0.05 * rows.size:
            misfit = cells.text(rows[np.isnat(readings[wanted][rows])][0]).strip()
            raise PriceError(
                f"The dates do not fit {wanted}: {misfit} would be no date. Choose another order of day and month."
            )
        return wanted, readings[wanted]
    fitting = [order for order in ORDERS if wrong[order] == min(wrong.values())]
    different = [order for i, order in enumerate(fitting) if not any(_same(readings[order], readings[o]) for o in fitting[:i])]
    for monotone in (_strictly_monotone, _monotone):
        chosen = [order for order in different if monotone(readings[order] + day)]
        if len(different) > 1 and len(chosen) == 1:
            different = chosen
    if len(different) > 1:
        raise NeedsChoice(
            f"The dates can be read {' or '.join(different)} ({example}), and nothing in the file says which: choose the order.",
            "date_order",
            different,
        )
    return different[0], readings[different[0]]


def _same(a: DateArray, b: DateArray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _steps(values: DateArray) -> NDArray[np.int64]:
    return np.diff(values[~np.isnat(values)].astype(np.int64))


def _strictly_monotone(values: DateArray) -> bool:
    steps = _steps(values)
    return bool((steps > 0).all() or (steps < 0).all())


def _monotone(values: DateArray) -> bool:
    steps = _steps(values)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _local(cells: Cells, rows: IntArray, stamp: Stamp, order: str) -> DateArray:
    """The date and time as written, [rows]; NaT where it is not in the calendar."""
    year, month, day = (
        (dict(zip(ORDERS[order], stamp.unordered, strict=True))[part] for part in "ymd")
        if stamp.unordered
        else (stamp.year, stamp.month, stamp.day)
    )
    years = cells.number(rows, year)
    if len(year) == 2:
        years += np.where(years < 70, 2000, 1900)
    elif len(year) == 3:
        years += TAIWAN
    months = np.full(rows.size, month) if isinstance(month, int) else cells.number(rows, month)
    days = cells.number(rows, day) if day else np.ones(rows.size, np.int64)
    possible = (len(year) >= 2) & (years >= EARLIEST) & (years <= LATEST) & (months >= 1) & (months <= 12) & (days >= 1)
    first = np.where(possible, (years - 1970) * 12 + months - 1, 0).astype("datetime64[M]")
    dates = first.astype("datetime64[D]") + (days - 1)
    possible &= dates.astype("datetime64[M]") == first
    moments = dates.astype("datetime64[us]") + _time_of_day(cells, rows, stamp).astype("timedelta64[us]")
    return np.where(possible, moments, np.datetime64("NaT", "us"))


def _time_of_day(cells: Cells, rows: IntArray, stamp: Stamp) -> IntArray:
    hours = cells.number(rows, stamp.hour)
    if stamp.afternoon is not None:
        hours = hours % 12 + (12 if stamp.afternoon else 0)
    seconds = hours * _HOUR + cells.number(rows, stamp.minute) * _MINUTE + cells.number(rows, stamp.second) * _SECOND
    return seconds + _fraction(cells, rows, stamp.fraction)


def _fraction(cells: Cells, rows: IntArray, places: Places, whole: int = _SECOND) -> IntArray:
    """What the digits behind the decimal mark are of a whole of so many microseconds."""
    kept = places[:12]
    return (
        np.round(cells.number(rows, kept) * (whole / 10.0 ** len(kept))).astype(np.int64)
        if kept
        else np.zeros(rows.size, np.int64)
    )


def _bare_numbers(cells: Cells, plain: list[tuple[Stamp, IntArray]]) -> DateArray:
    """Epochs in s, ms, µs or ns, serial days, 202401 or 240102: one meaning for the column, by its size."""
    whole = np.concatenate(
        [cells.number(rows, stamp.plain[:19]) * (-1 if stamp.negative else 1) for stamp, rows in plain]
        or [np.zeros(0, np.int64)]
    )
    size = np.abs(whole).max(initial=0)
    typical = float(np.median(whole)) if whole.size else 0.0
    if SERIAL_DAYS[0] <= typical <= SERIAL_DAYS[1] and size <= SERIAL_DAYS[1]:
        part = np.concatenate([_fraction(cells, rows, stamp.fraction, 24 * _HOUR) for stamp, rows in plain])
        milliseconds = np.round(part / 1000).astype(np.int64) * 1000
        return _EXCEL_START + (whole * (24 * _HOUR) + milliseconds).astype("timedelta64[us]")
    if all(len(stamp.plain) == 6 for stamp, _ in plain):
        return _six_digits(whole)
    if size < 1e8:
        return np.full(whole.size, np.datetime64("NaT", "us"))
    for limit, microseconds in _UNITS.values():
        if size < limit:
            part = np.concatenate([_fraction(cells, rows, stamp.fraction, microseconds) for stamp, rows in plain])
            return (whole * microseconds + np.where(whole < 0, -part, part)).astype("datetime64[us]")
    return (whole // 1000).astype("datetime64[us]")


def _six_digits(whole: IntArray) -> DateArray:
    """YYYYMM where all of them can be, else YYMMDD."""
    years, months = whole // 100, whole % 100
    if ((years >= EARLIEST) & (years <= LATEST) & (months >= 1) & (months <= 12)).all():
        return ((years - 1970) * 12 + months - 1).astype("datetime64[M]").astype("datetime64[us]")
    years, months, days = whole // 10_000, whole // 100 % 100, whole % 100
    possible = (months >= 1) & (months <= 12) & (days >= 1)
    years = years + np.where(years < 70, 2000, 1900)
    first = np.where(possible, (years - 1970) * 12 + months - 1, 0).astype("datetime64[M]")
    dates = first.astype("datetime64[D]") + (days - 1)
    return np.where(
        possible & (dates.astype("datetime64[M]") == first), dates.astype("datetime64[us]"), np.datetime64("NaT", "us")
    )


def _without_zone(values: DateArray, offsets: IntArray, zones: set[str]) -> tuple[DateArray, str]:
    """Local times; but UTC where a clock put back would make the local times repeat themselves and UTC does not."""
    if not zones:
        return values, ""
    if (offsets != offsets[0]).any() and not _strictly_monotone(values):
        utc = values - offsets.astype("timedelta64[us]")
        if _strictly_monotone(utc):
            return utc, "Times were turned into UTC, because the local times repeat when the clocks are put back."
    named = ", ".join(sorted(zone for zone in zones if zone))
    return values, f"Times are the local times of the file; the time zone{f' ({named})' if named else ''} was dropped."
