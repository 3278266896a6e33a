"""Columns of dates and times of day into datetime64[us]: one order a file, epochs and serial days, zones dropped."""

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgcore.market.cells import Cells, IntArray, NeedsChoice, shape_of
from pgcore.market.date_shapes import Places, Stamp, bare_number, understand_clock, understand_date
from pgcore.market.prices import FloatArray, PriceError

DateArray = NDArray[np.datetime64]
ORDERS = {"day-first": "dmy", "month-first": "mdy", "year-first": "ymd"}
EARLIEST, LATEST = 1600, 2200
MOST_MISFITS = 0.05
_TAIWAN = 1911  # the year before the first of its calendar
_SERIAL_DAYS = (15_000, 80_000)  # 1941 to 2119, as Excel counts days from 1899-12-30
_EXCEL_START = np.datetime64("1899-12-30", "us")
_EPOCHS = (1e11, 1e14, 1e17)  # an epoch of so many or more is no longer in s, in ms, in µs
_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_OUR_TIME = (np.datetime64("1990-01-01", "us"), np.datetime64("2100-01-01", "us"))
_ROUNDED_EPOCH = re.compile(r"[1-9][.,][0-9]+[eE]\+?(?:0?[89]|1[0-8])")  # 1.70044E+12, as spreadsheets print an epoch
_ROUNDED_SHAPE = re.compile(r"0[.,](0+)[eE]\+?00?")
_HOUR, _MINUTE, _SECOND = 3_600_000_000, 60_000_000, 1_000_000
_NAT = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class Dates:
    """Values datetime64[us] [T], NaT where a cell is no date; the order they were read in; what became of time zones."""

    values: DateArray
    order: str = "year-first"
    note: str = ""


def is_date(text: str) -> bool:
    """Whether one cell is a date in the calendar, in any order of day, month and year."""
    shape = shape_of(text)
    stamp = understand_date(shape)
    if stamp is None:
        return _ROUNDED_EPOCH.fullmatch(text.strip()) is not None
    if not stamp.plain and _in_calendar(text.encode(), stamp):
        return True
    number = stamp if stamp.plain else bare_number(shape)
    return number is not None and _may_count_time(_spelled(text.encode(), number.plain), len(number.plain))


def is_weak_date(text: str) -> bool:
    """Whether a cell that may be a date may as well be a number."""
    stamp = understand_date(shape_of(text))
    return _ROUNDED_EPOCH.fullmatch(text.strip()) is not None if stamp is None else stamp.weak


def is_full_date(text: str) -> bool:
    """Whether a cell names a day, not only a month."""
    stamp = understand_date(shape_of(text))
    return stamp is not None and stamp.full and is_date(text)


def is_clock(text: str) -> bool:
    """Whether a cell is a time of day."""
    return understand_clock(shape_of(text)) is not None


def _spelled(content: bytes, places: Places) -> int:
    return int(bytes(content[place] for place in places) or b"0")


def _in_calendar(content: bytes, stamp: Stamp) -> bool:
    if stamp.unordered:
        first, middle, last = (_spelled(content, places) for places in stamp.unordered)
        return 1 <= min(first, middle) <= 12 and (max(first, middle) <= 31 or last <= 31)
    year = _spelled(content, stamp.year) + {2: 2000, 3: _TAIWAN}.get(len(stamp.year), 0)
    month = stamp.month if isinstance(stamp.month, int) else _spelled(content, stamp.month)
    if not (EARLIEST <= year <= LATEST and 1 <= month <= 12):
        return False
    return not stamp.day or 1 <= _spelled(content, stamp.day) <= monthrange(year, month)[1]


