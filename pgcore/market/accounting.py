"""What trading does to money: one rule for a trade, used by the environment that trains and by the backtest that reports."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ACTIONS = ("buy", "sell", "hold")
FILLS = ("close", "next-open")
BUY, SELL, HOLD = range(3)


def exposures(allow_short: bool) -> FloatArray:
    """The exposure each action asks for, shape [3]: buy 1, sell 0 or −1 where shorts are allowed, hold NaN (as it is)."""
    return np.array([1.0, -1.0 if allow_short else 0.0, np.nan])


def positions(actions: NDArray[np.integer], allow_short: bool) -> FloatArray:
    """Exposure after each action from flat, hold keeping the one before: actions [R] or [R, N] to {−1, 0, 1} of that shape."""
    wanted = exposures(allow_short)[actions]
    since = np.where(actions == HOLD, -1, np.arange(len(actions)).reshape(-1, *[1] * (actions.ndim - 1)))
    last = np.maximum.accumulate(since, axis=0)
    return np.where(last < 0, 0.0, np.take_along_axis(wanted, np.maximum(last, 0), axis=0))


def trade(
    cash: FloatArray, shares: FloatArray, target: FloatArray, price: FloatArray | float, cost: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cash, shares and value traded after moving to exposure `target` in {−1, 0, 1} at `price`, all [N].

    A position of the wanted sign keeps its share count. Any other is closed first, leaving
    C = cash + shares·p − c |shares| p, of which V = C / (1 + c |target|) goes into the new position:
    shares' = target V / p, cash' = (1 − target) V, so that |shares'| p is the whole equity after costs.
    `cost` c is a share of the value traded. A closing that costs more than there is leaves 0.
    """
    value = shares * price
    size = np.abs(value)
    closed = np.maximum(cash + value - cost * size, 0.0)
    opening = np.abs(target)
    equity = closed / (1.0 + cost * opening)
    changes = np.sign(shares) != target
    traded = (size + opening * equity) * changes
    return (
        np.where(changes, (1.0 - target) * equity, cash),
        np.where(changes, target * equity / price, shares),
        traded,
    )


def borrow_due(shares: FloatArray, price: FloatArray | float, rate: float) -> FloatArray:
    """What a row of borrowing costs, `rate` of the value of the shares short, [N]; 0 for a long position."""
    return np.maximum(-shares, 0.0) * (rate * price)


@dataclass(frozen=True, eq=False)
class Ledger:
    """Accounts of N strategies over T rows and R = T − 1 decisions, each starting from 1 in cash.

    `equity` [T, N]; after each decision [R, N]: the `position`, the value `traded`, the `paid` cost of trading and of
    borrowing until the next close, and `flat_value`, the equity between closing one position and opening the next (0 where
    nothing was traded).
    """

    equity: FloatArray
    position: FloatArray
    traded: FloatArray
    paid: FloatArray
    flat_value: FloatArray


def simulate(target: FloatArray, close: FloatArray, fill: FloatArray, cost: float, borrow: float) -> Ledger:
    """The accounts of exposures `target` [R, N] decided on rows 0 … R − 1 of `close` [R + 1] and filled at `fill` [R].

    `cost` is a share of the value traded, `borrow` of a short's value a row. Bankruptcy (equity ≤ 0 at a close) ends a
    strategy: its equity and position are 0 from there on. Only rows on which some strategy trades are stepped through;
    between them cash falls by the borrow cost alone.
    """
    rows, lanes = target.shape
    borrow = borrow if (target < 0).any() else 0.0
    busy = np.flatnonzero((np.diff(target, axis=0, prepend=0.0) != 0).any(axis=1))
    due = borrow * np.concatenate([[0.0], np.cumsum(close[1:])])
    cash, shares, settled = np.ones((len(busy) + 1, lanes)), np.zeros((len(busy) + 1, lanes)), np.zeros(len(busy) + 1)
    traded, flat_value = np.zeros((rows, lanes)), np.zeros((rows, lanes))
    for k, t in enumerate(busy):
        accrued = cash[k] - borrow_due(shares[k], due[t] - settled[k], 1.0) if borrow else cash[k]
        cash[k + 1], shares[k + 1], traded[t] = trade(accrued, shares[k], target[t], fill[t], cost)
        settled[k + 1] = due[t]
    flat_value[busy] = (cash[1:] + shares[1:] * fill[busy, None]) * (1.0 + cost * np.abs(target[busy]))
    at_close = np.searchsorted(busy, np.arange(rows + 1))
    owed = borrow_due(shares[at_close], (due - settled[at_close])[:, None], 1.0)
    equity = cash[at_close] + shares[at_close] * close[:, None] - owed
    paid = cost * traded + borrow_due(shares[at_close[1:]], close[1:, None], borrow)
    ruined = np.maximum.accumulate(equity <= 0, axis=0)
    alive = ~ruined[:-1]
    trades_at = alive & (np.diff(target, axis=0, prepend=0.0) != 0)
    return Ledger(np.where(ruined, 0.0, equity), target * alive, traded * alive, paid * alive, flat_value * trades_at)
