"""What the shape of a date says: which digits are the year, the month, the day, the hour, in any common way to write them."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from pgcore.market.cells import LONGEST_CELL, byte_places
from pgcore.market.column_names import fold

Places = tuple[int, ...]

_MONTH_NAMES = """
    jan ene gen янв sty oca led ian ιαν tammi січ яну
    feb fev fév lut фев sub şub uno úno helmi φεβ fevr лют
    mar mär mrt мар brez bře maalis μαρ бер
    apr avr abr апр kwi nis dub huhti απρ кві
    may mai maj mag мая май kvě mei touko μαϊ μαΐ máj тра
    jun juin giu июн cze haz čvn červn červen kesä iun jún ιουν чер юни
    jul juil lug июл lip tem čvc červene červenc heinä iul júl ιουλ лип юли
    aug aoû ago авг sie ağu srp elo αυγ agu сер
    sep set сен wrz eyl zář syys sze σεπ вер сеп
    oct okt ott окт paź eki říj loka out οκτ жов
    nov ноя lis kas marras noi νοε лис ное
    dec déc dez dic дек gru ara pro des joulu δεκ гру
"""
_WEEKDAY_NAMES = """
    mon tue wed thu fri sat sun lun mar mer jeu ven sam dim mie jue vie sab dom die mit don fre son gio seg ter qua qui sex
    пон вто сре чет пят суб вос paz sal çar per cum pon wto sro śro czw pią sob nie maa din woe vri zat zon mån tis ons tor
    lör sön man
"""
_SHORT_WEEKDAY_NAMES = "mo di mi do fr sa so tu we th su lu ma me je ve пн вт ср чт пт сб вс"
_FILLER_NAMES = "t st nd rd th er ste º ª of the de del at um às as le den ore kl uhr г года"
_ZONE_NAMES = """
    z utc gmt est edt et cst cdt ct mst mdt pst pdt cet cest met mest eet eest wet west bst ist jst kst hkt sgt msk мск aest
    aedt acst awst nzst nzdt brt hst akst akdt
"""
_MONTHS = {fold(stem): number for number, line in enumerate(_MONTH_NAMES.split("\n")) for stem in line.split()}
_LONGEST_MONTH = max(map(len, _MONTHS))
_WEEKDAYS = tuple(fold(day) for day in _WEEKDAY_NAMES.split())
_SILENT = frozenset(fold(word) for word in f"{_SHORT_WEEKDAY_NAMES} {_FILLER_NAMES}".split())
_ZONES = frozenset(_ZONE_NAMES.split())
_EAST = dict.fromkeys("年월月년", "-") | dict.fromkeys("時时点點시分분", ":") | dict.fromkeys("日일秒초", " ")
_EAST |= dict.fromkeys("一二三四五六火水木金土曜周週星期화수목금토요", "")
_MARKS = dict.fromkeys("−‐‑‒–—―", "-") | {"’": "'"} | dict.fromkeys("\u00a0\u202f\u2009\u3000\t()（）[]，", " ")
_TOKEN = re.compile(
    r"""(?P<digits>0+)
    | (?P<forenoon>a\.?\ ?m\.?(?![^\W\d_])|上午|午前|오전) | (?P<afternoon>p\.?\ ?m\.?(?![^\W\d_])|下午|午後|오후)
    | (?P<remark>[\[(][a-z\ ]*[a-z/_]+[\])](?=\W*$)) | (?P<place>[a-z]{2,}/[a-z_/]+)
    | (?P<east>[\u3040-\u9fff\uac00-\ud7af]) | (?P<word>[^\W\d_]+) | (?P<mark>.)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)

