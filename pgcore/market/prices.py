"""Price histories: the one type that every source (sample, file, download, synthetic market) ends in."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pgcore.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd  # a fifth of a worker's memory, and nothing that trains needs it

FloatArray = NDArray[np.float64]
SECONDS_PER_YEAR = 365.25 * 24 * 3600


class PriceError(BadInput):
    """Prices that cannot be used. `columns` are those of the file, where another choice of them may help."""

    columns: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PriceSeries:
    """Dates and prices of one instrument, oldest first.

    `dates` is datetime64[us], strictly increasing; `open high low close` are positive and finite, `volume` is
    non-negative or NaN where unknown. All arrays have one shape [T]. Raises PriceError where that does not hold.
    """

    dates: NDArray[np.datetime64]
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    name: str = "prices"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dates", np.asarray(self.dates, dtype="datetime64[us]"))
        for column in ("open", "high", "low", "close", "volume"):
            values = np.asarray(getattr(self, column), dtype=np.float64)
            if values.flags.writeable:  # what nobody can change is shared, as a long history is large
                values = values.copy()
                values.flags.writeable = False
            object.__setattr__(self, column, values)
            if values.shape != self.dates.shape:
                raise PriceError(f"The {column} column has {values.size} values for {self.dates.size} dates.")
        if self.dates.size == 0:
            raise PriceError("There are no prices: the history is empty.")
        if np.isnat(self.dates).any() or (np.diff(self.dates) <= np.timedelta64(0)).any():
            raise PriceError("The dates are not strictly increasing: sort them and drop the duplicates.")
        for column in ("open", "high", "low", "close"):
            values = getattr(self, column)
            bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
            if bad.size:
                day = str(self.dates[bad[0]])[:10]
                raise PriceError(
                    f"The {column} price on {day} is {values[bad[0]]:g}; prices must be positive numbers"
                    f" ({bad.size} such row{'s' if bad.size > 1 else ''}). Correct or remove them."
                )

    def __len__(self) -> int:
        return self.dates.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PriceSeries) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def from_close(cls, dates: ArrayLike, close: ArrayLike, name: str = "prices") -> "PriceSeries":
        """A history that knows closes only: open = high = low = close, volume unknown."""
        prices = np.asarray(close, dtype=np.float64)
        return cls(np.asarray(dates), prices, prices, prices, prices, np.full(prices.shape, np.nan), name)

    def between(self, start: int, stop: int) -> "PriceSeries":
        """Rows start to stop − 1, as a history of its own."""
        rows = slice(start, stop)
        return PriceSeries(
            self.dates[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
            self.name,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of dates and prices: the identity under which a history is stored (its name does not count)."""
        content = hashlib.sha256()
        for values in (self.dates, self.open, self.high, self.low, self.close, self.volume):
            content.update(np.ascontiguousarray(values).view(np.uint8).data)
        return content.hexdigest()

    @cached_property
    def periods_per_year(self) -> float:
        """Rows a year as the data have them (about 252 for stock days, 365 for crypto): rows / time spanned."""
        if len(self) < 2:
            return 252.0
        span = (self.dates[-1] - self.dates[0]) / np.timedelta64(1, "s")
        return float((len(self) - 1) * SECONDS_PER_YEAR / span)

    def frame(self) -> "pd.DataFrame":
        """Columns open, high, low, close, volume; index date."""
        import pandas as pd

        columns = {name: getattr(self, name) for name in ("open", "high", "low", "close", "volume")}
        return pd.DataFrame(columns, index=pd.DatetimeIndex(self.dates, name="date"))

    def to_csv(self) -> str:
        """`date,open,high,low,close,volume`, ISO dates; a time of day and fractions of seconds only where there are any."""
        forms = {"D": "%Y-%m-%d", "s": "%Y-%m-%dT%H:%M:%S", "us": "%Y-%m-%dT%H:%M:%S.%f"}
        form = next(form for unit, form in forms.items() if (self.dates == self.dates.astype(f"datetime64[{unit}]")).all())
        buffer = io.StringIO()
        self.frame().to_csv(buffer, date_format=form)
        return buffer.getvalue()


def moving_average(values: FloatArray, window: int) -> FloatArray:
    """Mean of the `window` values before each: MA_t = (x_{t−1} + … + x_{t−n}) / n, shape [T], NaN for t < n.

    The article (§4.3) averages the n prices *before* day t, so day t itself never counts.
    """
    average = np.full(values.shape, np.nan)
    if 0 < window < values.size:
        total = np.cumsum(values)
        average[window] = total[window - 1] / window
        average[window + 1 :] = (total[window:-1] - total[: -window - 1]) / window
    return average


SAMPLES: Mapping[str, str] = {"sp500": "S&P 500", "nasdaq": "NASDAQ Composite"}
SAMPLE_SOURCE = "daily index prices 1999–2018, from the data files of the Python package arch 8.0.0 (NCSA licence)"


@lru_cache(maxsize=len(SAMPLES))
def load_sample(key: str) -> PriceSeries:
    """A built-in history by its key in SAMPLES; adjusted closes (equal to the closes of an index)."""
    path = Path(__file__).parent / "samples" / f"{key}.csv"
    day = np.loadtxt(path, dtype=str, delimiter=",", skiprows=1, usecols=0)  # month/day/year
    dates = [f"{year}-{month:0>2}-{number:0>2}" for month, number, year in (text.split("/") for text in day.tolist())]
    open_, high, low, close, volume = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2, 3, 4, 6), unpack=True)
    return PriceSeries(np.array(dates, dtype="datetime64[us]"), open_, high, low, close, volume, SAMPLES[key])
