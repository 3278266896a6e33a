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
IntArray = NDArray[np.int64]

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
    difference = [_drawn_sharpe(one, *drawn) - _drawn_sharpe(other, *drawn) for drawn in _resamples(rows, resamples, seed)]
    ends = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    low, high = np.quantile(np.concatenate(difference) * math.sqrt(periods), ends)
    return float(low), float(high)


def _drawn_sharpe(returns: FloatArray, first: IntArray, stop: IntArray) -> FloatArray:
    """Sharpe ratios [B] of resamples of R returns that are made of blocks [B, K]; 0 where nothing varies."""
    rows, centre = len(returns), returns.mean()
    beyond = np.tile(returns - centre, 2)  # a sum of squares less that of their mean keeps what varies only where that is small
    total = np.zeros((2, 2 * rows + 1))
    np.cumsum([beyond, beyond**2], axis=1, out=total[:, 1:])
    mean, square = ((of.take(stop) - of.take(first)).sum(axis=1) / rows for of in total)
    variance = (square - mean**2) * rows / (rows - 1)
    varies = variance > 1e-12 * square
    deviation = np.sqrt(np.where(varies, variance, 1.0))
    return np.where(varies, (mean + centre) / deviation, 0.0)


def _resamples(rows: int, resamples: int, seed: int) -> Iterable[tuple[IntArray, IntArray]]:
    """The first row of each block and the row after its last, [B, K] each, R rows a resample; past row R it begins again.

    They come in pieces that fit into memory; those of short histories are kept.
    """
    chance = rows ** (-1.0 / 3.0)
    blocks = math.ceil(rows * chance + 8.0 * math.sqrt(rows * chance)) + 64  # together longer than R, by 8 deviations or more
    if resamples * blocks <= NUMBERS_AT_ONCE:
        return (_resampled_once(rows, resamples, seed, blocks),)
    return _drawn(rows, resamples, seed, blocks)


@lru_cache(maxsize=2)
def _resampled_once(rows: int, resamples: int, seed: int, blocks: int) -> tuple[IntArray, IntArray]:
    return next(_drawn(rows, resamples, seed, blocks))


def _drawn(rows: int, resamples: int, seed: int, blocks: int) -> Iterator[tuple[IntArray, IntArray]]:
    of_lengths, of_rows = (np.random.default_rng([seed, what]) for what in range(2))
    at_once = max(1, NUMBERS_AT_ONCE // blocks)
    for done in range(0, resamples, at_once):
        shape = min(at_once, resamples - done), blocks
        ends = np.minimum(np.cumsum(of_lengths.geometric(rows ** (-1.0 / 3.0), shape), axis=1), rows)
        first, length = of_rows.integers(rows, size=shape), np.diff(ends, axis=1, prepend=0)
        needed = length.any(axis=0)
        yield first[:, needed], (first + length)[:, needed]


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