# Dates and times in normalised text, where b is the name of a month, a and p are a.m. and p.m., and z is a zone.
_SEP = r"[ \-/.,'_:]+"
_DAY, _MONTH, _YEAR = "(?P<day>0?0)", "(?P<month>0?0|b)", "(?P<year>0000|00)"
_DIGITS = "(?P<year>0000)(?P<month>00)(?P<day>00)"
_DATES = (
    _DIGITS,
    f"(?P<year>0000|000){_SEP}{_MONTH}{_SEP}{_DAY}",
    f"{_DAY}(?:{_SEP})?(?P<month>b)(?:{_SEP})?{_YEAR}",
    f"(?P<month>b)(?:{_SEP})?{_DAY}{_SEP}{_YEAR}",
    f"(?P<first>0?0){_SEP}(?P<middle>0?0){_SEP}(?P<last>0000|00)",
    f"(?P<year>0000)(?:{_SEP})?(?P<month>b)",
    f"(?P<year>0000){_SEP}(?P<month>0?0)",
    f"(?P<month>b)(?:{_SEP})?{_YEAR}",
    f"(?P<month>0?0){_SEP}(?P<year>0000)",
)
_TIMES = (
    r"[ap]? ?(?P<hour>0?0)[:.] ?(?P<minute>0?0)(?:[:.] ?(?P<second>0?0)(?:[.,:](?P<fraction>0+))?)?[: ]*[ap]?",
    "(?P<hour>00)(?P<minute>00)(?P<second>00)?",
    "[ap]? ?(?P<hour>0?0)[: ]*[ap]",
)
_OFFSET = r"(?: ?z)? ?(?P<offset>(?P<sign>[+\-])(?P<offset_hours>0?0)(?::?(?P<offset_minutes>00))?)?"
_C_LIBRARY = f"(?P<month>b) {_DAY} (?P<hour>00):(?P<minute>00)(?::(?P<second>00))? (?:z )?(?P<year>0000)"
_CLOCKS = [re.compile(time + _OFFSET) for time in _TIMES]
_PATTERNS = [
    *(re.compile(date + _OFFSET) for date in (*_DATES, _C_LIBRARY)),
    *(re.compile(f"{date}[ \\-,:;_.]+{time}{_OFFSET}") for date in _DATES for time in _TIMES),
]


@dataclass(frozen=True)
class Stamp:
    """The byte places of the digits of each part of a date; parts that are not written are empty.

    `month` is a number where its name is written. `unordered` holds three numbers whose order the shape does not tell.
    `plain` holds the digits of a bare number: an epoch, a serial day.
    """

    year: Places = ()
    month: Places | int = ()
    day: Places = ()
    unordered: tuple[Places, ...] = ()
    hour: Places = ()
    minute: Places = ()
    second: Places = ()
    fraction: Places = ()
    afternoon: bool | None = None
    offset: tuple[int, Places, Places] | None = None
    zone: str = ""
    plain: Places = ()
    negative: bool = False

    @property
    def full(self) -> bool:
        """It names a day, not only a month."""
        return bool(self.day or self.unordered or self.plain)

    @property
    def weak(self) -> bool:
        """It could as well be a number: an epoch, a serial day, 1871.01."""
        return bool(self.plain) or (not self.full and not isinstance(self.month, int))


@lru_cache(maxsize=65536)
def understand_date(shape: str) -> Stamp | None:
    """The date, or date and time, that cells of this shape spell; None where they spell none."""
    if len(shape) > LONGEST_CELL or "0" not in shape:
        return None
    number = bare_number(shape)
    digits = 0 if number is None else len(number.plain)
    if number is None or (digits <= 4 and not number.negative):
        return _match(shape, _PATTERNS)
    if number.negative or digits not in (8, 12, 14):
        return number
    year, month, day, hour, minute, second = (number.plain[i:j] for i, j in pairwise((0, 4, 6, 8, 10, 12, 14)))
    return Stamp(year, month, day, hour=hour, minute=minute, second=second)


