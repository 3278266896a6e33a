"""Numbers as people's files print them: one decimal mark a file, thousands, currencies, units, signs, missing marks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pgcore.market.cells import BLANKS, LONGEST_CELL, Cells, IntArray, NeedsChoice, byte_places, shape_of

MISSING_MARKS = tuple(
    "- -- --- — – − . .. ... … ? * / NA N/A n/a na N.A. n.a. #N/A #N/A! #NA #VALUE! #REF! #DIV/0! #NUM! #NULL! #NAME? NULL "
    "null Null (null) None none NONE nil NIL NaN nan NAN -nan <NA> NaT inf -inf missing Missing \\N x X ND N.D. nd n.d. k.A. "
    "k. A. s/d b.d. b/d н/д нет 无 無 空 なし ー － 없음 yok".split()
)
_MULTIPLIERS = {
    **dict.fromkeys(("k", "tsd", "tsd.", "тыс", "тыс.", "千", "천", "thousand", "mil"), 3),
    **dict.fromkeys(("万", "萬", "만"), 4),
    **dict.fromkeys(("lakh", "lac"), 5),
    **dict.fromkeys(("m", "mn", "mm", "mio", "mio.", "mln", "mln.", "млн", "млн.", "million", "百万"), 6),
    **dict.fromkeys(("cr", "crore"), 7),
    **dict.fromkeys(("亿", "億", "억"), 8),
    **dict.fromkeys(("b", "bn", "mrd", "mrd.", "mld", "mld.", "млрд", "млрд.", "bln", "billion", "g"), 9),
    **dict.fromkeys(("t", "tn", "trn", "bio", "bio.", "万亿", "兆", "trillion"), 12),
}
_SIGNS = "€$£¥₹₩₽₺₴₫฿₪₱₦₡₲₵₸₼₾₿¢円元圆圓원"
_WORDS = (
    r"[a-z]{1,3}\$|"
    + f"[{_SIGNS}]"
    + r"|usd|eur|gbp|gbx|gbp|jpy|cny|rmb|cnh|hkd|krw|inr|chf|cad|aud|nzd|sek|nok|dkk|pln|czk|huf|"
    r"rub|rur|try|trl|brl|mxn|zar|sgd|twd|thb|idr|myr|php|vnd|ils|aed|sar|egp|ngn|clp|cop|ars|pen|ron|bgn|uah|kzt|usdt|usdc|busd|btc|"
    r"eth|euro|euros|dollars?|zł|zl|kč|kc|kr\.?|ft|lei|leva|лв\.?|tl|руб\.?|р\.?|грн\.?|rs\.?|rp\.?|rm|fr\.?|sfr\.?|p|pts?\.?|pkt\.?|%"
    r"|股|手|株|주|shares|shs|stk\.?|\*{1,3}|[†‡¹²³*]"
)
_AFFIX = re.compile(f"(?:{_WORDS})", re.IGNORECASE)
_BLANK = f"[{BLANKS}]"
_CELL = re.compile(
    rf"""(?P<open>\()?{_BLANK}*(?P<sign>[-−–+])?{_BLANK}*(?P<before>(?:(?:{_WORDS}){_BLANK}*)*)(?P<sign2>[-−–+])?{_BLANK}*
    (?P<core>[0.,][0.,'’`´_{BLANKS}]*)(?:e(?P<esign>[-+])?(?P<exponent>0{{1,3}}))?
    {_BLANK}*(?P<unit>{"|".join(sorted((re.escape(u) for u in _MULTIPLIERS), key=len, reverse=True))})?
    {_BLANK}*(?P<after>(?:(?:{_WORDS}){_BLANK}*)*)(?P<close>\))?(?P<sign3>[-−])?""",
    re.IGNORECASE | re.VERBOSE,
)
_GROUP = rf"(?P<group>[{{other}}'’`´_{BLANKS}])"
_VALID = {
    mark: re.compile(
        rf"(?:0+|0{{1,3}}{_GROUP.format(other=other)}(?:0{{2,3}}(?P=group))*0{{3}})?(?:{re.escape(mark)}(?P<fraction>0*))?"
    )
    for mark, other in ((".", ","), (",", "."))
}


@dataclass(frozen=True)
class _Number:
    """What a shape says: the digits and marks, the byte places of the digits, sign, power of ten and written exponent."""

    core: str
    places: tuple[int, ...]
    negative: bool
    power: int
    exponent: tuple[int, ...]
    exponent_negative: bool

    def decimals(self, decimal: str) -> int | None:
        """Digits after the decimal mark; None where the number cannot be one under this mark."""
        found = _VALID[decimal].fullmatch(self.core)
        return None if found is None else len(found["fraction"] or "")

    @property
    def undecided(self) -> bool:
        """One mark with one to three digits before and three behind: thousands or decimals, who knows."""
        return re.fullmatch(r"0{1,3}[.,]0{3}", self.core) is not None


@lru_cache(maxsize=65536)
def _understand(shape: str) -> _Number | None:
    """The number a shape spells, or None."""
    if len(shape) > LONGEST_CELL or "0" not in shape:
        return None
    start = len(shape) - len(shape.lstrip(BLANKS + "=\"'"))
    found = _CELL.fullmatch(shape[start:].rstrip(BLANKS + "\"'"))
    if found is None or "0" not in found["core"] or bool(found["open"]) != bool(found["close"]):
        return None
    core = found["core"].rstrip(BLANKS + "'’`´_")
    places = byte_places(shape)
    at = start + found.start("core")
    exponent_at = start + found.start("exponent")
    unit = (found["unit"] or "").lower()
    signs = [found[name] for name in ("sign", "sign2", "sign3") if found[name]]
    return _Number(
        core=core,
        places=tuple(places[at + i] for i, character in enumerate(core) if character == "0"),
        negative=bool(found["open"]) or any(sign != "+" for sign in signs),
        power=_MULTIPLIERS.get(unit, 0),
        exponent=tuple(places[exponent_at + i] for i in range(len(found["exponent"] or ""))),
        exponent_negative=found["esign"] == "-",
    )


def is_number(text: str) -> bool:
    """Whether a cell spells a number, under either decimal mark."""
    number = _understand(shape_of(text))
    return number is not None and (number.decimals(".") is not None or number.decimals(",") is not None)


def is_missing(text: str) -> bool:
    """Whether a cell is empty or says that there is no value."""
    return not (bare := text.strip(BLANKS + "\"'=")) or bare in MISSING_MARKS


def decimal_evidence(columns: Iterable[Cells]) -> tuple[dict[str, str], str]:
    """What the cells say about the decimal mark: an example for each mark they speak for, and one that speaks for neither.

    A mark that comes twice in a number, or before another mark, separates thousands; one that has not three digits behind
    it, or more than three or a leading 0 before it, is the decimal mark.
    """
    speaks: dict[str, str] = {}
    silent = ""
    for cells in columns:
        for shape, rows in cells.groups():
            number = _understand(shape)
            if number is None or not ("." in number.core or "," in number.core):
                continue
            text = cells.text(rows[0]).strip(BLANKS)
            possible = [mark for mark in ".," if number.decimals(mark) is not None]
            if number.undecided:
                leading_zero = cells.number(rows, number.places[:1]) == 0
                if not leading_zero.any():
                    silent = silent or text
                    continue
                possible, text = (
                    [mark for mark in possible if mark in number.core],
                    cells.text(rows[leading_zero][0]).strip(BLANKS),
                )
            if len(possible) == 1:
                speaks.setdefault(possible[0], text)
    return speaks, silent


def decide_decimal(tiers: Iterable[Iterable[Cells]]) -> str:
    """The decimal mark of a file, "." or ",", from the first tier of columns that settles it.

    Raises NeedsChoice where no number of the file says which it is, or some say one and some the other.
    """
    example = ""
    for tier in tiers:
        speaks, silent = decimal_evidence(tier)
        if len(speaks) == 1:
            return next(iter(speaks))
        if speaks:
            raise NeedsChoice(
                f"Some numbers have a decimal point ({speaks['.']}) and others a decimal comma ({speaks[',']}): "
                "choose the decimal mark of this file.",
                "decimal",
                (".", ","),
            )
        example = example or silent
    if example:
        mark = "point" if "." in example else "comma"
        raise NeedsChoice(
            f"{example} can be read with a decimal {mark} or with a {mark} that separates thousands, and no other number of the "
            "file says which: choose the decimal mark.",
            "decimal",
            (".", ","),
        )
    return "."


@dataclass(frozen=True)
class Numbers:
    """Values [T], NaN where there is none; how many cells hold something that is no number, and the first of them."""

    values: NDArray[np.float64]
    unreadable: int = 0
    example: str = ""


def read_numbers(cells: Cells, decimal: str) -> Numbers:
    """Every cell as a number under one decimal mark, each correctly rounded to the nearest float."""
    values = np.full(len(cells), np.nan)
    unreadable, example = 0, ""
    if not cells.shapes and len(cells):
        return Numbers(values, len(cells), cells.text(0))
    for shape, rows in cells.groups():
        number = _understand(shape)
        decimals = None if number is None else number.decimals(decimal)
        if number is None or decimals is None:
            if not is_missing(cells.text(rows[0])):
                unreadable += rows.size
                example = example or cells.text(rows[0]).strip(BLANKS)
            continue
        values[rows] = _values(cells, rows, number, number.power - decimals)
    return Numbers(values, unreadable, example)


def _values(cells: Cells, rows: IntArray, number: _Number, power: int) -> NDArray[np.float64]:
    """digits · 10^power: one rounding, hence the nearest float, while digits < 2⁵³ and |power| ≤ 22; else Python's float."""
    sign = -1.0 if number.negative else 1.0
    if len(number.places) <= 18 and not number.exponent:
        digits = cells.number(rows, number.places)
        if digits.max(initial=0) < 2**53 and abs(power) <= 22 and (power <= 0 or digits.max(initial=0) * 10.0**power < 2**53):
            return sign * (digits / 10.0**-power if power < 0 else digits * 10.0**power)
    raise_by = cells.number(rows, number.exponent) * (-1 if number.exponent_negative else 1) + power
    places = np.array(number.places)
    spelled = (cells.content[cells.starts[row] + places].tobytes().decode() for row in rows)
    return np.array([sign * float(f"{digits}e{by}") for digits, by in zip(spelled, raise_by, strict=True)])
