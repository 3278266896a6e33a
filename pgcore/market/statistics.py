"""Performance in numbers: one small pure function a number, and the METRICS table with what each means.

Returns are simple returns of a row, r_t = E_{t+1}/E_t − 1, shape [R]; `periods` is rows a year, by the data's own
frequency; the risk-free rate counts as 0. A ratio whose denominator is 0 is 0 where nothing was earned and NaN elsewhere.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pgcore.market.accounts import Backtest

FloatArray = NDArray[np.float64]


def _ratio(numerator: float, denominator: float) -> float:
    if abs(denominator) <= 1e-12 * abs(numerator) or denominator == 0:
        return 0.0 if numerator == 0 else math.nan
    return float(numerator / denominator)


def total_return(returns: FloatArray) -> float:
    """∏ (1 + r_t) − 1."""
    return float(np.prod(1.0 + returns) - 1.0)


def annual_return(returns: FloatArray, periods: float) -> float:
    """(∏ (1 + r_t))^{periods / R} − 1: the yearly growth that compounds to the same; NaN where that is no finite number."""
    if len(returns) == 0:
        return math.nan
    grown = 1.0 + total_return(returns)
    if grown <= 0:
        return -1.0
    growth = math.log(grown) * periods / len(returns)
    return math.expm1(growth) if growth < 700 else math.nan


def volatility(returns: FloatArray, periods: float) -> float:
    """std(r) √periods, with R − 1 in the denominator; NaN for fewer than 2 rows."""
    return float(np.std(returns, ddof=1) * math.sqrt(periods)) if len(returns) > 1 else math.nan


def sharpe(returns: FloatArray, periods: float) -> float:
    """mean(r) / std(r) · √periods (Sharpe 1994); NaN for fewer than 2 rows."""
    return _ratio(float(np.mean(returns)) * periods, volatility(returns, periods)) if len(returns) > 1 else math.nan


def sortino(returns: FloatArray, periods: float) -> float:
    """mean(r) / √mean(min(r, 0)²) · √periods (Sortino & Price 1994)."""
    if len(returns) == 0:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return _ratio(float(np.mean(returns)) * math.sqrt(periods), downside)


def drawdown(returns: FloatArray) -> FloatArray:
    """E_t / max_{s ≤ t} E_s − 1 at the start and after every row, [R + 1]: 0 at a peak, −1 when all is lost."""
    equity = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    return equity / np.maximum.accumulate(equity) - 1.0


def max_drawdown(returns: FloatArray) -> float:
    """The deepest drawdown, ≤ 0."""
    return float(drawdown(returns).min())


def calmar(returns: FloatArray, periods: float) -> float:
    """Annual return over the depth of the deepest drawdown (Young 1991)."""
    return _ratio(annual_return(returns, periods), -max_drawdown(returns))


def win_rate(profits: FloatArray) -> float:
    """Share of the trades that earned something; NaN without trades. `profits` [K], net of costs."""
    return float(np.mean(profits > 0)) if len(profits) else math.nan


def profit_factor(profits: FloatArray) -> float:
    """Sum of the profits over the sum of the losses of the trades; NaN where no trade lost."""
    return _ratio(float(profits[profits > 0].sum()), float(-profits[profits < 0].sum()))


@dataclass(frozen=True)
class Metric:
    """A row of the table: how a number is called, what it means in one line, how it reads ("share", "ratio", "count")."""

    title: str
    definition: str
    unit: str
    measure: "Callable[[Backtest], float]"


METRICS: Mapping[str, Metric] = {
    "total_return": Metric(
        "Total return", "What the equity gained over the whole part.", "share", lambda b: total_return(b.returns)
    ),
    "annual_return": Metric(
        "Annual return",
        "The steady yearly growth that would have given the total return.",
        "share",
        lambda b: annual_return(b.returns, b.periods_per_year),
    ),
    "volatility": Metric(
        "Volatility",
        "Standard deviation of the returns, scaled to a year.",
        "share",
        lambda b: volatility(b.returns, b.periods_per_year),
    ),
    "sharpe": Metric(
        "Sharpe ratio",
        "Mean return over its standard deviation, scaled to a year; the risk-free rate counts as 0.",
        "ratio",
        lambda b: sharpe(b.returns, b.periods_per_year),
    ),
    "sortino": Metric(
        "Sortino ratio",
        "Like the Sharpe ratio, but only losses count as risk.",
        "ratio",
        lambda b: sortino(b.returns, b.periods_per_year),
    ),
    "max_drawdown": Metric(
        "Maximum drawdown", "The deepest fall of the equity from an earlier peak.", "share", lambda b: max_drawdown(b.returns)
    ),
    "calmar": Metric(
        "Calmar ratio",
        "Annual return over the depth of the maximum drawdown.",
        "ratio",
        lambda b: calmar(b.returns, b.periods_per_year),
    ),
    "exposure": Metric(
        "Exposure", "Share of the rows with a position, long or short.", "share", lambda b: float(np.mean(np.abs(b.position)))
    ),
    "turnover": Metric(
        "Turnover",
        "Value traded in a year, in multiples of the equity at the time.",
        "ratio",
        lambda b: float(
            np.sum(b.traded / np.where(b.equity[:-1] > 0, b.equity[:-1], 1.0)) * b.periods_per_year / len(b.traded)
        ),
    ),
    "trades": Metric(
        "Trades", "Positions opened, with the one still open at the end.", "count", lambda b: float(len(b.trades))
    ),
    "win_rate": Metric(
        "Win rate", "Share of the trades that earned something after costs.", "share", lambda b: win_rate(b.profits)
    ),
    "profit_factor": Metric(
        "Profit factor",
        "What the winning trades earned over what the losing ones lost, after costs.",
        "ratio",
        lambda b: profit_factor(b.profits),
    ),
    "cost_paid": Metric(
        "Cost paid", "Trading and borrow costs, as a share of the starting equity.", "share", lambda b: float(b.paid.sum())
    ),
}


def measure(backtest: "Backtest") -> dict[str, float]:
    """Every number of METRICS for one strategy over one part."""
    return {name: metric.measure(backtest) for name, metric in METRICS.items()}