def _may_count_time(number: int, digits: int) -> bool:
    """Whether a number may be a serial day, an epoch, YYYYMM or YYMMDD."""
    six = digits == 6 and (1 <= number % 100 <= 12 or 1 <= number // 100 % 100 <= 12)
    return _SERIAL_DAYS[0] <= number <= _SERIAL_DAYS[1] or number >= 1e8 or six


def read_dates(cells: Cells, order: str | None = None, clock: IntArray | None = None) -> Dates:
    """Every cell as a date, plus the time of day of `clock` (microseconds, [T]) where that is a column of its own.

    Where several orders of day, month and year fit, the one that gives strictly monotone dates is taken. Zones are dropped
    and the local time kept, since a trading day is a day at the exchange. Raises NeedsChoice where several orders remain,
    PriceError where the order that was asked for does not fit.
    """
    values: DateArray = np.full(len(cells), _NAT)
    offsets = np.zeros(len(cells), np.int64)
    plain: list[tuple[Stamp, IntArray]] = []
    unordered: list[tuple[Stamp, IntArray]] = []
    zones: set[str] = set()
    notes: list[str] = []
    for shape, rows in cells.groups():
        stamp = understand_date(shape)
        if stamp is None and _ROUNDED_SHAPE.fullmatch(shape.strip()):
            values[rows], note = _rounded_epochs(cells, shape, rows)
            notes.append(note)
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
        values[rows] = _local(cells, rows, stamp)
        number = bare_number(shape)
        if number is not None and np.isnat(values[rows]).mean() > 0.5:  # 946857600000 is no year 9468
            plain.append((number, rows))
    if plain:
        values[np.concatenate([rows for _, rows in plain])], note = _bare_numbers(cells, plain)
        notes.append(note)
    within_day = 0 if clock is None else clock.astype("timedelta64[us]")
    order_read = "year-first"
    if unordered:
        order_read, values = _settle_order(cells, values, unordered, order, within_day)
    local, note = _without_zone(values + within_day, offsets, zones)
    return Dates(local, order_read, " ".join(dict.fromkeys(filter(None, (*notes, note)))))


def read_clock(cells: Cells) -> IntArray:
    """Times of day in microseconds after midnight [T], 0 where there is none.

    Bare numbers are HHMMSS; HHMM if all have four digits at most; hours if all are from 0 to 24.
    """
    times = np.zeros(len(cells), np.int64)
    understood = [(understand_clock(shape), rows) for shape, rows in cells.groups()]
    bare = [(stamp.plain, rows) for stamp, rows in understood if stamp is not None and stamp.plain]
    longest = max((len(plain) for plain, _ in bare), default=0)
    hours = longest <= 2 and all((cells.number(rows, plain) <= 24).all() for plain, rows in bare)
    for stamp, rows in understood:
        if stamp is not None and stamp.plain:
            number = cells.number(rows, stamp.plain) * (10_000 if hours else 1 if longest > 4 else 100)
            times[rows] = number // 10_000 * _HOUR + number // 100 % 100 * _MINUTE + number % 100 * _SECOND
        elif stamp is not None:
            times[rows] = _time_of_day(cells, rows, stamp)
    return times


def _settle_order(
    cells: Cells,
    values: DateArray,
    unordered: Sequence[tuple[Stamp, IntArray]],
    wanted: str | None,
    within_day: NDArray[np.timedelta64] | int,
) -> tuple[str, DateArray]:
    """The order of day, month and year of the whole column, and the values with it."""
    readings: dict[str, DateArray] = {}
    for order in ORDERS:
        readings[order] = values.copy()
        for stamp, rows in unordered:
            readings[order][rows] = _local(cells, rows, stamp, order)
    rows = np.concatenate([rows for _, rows in unordered])
    misfits = {order: np.isnat(reading[rows]) for order, reading in readings.items()}
    if wanted is not None:
        if misfits[wanted].mean() > MOST_MISFITS:
            example = cells.text(int(rows[misfits[wanted]][0])).strip()
            raise PriceError(
                f"The dates do not fit {wanted}: {example} would be no date. Choose another order of day and month."
            )
        return wanted, readings[wanted]
    fewest = min(misfit.sum() for misfit in misfits.values())
    possible: list[str] = []
    for order in ORDERS:
        if misfits[order].sum() == fewest and not any(_same(readings[order], readings[other]) for other in possible):
            possible.append(order)
    for strictly in (True, False):
        monotone = [order for order in possible if is_monotone(readings[order] + within_day, strictly)]
        if len(monotone) == 1:
            possible = monotone
    if len(possible) > 1:
        raise NeedsChoice(
            f"The dates can be read {' or '.join(possible)} ({cells.text(int(rows[0])).strip()}), and nothing in the file says "
            "which: choose the order.",
            "date_order",
            possible,
        )
    return possible[0], readings[possible[0]]


def _same(a: DateArray, b: DateArray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def is_monotone(values: DateArray, strictly: bool) -> bool:
    """Whether dates only rise or only fall, leaving out NaT."""
    steps = np.diff(values[~np.isnat(values)].astype(np.int64))
    if strictly:
        return bool((steps > 0).all() or (steps < 0).all())
    return bool((steps >= 0).all() or (steps <= 0).all())


def _local(cells: Cells, rows: IntArray, stamp: Stamp, order: str = "year-first") -> DateArray:
    """The date and time as written, [rows]; NaT where it is not in the calendar."""
    year, month, day = stamp.year, stamp.month, stamp.day
    if stamp.unordered:
        year, month, day = (stamp.unordered[ORDERS[order].index(part)] for part in "ymd")
    years = cells.number(rows, year) + {3: _TAIWAN}.get(len(year), 0)
    if len(year) == 2:
        years += np.where(years < 70, 2000, 1900)
    months = np.full(rows.size, month) if isinstance(month, int) else cells.number(rows, month)
    days = cells.number(rows, day) if day else np.ones(rows.size, np.int64)
    moments = _calendar(years, months, days) + _time_of_day(cells, rows, stamp).astype("timedelta64[us]")
    return moments if len(year) >= 2 else np.full(rows.size, _NAT)


def _calendar(years: IntArray, months: IntArray, days: IntArray) -> DateArray:
    """Midnight of each day; NaT for what is no day of the calendar, or of no year that prices are known of."""
    possible = (years >= EARLIEST) & (years <= LATEST) & (months >= 1) & (months <= 12) & (days >= 1)
    first = np.where(possible, (years - 1970) * 12 + months - 1, 0).astype("datetime64[M]")
    dates = first.astype("datetime64[D]") + (days - 1).astype("timedelta64[D]")
    possible &= dates.astype("datetime64[M]") == first
    return np.where(possible, dates.astype("datetime64[us]"), _NAT)


def _time_of_day(cells: Cells, rows: IntArray, stamp: Stamp) -> IntArray:
    """Microseconds after midnight; NaT's integer where the clock knows no such time."""
    hours, minutes, seconds = (cells.number(rows, part) for part in (stamp.hour, stamp.minute, stamp.second))
    if stamp.afternoon is not None:
        hours = hours % 12 + (12 if stamp.afternoon else 0)
    possible = (hours <= 24) & (minutes < 60) & (seconds <= 60)
    part = np.round(_share(cells, rows, stamp.fraction) * _SECOND).astype(np.int64)
    time = hours * _HOUR + minutes * _MINUTE + seconds * _SECOND + part
    return np.where(possible, time, np.iinfo(np.int64).min)


def _share(cells: Cells, rows: IntArray, places: Places) -> FloatArray:
    """What the digits behind the decimal mark are of one."""
    return cells.number(rows, places[:12]) / 10.0 ** len(places[:12])


def _bare_numbers(cells: Cells, plain: Sequence[tuple[Stamp, IntArray]]) -> tuple[DateArray, str]:
    """Epochs in s, ms, µs or ns, serial days, 202401 or 240102: one meaning for the column, by its size; and a note."""
    signs = [-1 if stamp.negative else 1 for stamp, _ in plain]
    whole = np.concatenate(
        [sign * cells.number(rows, stamp.plain[:19]) for sign, (stamp, rows) in zip(signs, plain, strict=True)]
    )
    size = float(np.abs(whole).max())
    if all(len(stamp.plain) == 6 for stamp, _ in plain):
        return _six_digits(whole), ""

    parts = np.concatenate(
        [sign * _share(cells, rows, stamp.fraction) for sign, (stamp, rows) in zip(signs, plain, strict=True)]
    )
    if size <= _SERIAL_DAYS[1]:
        milliseconds = np.round((whole + parts) * (24 * _HOUR // 1000)).astype(np.int64)
        dates = _EXCEL_START + (milliseconds * 1000).astype("timedelta64[us]")
        return np.where(whole >= _SERIAL_DAYS[0], dates, _NAT), ""
    if size < 1e8:
        return np.full(whole.size, _NAT), ""
    return _since_1970(whole, parts)


def read_epochs(whole: IntArray) -> Dates:
    """Epochs as dates, in s, ms, µs or ns by their size."""
    values, note = _since_1970(whole)
    return Dates(values, note=note)


def _since_1970(whole: IntArray, parts: FloatArray | float = 0.0) -> tuple[DateArray, str]:
    """The moments so many s, ms, µs or ns after 1970, one unit for all, and a note.

    Where some numbers are of another length than others (Binance writes ms until 2024 and µs since), and each read by its own
    length is of our time, that is the reading. Raises PriceError where the moments then do not follow one another.
    """
    sizes = np.abs(whole).astype(np.float64)
    lengths = np.searchsorted(_EPOCHS, sizes, side="right")
    longest = lengths.max(initial=0)
    as_one = _counted(whole, parts, longest)
    if (lengths == longest).all():
        return as_one, ""
    each = _counted(whole, parts, lengths)
    of_our_time = (each >= _OUR_TIME[0]) & (each < _OUR_TIME[1])
    if not all(of_our_time[lengths == length].mean() > 1 - MOST_MISFITS for length in np.unique(lengths)):
        return as_one, ""
    units = ", ".join(_UNITS[length] for length in np.unique(lengths))
    each = np.where(of_our_time, each, _NAT)
    if is_monotone(each, strictly=False):
        return each, f"The times are numbers of different lengths: each was read by its own length, in {units}."
    examples = " and ".join(str(whole[lengths == length][0]) for length in np.unique(lengths))
    raise PriceError(
        f"The times are numbers of different lengths, as {examples}, and read in {units} they do not follow one another: "
        "write them all in one unit."
    )


def _rounded_epochs(cells: Cells, shape: str, rows: IntArray) -> tuple[DateArray, str]:
    """Epochs as 1.70044E+12, [rows]: days, if none is farther from a midnight than the rounding explains; and a note."""
    texts = [cells.text(int(row)).strip().replace(",", ".") for row in rows]
    whole = np.array([float(text) if _ROUNDED_EPOCH.fullmatch(text) else 0.0 for text in texts])
    moments, note = _since_1970(np.rint(whole).astype(np.int64))
    found = _ROUNDED_SHAPE.fullmatch(shape.strip())
    grain = 10.0 ** (np.floor(np.log10(np.maximum(whole.max(), 1))) - len(found[1] if found else ""))
    unit = float(np.array([1e6, 1e3, 1, 1e-3])[np.searchsorted(_EPOCHS, whole.max(), side="right")])
    half = np.timedelta64(int(grain * unit / 2) + 1, "us")
    day = np.timedelta64(24 * _HOUR, "us")
    midnights = (moments + day // 2).astype("datetime64[D]").astype("datetime64[us]")
    if half < day // 4 and (np.abs(moments - midnights) <= half).all():
        changed = bool((moments != midnights).any())
        return midnights, f"The times are rounded in the file, as {texts[0]}: taken for whole days." if changed else note
    rounded = f"The times are rounded in the file, as {texts[0]}." if half > np.timedelta64(1, "s") else ""
    return moments, " ".join(filter(None, (note, rounded)))


def _counted(whole: IntArray, parts: FloatArray | float, lengths: IntArray | np.integer) -> DateArray:
    """The moments so many units after 1970, the unit by index in _UNITS."""
    times = np.array([1_000_000, 1_000, 1, 1])[lengths]
    return _within_reason(np.where(lengths == 3, whole // 1000, whole * times) + np.round(parts * times).astype(np.int64))


def _within_reason(microseconds: IntArray) -> DateArray:
    """The moments so many microseconds after 1970; NaT for years that prices are not known of."""
    moments = microseconds.astype("datetime64[us]")
    limits = [np.datetime64(f"{year}-01-01", "us") for year in (EARLIEST, LATEST + 1)]
    return np.where((moments >= limits[0]) & (moments < limits[1]), moments, _NAT)


def _six_digits(whole: IntArray) -> DateArray:
    """YYYYMM where all of them can be, else YYMMDD."""
    one = np.ones(whole.size, np.int64)
    months = _calendar(whole // 100, whole % 100, one)
    if not np.isnat(months).any():
        return months
    years = whole // 10_000
    return _calendar(years + np.where(years < 70, 2000, 1900), whole // 100 % 100, whole % 100)


def _without_zone(values: DateArray, offsets: IntArray, zones: set[str]) -> tuple[DateArray, str]:
    """Local times; but UTC where a clock put back would make the local times repeat themselves and UTC does not."""
    if not zones:
        return values, ""
    if (offsets != offsets[0]).any() and not is_monotone(values, strictly=True):
        utc = values - offsets.astype("timedelta64[us]")
        if is_monotone(utc, strictly=True):
            return utc, "Times were turned into UTC, because the local times repeat when the clocks are put back."
    named = ", ".join(sorted(zone for zone in zones if zone))
    return values, f"Times are the local times of the file; the time zone{f' ({named})' if named else ''} was dropped."