def bare_number(shape: str) -> Stamp | None:
    """The shape as a mere number, which may count days or seconds."""
    found = re.fullmatch(r"[=\"' \u00a0]*([-−]?)(0+)(?:[.,](0*))?[\"' \u00a0]*", shape)
    if found is None:
        return None
    at = byte_places(shape)
    plain = tuple(at[i] for i in range(*found.span(2)))
    return Stamp(plain=plain, fraction=tuple(at[i] for i in range(*found.span(3))), negative=bool(found[1]))


@lru_cache(maxsize=65536)
def understand_clock(shape: str) -> Stamp | None:
    """The time of day that cells of this shape spell; a bare number (93000, 930) is `plain`."""
    if len(shape) > LONGEST_CELL or "0" not in shape:
        return None
    number = bare_number(shape)
    if number is not None and len(number.plain) <= 6 and not number.fraction and not number.negative:
        return number
    return _match(shape, _CLOCKS)


@dataclass
class _Plainly:
    """A shape in normalised text: the byte place of each of its characters, and what the names said that it replaces."""

    text: str = ""
    places: list[int] = field(default_factory=list)
    month: int = 0
    afternoon: bool | None = None
    zone: str = ""

    def add(self, mark: str, place: int = -1) -> None:
        for i, character in enumerate(mark):
            if character != " " or not self.text.endswith(" "):
                self.text += character
                self.places.append(place + i if place >= 0 else -1)


def _normalised(shape: str) -> _Plainly:
    at = byte_places(shape)
    said = _Plainly()
    for found in _TOKEN.finditer(shape):
        kind, raw = found.lastgroup, found[0]
        if kind == "digits":
            said.add(raw, at[found.start()])
        elif kind in ("forenoon", "afternoon"):
            said.afternoon = kind == "afternoon"
            said.add("p" if said.afternoon else "a")
        elif kind == "word":
            _add_word(said, raw)
        elif kind in ("place", "remark"):
            said.zone = raw.strip("[]()") if "/" in raw else said.zone
            said.add("z" if kind == "place" else " ")
        else:
            said.add(_EAST.get(raw, "?") if kind == "east" else _MARKS.get(raw, raw))
    return said


def _add_word(said: _Plainly, raw: str) -> None:
    word = fold(raw)
    month = next((_MONTHS[word[:n]] for n in range(min(len(word), _LONGEST_MONTH), 2, -1) if word[:n] in _MONTHS), 0)
    if month:
        if said.month:  # mar. 2 janv.: the first was the name of a weekday
            said.text = said.text.replace("b", " ")
        said.month = month
        said.add("b")
    elif word in _ZONES:
        said.zone = raw
        said.add("z")
    elif word == "h":
        said.add(":")
    else:
        said.add(" " if word in _SILENT or word.startswith(_WEEKDAYS) else "?")


def _match(shape: str, patterns: list[re.Pattern[str]]) -> Stamp | None:
    said = _normalised(shape)
    start = len(said.text) - len(said.text.lstrip(" .,=\"';:"))
    for pattern in patterns:
        found = pattern.match(said.text, start)
        if found is not None and not said.text[found.end() :].strip(" .,;\"'-z"):
            return _stamp(found, said)
    return None


def _stamp(found: re.Match[str], said: _Plainly) -> Stamp:
    written = {name for name, text in found.groupdict().items() if text}

    def part(name: str) -> Places:
        return tuple(said.places[found.start(name) : found.end(name)]) if name in written else ()

    sign = -1 if "sign" in written and found["sign"] == "-" else 1
    return Stamp(
        year=part("year"),
        month=said.month if "month" in written and found["month"] == "b" else part("month"),
        day=part("day"),
        unordered=(part("first"), part("middle"), part("last")) if "first" in written else (),
        hour=part("hour"),
        minute=part("minute"),
        second=part("second"),
        fraction=part("fraction"),
        afternoon=said.afternoon,
        offset=(sign, part("offset_hours"), part("offset_minutes")) if "offset" in written else None,
        zone=said.zone,
    )
