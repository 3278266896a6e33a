"""What the agent sees of a market: every feature looks only backwards and does not change with the unit of the prices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgcore.market.prices import moving_average

FloatArray = NDArray[np.float64]

LIMIT = 10.0
RETURN_ROWS = (1, 5)
SLOW = 8
LEAST_VOLATILITY = 1e-6
LEAST_VOLATILITY_ROWS = 20


@dataclass(frozen=True)
class FeatureSet:
    """A row of the table. `measure(close, window)` gives the market's columns [T, F], right from row `window` on.

    `names` and `about` go with the columns; `sees_position` adds a last one, the position held (−1, 0 or 1).
    """

    title: str
    about: Mapping[str, str]
    measure: Callable[[FloatArray, int], FloatArray]
    sees_position: bool

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.about, "position") if self.sees_position else tuple(self.about)

    def table(self, close: FloatArray, window: int) -> NDArray[np.float32]:
        """All observations of a trader who is flat, [T, D] float32, every number within ±10; rows before `window` are 0."""
        columns = np.zeros((len(close), len(self.names)), dtype=np.float32)
        measured = self.measure(close, window)
        columns[window:, : measured.shape[1]] = np.clip(measured[window:], -LIMIT, LIMIT)
        return columns

    def observe(self, table: NDArray[np.float32], row: NDArray[np.integer], position: FloatArray) -> NDArray[np.float32]:
        """What traders on rows `row` [N] holding `position` [N] see, [N, D]."""
        seen = table.take(row, axis=0)
        if self.sees_position:
            seen[:, -1] = position
        return seen


def trailing_mean(values: FloatArray, rows: int) -> FloatArray:
    """Mean of the last `rows` values up to and with each (of all there are at the start), shape [T]."""
    total = np.cumsum(values)
    total[rows:] -= total[:-rows].copy()
    return total / np.minimum(np.arange(1, len(values) + 1), rows)


def trailing_volatility(close: FloatArray, window: int) -> FloatArray:
    """Root mean square of the last max(n, 20) log returns up to each row (fewer at the start), [T]; at least 1e-6."""
    square = np.diff(np.log(close)) ** 2
    mean = np.zeros(len(close))
    mean[1:] = trailing_mean(square, max(window, LEAST_VOLATILITY_ROWS))
    return np.sqrt(np.maximum(mean, LEAST_VOLATILITY**2))


def article_features(close: FloatArray, window: int) -> FloatArray:
    """The article's f(s, buy) = max(s − MA_n, 0) and its mirror f(s, sell) = max(MA_n − s, 0), over MA_n, [T, 2]."""
    distance = close / moving_average(close, window) - 1.0
    return np.stack([np.maximum(distance, 0.0), np.maximum(-distance, 0.0)], axis=1)


def scale_free_features(close: FloatArray, window: int) -> FloatArray:
    """Where the price stands and where it came from, each over the deviation it is usual to see, [T, 4].

    Distance from MA_n over what a random walk would show, log(s / MA_n) / (σ √(n/3)), σ the trailing volatility; distance
    of log s from its mean over the last 8n rows, over its deviation there (at least σ); returns over k = 1 and 5 rows,
    log(s_t / s_{t−k}) / (σ √k). Where the history is shorter than 8n or k rows, all there is of it counts.
    """
    log_price = np.log(close / close[0])
    volatility = trailing_volatility(close, window)
    from_average = np.log(close / moving_average(close, window)) / (volatility * np.sqrt(window / 3.0))
    slow = SLOW * window
    mean = trailing_mean(log_price, slow)
    deviation = np.sqrt(np.maximum(trailing_mean(log_price**2, slow) - mean**2, volatility**2))
    before = [np.maximum(np.arange(len(close)) - k, 0) for k in RETURN_ROWS]
    returns = [(log_price - log_price[row]) / (volatility * np.sqrt(k)) for k, row in zip(RETURN_ROWS, before, strict=True)]
    return np.stack([from_average, (log_price - mean) / deviation, *returns], axis=1)


FEATURES: Mapping[str, FeatureSet] = {
    "article": FeatureSet(
        title="Article",
        about={
            "above MA": "How far the price is above its moving average, as a share of it; 0 below: the article's f(s, buy).",
            "below MA": "How far the price is below its moving average, as a share of it; 0 above: its mirror, f(s, sell).",
        },
        measure=article_features,
        sees_position=False,
    ),
    "scale-free": FeatureSet(
        title="Scale-free",
        about={
            "distance from MA": "Distance from the moving average; 1 is what a random walk would typically show.",
            "distance from slow mean": "Distance from the mean of the last eight windows, in deviations from it.",
            **{
                f"{k}-row return": f"Return over the last {k} row{'s' if k > 1 else ''}, in units of volatility."
                for k in RETURN_ROWS
            },
        },
        measure=scale_free_features,
        sees_position=True,
    ),
}
