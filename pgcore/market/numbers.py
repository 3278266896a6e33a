"""Numbers as people's files print them: one decimal mark a file, thousands, currencies, units, signs, missing marks."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pgcore.market.cells import BLANKS, LONGEST_CELL, Cells, IntArray, NeedsChoice, byte_places, shape_of
from pgcore.market.prices import FloatArray

_MISSING = r"""
    - -- --- — – − . .. ... … ? * / NA N/A n/a na N.A. n.a. #N/A #N/A! #NA #VALUE! #REF! #DIV/0! #NUM! #NULL! #NAME? NULL null
    Null (null) None none NONE nil NIL NaN nan NAN -nan <NA> NaT inf -inf missing Missing \N x X ND N.D. nd n.d. k.A. s/d b.d.
    b/d н/д нет 无 無 空 なし 없음 yok
"""
MISSING_MARKS = tuple(_MISSING.split())
# A count of thousands, millions … behind a number, as the power of ten it stands for.
_POWERS = {
    3: "k tsd тыс 千 천 thousand mil",
    4: "万 萬 만",
    5: "lakh lac",
    6: "m mn mm mio mln млн million 百万",
    7: "cr crore",
    8: "亿 億 억",
    9: "b bn mrd mld млрд bln billion g",
    12: "t tn trn bio 万亿 兆 trillion",
}
_POWER_OF = {word: power for power, words in _POWERS.items() for word in words.split()}
_CURRENCY_SIGNS = "€$£¥₹₩₽₺₴₫฿₪₱₦₡₲₵₸₼₾₿¢円元圆圓원%*†‡¹²³"
_CURRENCIES = """
    usd eur gbp gbx jpy cny rmb cnh hkd krw inr chf cad aud nzd sek nok dkk pln czk huf rub rur try trl brl mxn zar sgd twd thb
    idr myr php vnd ils aed sar egp ngn clp cop ars pen ron bgn uah kzt usdt usdc busd btc eth euro euros dollar dollars zł zl
    kč kc kr ft lei leva лв tl руб р грн rs rp rm fr sfr p pt pts pkt 股 手 株 주 shares shs stk
"""


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words, longest first, each perhaps with a full stop."""
    return "|".join(re.escape(word) + r"\.?" for word in sorted(words, key=len, reverse=True))


_BLANK = f"[{BLANKS}]*+"  # possessive, so that a cell full of blanks costs no time
_UNITS = rf"(?:(?:[a-z]{{1,3}}\$|[{_CURRENCY_SIGNS}]|{_any_of(_CURRENCIES.split())}){_BLANK})*+"
_CELL = re.compile(
    rf"(?P<open>\()?{_BLANK}(?P<sign>[-−–+])?{_BLANK}{_UNITS}(?P<inner_sign>[-−–+])?{_BLANK}"
    rf"(?P<core>[0.,](?:[0.,'’`´_{BLANKS}]*[0.,])?)(?:e(?P<exponent_sign>[-+])?(?P<exponent>0{{1,3}}))?{_BLANK}"
    rf"(?P<power>{_any_of(_POWER_OF)})?{_BLANK}{_UNITS}(?P<close>\))?(?P<last_sign>[-−])?",
    re.IGNORECASE,
)
# Digits in groups of three (or of two, as in India), all groups parted by the same mark, then perhaps decimals.
_VALID = {
    mark: re.compile(
        rf"(?:0+|0{{1,3}}(?P<group>[{other}'’`´_{BLANKS}])(?:0{{2,3}}(?P=group))*0{{3}})?(?:{re.escape(mark)}(?P<fraction>0*))?"
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
    core = found["core"]
    places = byte_places(shape)
    at = start + found.start("core")
    exponent_at = start + found.start("exponent")
    return _Number(
        core=core,
        places=tuple(places[at + i] for i, character in enumerate(core) if character == "0"),
        negative=bool(found["open"]) or any(found[sign] in ("-", "−", "–") for sign in ("sign", "inner_sign", "last_sign")),
        power=_POWER_OF.get((found["power"] or "").lower().rstrip("."), 0),
        exponent=tuple(places[exponent_at + i] for i in range(len(found["exponent"] or ""))),
        exponent_negative=found["exponent_sign"] == "-",
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
            text = cells.text(int(rows[0])).strip(BLANKS)
            possible = [mark for mark in ".," if number.decimals(mark) is not None]
            if number.undecided:
                leading_zero = cells.number(rows, number.places[:1]) == 0
                if not leading_zero.any():
                    silent = silent or text
                    continue
                possible = [mark for mark in possible if mark in number.core]
                text = cells.text(int(rows[leading_zero][0])).strip(BLANKS)
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
            f"{example} can be read with a decimal {mark} or with a {mark} that separates thousands, and no other number of "
            "the file says which: choose the decimal mark.",
            "decimal",
            (".", ","),
        )
    return "."


@dataclass(frozen=True)
class Numbers:
    """Values [T], NaN where there is none; how many cells hold digits that spell no number, and the first of them."""

    values: FloatArray
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
        if number is not None and decimals is not None:
            values[rows] = _values(cells, rows, number, number.power - decimals)
        elif "0" in shape:  # words, as much as marks, say that there is no value
            text = cells.text(int(rows[0]))
            unreadable += rows.size
            example = example or text.strip(BLANKS)
    return Numbers(values, unreadable, example)


def _values(cells: Cells, rows: IntArray, number: _Number, power: int) -> FloatArray:
    """digits · 10^power: one rounding, hence the nearest float, while digits < 2⁵³ and |power| ≤ 22; else Python's float."""
    sign = -1.0 if number.negative else 1.0
    if len(number.places) <= 18 and not number.exponent and abs(power) <= 22:
        digits = cells.number(rows, number.places)
        scale = np.float64(10.0) ** abs(power)
        if float(digits.max()) * (scale if power > 0 else 1.0) < 2**53:
            return sign * (digits * scale if power > 0 else digits / scale)
    raise_by = cells.number(rows, number.exponent) * (-1 if number.exponent_negative else 1) + power
    places = np.array(number.places)
    spelled = (cells.content[cells.starts[row] + places].tobytes().decode() for row in rows)
    return np.array([sign * float(f"{digits}e{by}") for digits, by in zip(spelled, raise_by, strict=True)])
