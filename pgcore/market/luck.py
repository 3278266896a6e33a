"""How much of a Sharpe ratio luck explains: bootstrap interval, deflated Sharpe ratio, and a bound that no strategy beats.

Sharpe ratios in here are those of single rows, not scaled to a year, unless a name says otherwise.
"""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pgcore.market.statistics import sharpe

FloatArray = NDArray[np.float64]

NORMAL = NormalDist()
EULER_GAMMA = 0.5772156649015329
NUMBERS_AT_ONCE = 2**20  # drawn at a time: a million rows need no more memory than a thousand


def probabilistic_sharpe(returns: FloatArray, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio of a row exceeds `benchmark` (Bailey & López de Prado 2012, eq. 11).

    PSR = Φ((S − S*) √(R − 1) / √(1 − γ₃ S + (γ₄ − 1)/4 S²)), S the Sharpe ratio, γ₃ skewness and γ₄ kurtosis (3 for a
    normal) of the returns [R]. Returns that never vary count as S = 0; fewer than 2 rows tell nothing: 0.5.
    """
    rows = len(returns)
    if rows < 2:
        return 0.5
    deviation = float(np.std(returns))
    if deviation <= 1e-12 * float(np.abs(returns).max()) or deviation == 0:
        return NORMAL.cdf(-benchmark * math.sqrt(rows - 1))
    scores = (returns - returns.mean()) / deviation
    skewness, kurtosis = float(np.mean(scores**3)), float(np.mean(scores**4))
    return sharpe_probability(sharpe(returns, 1.0), rows, skewness, kurtosis, benchmark)


def sharpe_probability(observed: float, rows: int, skewness: float, kurtosis: float, benchmark: float) -> float:
    """The formula of `probabilistic_sharpe` for a Sharpe ratio and moments that are known."""
    spread = 1.0 - skewness * observed + (kurtosis - 1.0) / 4.0 * observed**2
    return NORMAL.cdf((observed - benchmark) * math.sqrt(rows - 1) / math.sqrt(max(spread, 1e-12)))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio that the best of `trials` configurations without skill is expected to show.

    √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), V the variance of the trials' Sharpe ratios, γ Euler's constant
    (Bailey & López de Prado 2014, eq. 1); 0 for a single trial.
    """
    if trials < 2:
        return 0.0
    first, second = NORMAL.inv_cdf(1.0 - 1.0 / trials), NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second)


def sharpe_difference(
    one: FloatArray, other: FloatArray, periods: float, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Interval of yearly Sharpe(one) − Sharpe(other) by the stationary bootstrap (Politis & Romano 1994).

    The same rows are drawn for both: blocks that start anywhere, wrap around the end and have geometric lengths of mean
    R^{1/3}, the order that minimises the error of a variance. Returns the (1 ± level)/2 quantiles; NaN for less than 2 rows.
    """
    rows = len(one)
    if rows < 2:
        return math.nan, math.nan
    difference = [_drawn_sharpe(one, drawn) - _drawn_sharpe(other, drawn) for drawn in _resamples(rows, resamples, seed)]
    ends = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    low, high = np.quantile(np.concatenate(difference) * math.sqrt(periods), ends)
    return float(low), float(high)


def _drawn_sharpe(returns: FloatArray, drawn: FloatArray) -> FloatArray:
    """Sharpe ratios [B] of resamples in which each of R returns is drawn so often [B, R]; 0 where nothing varies."""
    rows, centre = len(returns), returns.mean()
    beyond = returns - centre  # a sum of squares less that of their mean keeps what varies only where the mean is small
    mean, square = (drawn @ np.stack([beyond, beyond**2], axis=1) / rows).T
    variance = (square - mean**2) * rows / (rows - 1)
    varies = variance > 1e-12 * square
    deviation = np.sqrt(np.where(varies, variance, 1.0))
    return np.where(varies, (mean + centre) / deviation, 0.0)


def _resamples(rows: int, resamples: int, seed: int) -> Iterable[FloatArray]:
    """How often each row is drawn, [B, R], in pieces that fit into memory; those of short histories are kept."""
    return (_resampled_once(rows, resamples, seed),) if rows * resamples <= NUMBERS_AT_ONCE else _drawn(rows, resamples, seed)


@lru_cache(maxsize=2)
def _resampled_once(rows: int, resamples: int, seed: int) -> FloatArray:
    return next(_drawn(rows, resamples, seed))


def _drawn(rows: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    begin = np.random.default_rng(seed)  # draws where blocks begin, the other at which row
    start = np.random.Generator(np.random.PCG64(seed).advance(resamples * rows))  # where all of `begin` would have ended
    several, step = max(1, NUMBERS_AT_ONCE // rows), np.arange(rows)
    for first in range(0, resamples, several):
        count = min(several, resamples - first)
        begins = begin.random((count, rows)) < rows ** (-1.0 / 3.0)
        begins[:, 0] = True
        began = np.maximum.accumulate(np.where(begins, step, 0), axis=1)
        drawn = np.take_along_axis(start.integers(rows, size=(count, rows)), began, axis=1)
        drawn += step
        drawn -= began
        drawn %= rows
        drawn += rows * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)


def luck_bound(agent: FloatArray, market: FloatArray, allow_short: bool) -> float:
    """Largest probability with which a strategy without skill earns this much beyond the middle exposure, at most 1.

    With m = ½ (0 where shorts are allowed), h = 1 − m the reach of the exposure, s the deviation of the market's returns r̃:
    z = Σ_t (r_t − m r̃_t) / (h s √R), and the bound is 2 (1 − Φ(z)). On a driftless walk the sum is a martingale of variance
    at most h² s² R whatever the strategy; even one that stops once it is ahead reaches z with no more than that
    probability (reflection principle). Where the agent's own returns vary more, their deviation takes the place of h s.
    """
    middle = 0.0 if allow_short else 0.5
    beyond = agent - middle * market
    spread = max((1.0 - middle) * float(np.std(market)), float(np.std(beyond)))
    if spread == 0:
        return 1.0
    return min(2.0 * NORMAL.cdf(-float(beyond.sum()) / (spread * math.sqrt(len(beyond)))), 1.0)
