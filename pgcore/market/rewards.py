"""What the agent is paid on a row of trading: one small pure function a reward, and the REWARDS table.

A new reward is one function and one row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pgcore.market.accounting import BUY, HOLD, SELL

FloatArray = NDArray[np.float64]

ARTICLE_PAY = 0.1
RUIN = 0.01
SHARPE_RATE = 0.01
SHARPE_FLOOR = 0.1


class Day(NamedTuple):
    """What N traders did on the row from t to t + 1 and what came of it, all [N].

    `price`, `next_price` are closes; `equity`, `next_equity` what each owned at them, 0 meaning bankrupt; `volatility` is
    the trailing deviation of a row's log return, known at t; `memory` [M, N] is what the reward keeps between rows.
    """

    action: NDArray[np.integer]
    price: FloatArray
    next_price: FloatArray
    equity: FloatArray
    next_equity: FloatArray
    volatility: FloatArray
    memory: FloatArray


def _no_memory(volatility: FloatArray) -> FloatArray:
    return np.empty((0, len(volatility)))


@dataclass(frozen=True)
class Reward:
    """A row of the table. `pay(day)` is the reward [N]; `equation` is LaTeX.

    A reward that needs its past gives `start(volatility)`, its memory [M, N] when an episode begins, and
    `remember(day)`, the memory after the day.
    """

    title: str
    about: str
    equation: str
    pay: Callable[[Day], FloatArray]
    start: Callable[[FloatArray], FloatArray] = _no_memory
    remember: Callable[[Day], FloatArray] | None = None


def article(day: Day) -> FloatArray:
    """+0.1 if buy and s_{t+1} > s_t; −0.1 if sell and s_{t+1} < s_t; else 0: exactly as the article (§4.3) prints it."""
    rewarded = (day.action == BUY) & (day.next_price > day.price)
    punished = (day.action == SELL) & (day.next_price < day.price)
    return ARTICLE_PAY * (rewarded.astype(np.float64) - punished)


_SIDE = np.zeros(3)
_SIDE[[BUY, SELL, HOLD]] = 1.0, -1.0, 0.0


def article_mirrored(day: Day) -> FloatArray:
    """±0.1 for being right or wrong on either side: 0.1 side(a) sign(s_{t+1} − s_t); side of buy 1, sell −1, hold 0."""
    return ARTICLE_PAY * _SIDE[day.action] * np.sign(day.next_price - day.price)


def pnl(day: Day) -> FloatArray:
    """log(E_{t+1} / E_t), so that an episode's rewards sum to log(final / initial equity), costs included.

    Bankruptcy pays log 0.01, as if a hundredth were left: the logarithm of nothing would end the training too.
    """
    return np.log(np.where(day.next_equity > 0, day.next_equity / day.equity, RUIN))


def sharpe(day: Day) -> FloatArray:
    """Differential Sharpe ratio: how much R_t = E_{t+1}/E_t − 1 raises a moving Sharpe ratio (Moody & Saffell 2001, eq. 9).

    D_t = (B ΔA − ½ A ΔB) / (B − A²)^{3/2} with ΔA = R_t − A, ΔB = R_t² − B; A and B are moving moments, A += η ΔA,
    B += η ΔB, η = 0.01. They start at 0 and σ², the market's trailing variance, and the variance in the denominator
    counts as at least (σ/10)², so that a trader who was flat for long is not paid without bound for the first move.
    """
    mean, square = day.memory
    earned = day.next_equity / day.equity - 1.0
    variance = np.maximum(square - mean * mean, (SHARPE_FLOOR * day.volatility) ** 2)
    return (square * (earned - mean) - 0.5 * mean * (earned * earned - square)) / (variance * np.sqrt(variance))


def _sharpe_start(volatility: FloatArray) -> FloatArray:
    return np.stack([np.zeros_like(volatility), volatility * volatility])


def _sharpe_remember(day: Day) -> FloatArray:
    earned = day.next_equity / day.equity - 1.0
    return day.memory + SHARPE_RATE * (np.stack([earned, earned * earned]) - day.memory)


REWARDS: Mapping[str, Reward] = {
    "article": Reward(
        title="Article",
        about="As printed in the article. It never punishes buying, so “always buy” is optimal whatever the prices do.",
        equation=r"r_t = +0.1\,[a_t = \text{buy},\ s_{t+1} > s_t] - 0.1\,[a_t = \text{sell},\ s_{t+1} < s_t]",
        pay=article,
    ),
    "article-mirrored": Reward(
        title="Article, mirrored",
        about="What the article evidently means: ±0.1 for being right or wrong on either side; holding pays nothing.",
        equation=r"r_t = 0.1\ \mathrm{side}(a_t)\ \mathrm{sign}(s_{t+1} - s_t)",
        pay=article_mirrored,
    ),
    "pnl": Reward(
        title="Profit",
        about="What a trader earns: the log growth of the equity, after all costs.",
        equation=r"r_t = \log(E_{t+1} / E_t)",
        pay=pnl,
    ),
    "sharpe": Reward(
        title="Sharpe ratio",
        about="How much the row raises a moving Sharpe ratio: profit that is steady counts for more.",
        equation=r"r_t = \frac{B\,\Delta A - \frac{1}{2} A\,\Delta B}{(B - A^2)^{3/2}}",
        pay=sharpe,
        start=_sharpe_start,
        remember=_sharpe_remember,
    ),
}
