"""What the shape of a date says: which digits are the year, the month, the day, the hour, in any common way of writing them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pgcore.market.cells import LONGEST_CELL, byte_places
from pgcore.market.column_names import fold

Places = tuple[int, ...]

_MONTHS = {
    fold(stem): month
    for month, stems in enumerate(
        (
            "jan ene gen янв sty oca led ιαν tammi",
            "feb fev fév lut фев sub şub uno úno helmi φεβ fevr",
            "mar mär mrt мар brez bře maalis μαρ",
            "apr avr abr апр kwi nis dub huhti απρ",
            "may mai maj mag мая май kvě mei touko μαϊ μαΐ",
            "jun juin giu июн cze haz čvn kesä ιουν",
            "jul juil lug июл lip tem čvc heinä ιουλ",
            "aug aoû ago авг sie ağu srp elo αυγ",
            "sep set сен wrz eyl zář syys σεπ",
            "oct okt ott окт paź eki říj loka out οκτ",
            "nov ноя lis kas marras νοε",
            "dec déc dez dic дек gru ara pro des joulu δεκ",
        ),
        1,
    )
    for stem in stems.split()
}
_WEEKDAYS = tuple(
    fold(day)
    for day in "mon tue wed thu fri sat sun lun mar mer jeu ven sam dim mie jue vie sab dom die mit don fre son gio seg ter qua qui "
    "sex пон вто сре чет пят суб вос paz sal çar per cum pon wto sro śro czw pią sob nie maa din woe vri zat zon mån tis ons tor "
    "lör sön man".split()
)
_SHORT_WEEKDAYS = frozenset(fold(day) for day in "mo di mi do fr sa so tu we th su lu ma me je ve пн вт ср чт пт сб вс".split())
_SPACES = frozenset(
    fold(word) for word in "t st nd rd th er ste º ª of the de del at um às as le den ore kl uhr г года".split()
)
_ZONES = frozenset(
    "z utc gmt est edt et cst cdt ct mst mdt pst pdt cet cest met mest eet eest wet west bst ist jst kst hkt sgt msk мск aest aedt "
    "acst awst nzst nzdt brt hst akst akdt".split()
)
_EAST = dict.fromkeys("年월月년", "-") | dict.fromkeys("時时点點시分분", ":") | dict.fromkeys("日일秒초", " ")
_EAST |= dict.fromkeys("一二三四五六火水木金土曜周週星期화수목금토요", "")
_TOKEN = re.compile(
    r"(?P<digits>0+)|(?P<forenoon>a\.? ?m\.?(?![^\W\d_])|上午|午前|오전)|(?P<afternoon>p\.? ?m\.?(?![^\W\d_])|下午|午後|오후)|"
    r"(?P<zone>[\[(][a-z ]*[a-z/_]+[\])](?=\W*$)|[a-z]{2,}/[a-z_/]+)|(?P<east>[\u3040-\u9fff\uac00-\ud7af])|(?P<word>[^\W\d_]+)|"
    r"(?P<mark>.)",
    re.IGNORECASE | re.DOTALL,
)

_SEP = r"[ \-/.,'_:]+"
_DAY, _MONTH, _YEAR = "(?P<day>0?0)", "(?P<month>0?0|b)", "(?P<year>0000|00)"
_DATES = (
    "(?P<year>0000)(?P<month>00)(?P<day>00)(?:(?P<hour>00)(?P<minute>00)(?P<second>00)?)?",
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
    "",
    r"[ap]? ?(?P<hour>0?0)[:.] ?(?P<minute>0?0)(?:[:.] ?(?P<second>0?0)(?:[.,:](?P<fraction>0+))?)?[: ]*[ap]?",
    "(?P<hour>00)(?P<minute>00)(?P<second>00)?",
    "[ap]? ?(?P<hour>0?0)[: ]*[ap]",
)
_OFFSET = "(?: ?z)? ?(?P<offset>[+\\-](?P<offset_hours>0?0)(?::?(?P<offset_minutes>00))?)?"
_CLOCK_IN_DATE = f"(?P<month>b) {_DAY} (?P<hour>00):(?P<minute>00)(?::(?P<second>00))? (?:z )?(?P<year>0000)"
_PATTERNS = [
    re.compile(date + (f"[ \\-,:;_.]+{time}{_OFFSET}" if time else _OFFSET))
    for date in _DATES
    for time in _TIMES
    if "hour" not in date or not time
]
_PATTERNS += [re.compile(_DATES[0].split("(?:")[0] + "[ \\-,:;_.]+" + time + _OFFSET) for time in _TIMES[1:]]
_PATTERNS.append(re.compile(_CLOCK_IN_DATE))
_CLOCKS = [re.compile(time + _OFFSET) for time in _TIMES[1:]]


@dataclass(frozen=True)
class Stamp:
    """The byte places of the digits of each part of a date; parts that are not written are empty.

    `month` is a number where the name is written. `unordered` holds three numbers whose order the shape does not tell.
    `plain` holds the digits of a bare number: an epoch, a serial day.
    """

    year: Places = ()
    month: Places | int = ()
    day: Places = ()
    unordered: tuple[Places, Places, Places] | tuple[()] = ()
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
    def weak(self) -> bool:
        """It could as well be a number: an epoch, a serial day, 1871.01."""
        return bool(self.plain) or (not self.day and not self.unordered and not isinstance(self.month, int))


def _normalised(shape: str) -> tuple[str, list[int], int, bool | None, str]:
    """The shape with names turned into marks: a month b, a.m. and p.m. a and p, a zone z; and what the names said.

    Returns text, byte place of each of its characters, month (0: no name), afternoon, zone.
    """
    byte_at = byte_places(shape)
    text, places, zone = "", [], ""
    month, month_at = 0, -1
    afternoon: bool | None = None
    for kind, raw, at in _tokens(shape):
        mark = raw
        if kind == "word":
            word = fold(raw)
            named = _month(word)
            if named and month and text[month_at] == "b":
                text = text[:month_at] + " " + text[month_at + 1 :]
                month = 0
            if named:
                month, month_at, mark = named, len(text), "b"
            elif word == "h":
                mark = ":"
            elif word in _ZONES:
                zone, mark = raw, "z"
            elif word in _SPACES or word.startswith(_WEEKDAYS) or word in _SHORT_WEEKDAYS:
                mark = " "
            else:
                mark = "?"
        elif kind == "zone":
            zone, mark = raw.strip("[]()"), "z" if raw[0] not in "[(" else " "
        elif kind in ("forenoon", "afternoon"):
            afternoon = kind == "afternoon"
            mark = "p" if afternoon else "a"
        elif kind == "east":
            mark = _EAST.get(raw, "?")
        elif kind == "mark":
            mark = {"−": "-", "–": "-", "’": "'"}.get(raw, " " if raw in "\u00a0\u202f\u2009\u3000\t()（）[]，" else raw)
        for i, character in enumerate(mark):
            if character == " " and text[-1:] == " ":
                continue
            text += character
            places.append(byte_at[at + i] if kind == "digits" else -1)
    return text, places, month, afternoon, zone


def _tokens(shape: str) -> Iterator[tuple[str, str, int]]:
    for found in _TOKEN.finditer(shape):
        yield found.lastgroup or "", found[0], found.start()


def _month(word: str) -> int:
    """The month a word names; the longest stem counts: listopad is no lis… of another tongue than its own."""
    return next((_MONTHS[word[:n]] for n in range(min(len(word), 6), 2, -1) if word[:n] in _MONTHS), 0)


@lru_cache(maxsize=65536)
def understand_date(shape: str) -> Stamp | None:
    """The date, or date and time, that cells of this shape spell; None where they spell none."""
    if len(shape) > LONGEST_CELL or "0" not in shape:
        return None
    number = bare_number(shape)
    if number is not None and (number.fraction or number.negative or len(number.plain) not in (8, 12, 14)):
        return number if len(number.plain) > 4 or number.negative else _match(shape, _PATTERNS)
    return _match(shape, _PATTERNS)


def bare_number(shape: str) -> Stamp | None:
    """The shape as a mere number, which may count days or seconds."""
    found = re.fullmatch(r"([=\"' \u00a0]*)([-−]?)(0+)(?:[.,](0*))?[\"' \u00a0]*", shape)
    if found is None:
        return None
    at = len(shape[: found.start(3)].encode())
    behind = at + len(found[3]) + 1
    return Stamp(
        plain=tuple(range(at, at + len(found[3]))),
        fraction=tuple(range(behind, behind + len(found[4] or ""))),
        negative=bool(found[2]),
    )


@lru_cache(maxsize=65536)
def understand_clock(shape: str) -> Stamp | None:
    """The time of day that cells of this shape spell; a bare number (93000, 930) is `plain`."""
    bare = shape.strip("=\"' ")
    if len(shape) > LONGEST_CELL or "0" not in bare:
        return None
    if re.fullmatch("0{1,6}", bare):
        return Stamp(plain=tuple(range(shape.index("0"), shape.index("0") + len(bare))))
    return _match(shape, _CLOCKS)


def _match(shape: str, patterns: list[re.Pattern[str]]) -> Stamp | None:
    text, places, month, afternoon, zone = _normalised(shape)
    start = len(text) - len(text.lstrip(" .,=\"';:"))
    for pattern in patterns:
        found = pattern.match(text, start)
        if found is not None and not text[found.end() :].strip(" .,;\"'-z"):
            return _stamp(found, places, month, afternoon, zone)
    return None


def _stamp(found: re.Match[str], places: list[int], month: int, afternoon: bool | None, zone: str) -> Stamp:
    groups = found.re.groupindex

    def part(name: str) -> Places:
        return tuple(places[found.start(name) : found.end(name)]) if name in groups and found[name] else ()

    offset = (
        (-1 if found["offset"][0] == "-" else 1, part("offset_hours"), part("offset_minutes"))
        if groups.keys() >= {"offset"} and found["offset"]
        else None
    )
    return Stamp(
        year=part("year"),
        month=month if "month" in groups and found["month"] == "b" else part("month"),
        day=part("day"),
        unordered=(part("first"), part("middle"), part("last")) if "first" in groups else (),
        hour=part("hour"),
        minute=part("minute"),
        second=part("second"),
        fraction=part("fraction"),
        afternoon=afternoon,
        offset=offset,
        zone=zone,
    )
