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


@dataclass(frozen=True, eq=False)
class Spells:
    """Exposures of N strategies over R decisions, cut wherever one changes, strategy after strategy.

    `lane`, `row` (of the decision that begins it) and `side` of each spell, [S]; `behind` [R + 1, N], the spell that leads to
    each close.
    """

    lane: NDArray[np.int64]
    row: NDArray[np.int64]
    side: FloatArray
    behind: NDArray[np.int32]


def spells(target: NDArray[np.number]) -> Spells:
    """The spells of exposures [R, N]."""
    lanes = np.ascontiguousarray(target.T)
    begins = np.concatenate([np.full((len(lanes), 1), True), lanes[:, 1:] != lanes[:, :-1]], axis=1)
    begin = np.flatnonzero(begins)
    lane, row = np.divmod(begin, lanes.shape[1])
    after = (np.cumsum(begins, dtype=np.int32) - 1).reshape(begins.shape).T
    return Spells(lane, row, lanes.ravel()[begin].astype(np.float64), np.concatenate([after[:1], after]))


def simulate(target: FloatArray, close: FloatArray, fill: FloatArray, cost: float, borrow: float) -> Ledger:
    """The accounts of exposures `target` [R, N] decided on rows 0 … R − 1 of `close` [R + 1] and filled at `fill` [R].

    `cost` is a share of the value traded, `borrow` of a short's value a row. Bankruptcy (equity ≤ 0 at a close) ends a
    strategy: its equity and position are 0 from there on.
    """
    cut = spells(target)
    before, cash, shares, due = _follow(cut, close, fill, cost, borrow)
    equity = _equity(cut, cash, shares, due, close, np.arange(len(close)))
    alive = equity[:-1] > 0
    at, price = (cut.row, cut.lane), fill[cut.row]
    value = np.abs(shares) * price
    value[1:] += np.where(cut.row[1:] > 0, np.abs(shares[:-1]) * price[1:], 0.0)  # of the spell that ends there
    traded, flat_value = np.zeros(target.shape), np.zeros(target.shape)
    traded[at], flat_value[at] = value, before
    trades_at = alive & (np.diff(target, axis=0, prepend=0.0) != 0)
    owed = borrow_due(shares[cut.behind[1:]], close[1:, None], borrow)
    return Ledger(equity, target * alive, traded * alive, (cost * traded + owed) * alive, flat_value * trades_at)


def equity_of(
    cut: Spells, close: FloatArray, fill: FloatArray, cost: float, borrow: float, rows: NDArray[np.int64]
) -> FloatArray:
    """The equity that `simulate` accounts for, on some rows only, [K, N]."""
    _, cash, shares, due = _follow(cut, close, fill, cost, borrow)
    if (cut.side < 0).any():  # which can be ruined on a row that is not asked for
        return _equity(cut, cash, shares, due, close, np.arange(len(close)))[rows]
    return _equity(cut, cash, shares, due, close, rows)


def _follow(
    cut: Spells, close: FloatArray, fill: FloatArray, cost: float, borrow: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Equity before each spell, cash and shares in it, [S], and what a share that is short has cost up to each close, [T].

    Every trade moves all there is, so equity is the product of what each spell makes of 1: no row is stepped through.
    """
    row, nothing = cut.row, np.zeros(len(cut.row))
    cash, shares, _ = trade(nothing + 1.0, nothing, cut.side, fill[row], cost)
    due = borrow * np.concatenate([[0.0], np.cumsum(close[1:])])
    owed = borrow_due(shares[:-1], np.diff(due[row]), 1.0)
    left, _, _ = trade(cash[:-1] - owed, shares[:-1], nothing[1:], fill[row[1:]], cost)
    number = np.arange(len(row)) - np.flatnonzero(row == 0)[cut.lane]
    goes_on = number[1:] > 0
    made = np.ones((cut.lane[-1] + 1, number.max() + 1))
    made[cut.lane[1:][goes_on], number[1:][goes_on]] = left[goes_on]
    before = made.cumprod(axis=1)[cut.lane, number]
    return before, before * cash, before * shares, due


def _equity(
    cut: Spells, cash: FloatArray, shares: FloatArray, due: FloatArray, close: FloatArray, rows: NDArray[np.int64]
) -> FloatArray:
    """Equity [K, N] at the closes of some rows, all of them where a strategy can be ruined."""
    behind = cut.behind[rows]
    equity = cash[behind] + shares[behind] * close[rows, None]
    equity[rows == 0] = 1.0
    if (cut.side < 0).any():
        equity -= borrow_due(shares[behind], due[rows, None] - due[cut.row[behind]], 1.0)
        equity[np.logical_or.accumulate(equity <= 0, axis=0)] = 0.0
    return equity
