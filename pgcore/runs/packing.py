"""How arrays lie in the run store: update records as rows, price histories as bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgcore.market.prices import PriceSeries
from pgcore.record import UpdateRecord

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

COLUMNS = tuple(field.name for field in fields(UpdateRecord))
_PACKED = ("episode_returns", "action_share")
_WHOLE = ("update", "env_steps", "episodes")
_FLOAT = np.dtype("<f8")


@dataclass(frozen=True, eq=False)
class Records:
    """Update records as arrays: each field of UpdateRecord [n], oldest first.

    `episode_returns` [m] are all finished episodes in order, `episode_of` [m] the row each belongs to; `action_share`
    [n, A]. Numbers come back as they were written, bit for bit (a NaN as some NaN).
    """

    update: Integers
    env_steps: Integers
    episodes: Integers
    wall_s: Floats
    return_mean: Floats
    episode_returns: Floats
    action_share: Floats
    entropy: Floats
    kl: Floats
    grad_norm: Floats
    policy_loss: Floats
    value_loss: Floats
    explained_variance: Floats
    weight_std: Floats
    learning_rate: Floats
    episode_of: Integers

    def __len__(self) -> int:
        return len(self.update)

    def followed_by(self, later: "Records") -> "Records":
        """These rows and then the later ones: what a page does with those it had not read yet."""
        if not len(self) or not len(later):
            return later if len(later) else self
        joined = {name: np.concatenate([getattr(self, name), getattr(later, name)]) for name in COLUMNS}
        return Records(**joined, episode_of=np.concatenate([self.episode_of, later.episode_of + len(self)]))

    def only(self, kept: NDArray[np.bool_]) -> "Records":
        """The rows where `kept` [n] is true, and their episodes."""
        of_kept = kept[self.episode_of]
        fields = {name: getattr(self, name)[of_kept if name == "episode_returns" else kept] for name in COLUMNS}
        return Records(**fields, episode_of=(np.cumsum(kept) - 1)[self.episode_of[of_kept]])

    def rows(self) -> list[UpdateRecord]:
        """The records one by one, as the trainer yielded them."""
        numbers = [getattr(self, name).tolist() for name in COLUMNS]
        ends = np.searchsorted(self.episode_of, np.arange(len(self) + 1))
        returns = [tuple(self.episode_returns[a:b].tolist()) for a, b in pairwise(ends)]
        table = dict(zip(COLUMNS, numbers, strict=True))
        table |= {"episode_returns": returns, "action_share": [tuple(share) for share in table["action_share"]]}
        return [UpdateRecord(*row) for row in zip(*table.values(), strict=True)]


def pack_record(record: UpdateRecord) -> dict[str, Any]:
    """A row of the table `records`, but for its run."""
    row = {name: getattr(record, name) for name in COLUMNS}
    for name in _PACKED:
        row[name] = np.asarray(row[name], dtype=_FLOAT).tobytes()
    return row


def unpack_records(rows: Sequence[Sequence[Any]]) -> Records:
    """Rows of the table `records` with the columns in the order of COLUMNS."""
    columns = dict(zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * len(COLUMNS), strict=True))
    numbers: dict[str, Any] = {
        name: np.array(values, dtype=np.int64 if name in _WHOLE else np.float64)  # None, as SQLite keeps NaN, becomes NaN
        for name, values in columns.items()
        if name not in _PACKED
    }
    returns = columns["episode_returns"]
    share = np.frombuffer(b"".join(columns["action_share"]), dtype=_FLOAT)
    return Records(
        **numbers,
        episode_returns=np.frombuffer(b"".join(returns), dtype=_FLOAT),
        episode_of=np.repeat(np.arange(len(rows)), [len(packed) // _FLOAT.itemsize for packed in returns]),
        action_share=share.reshape(len(rows), -1) if rows else share.reshape(0, 0),
    )


def sharpe_on_test(result: Any) -> float | None:
    """The one number of a backtest that other verdicts need: its Sharpe ratio on the test part; None where it has none."""
    parts = result.get("parts") if isinstance(result, dict) else None
    rows = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    sharpe = next((part.get("sharpe") for part in rows if part.get("part") == "test"), None)
    return float(sharpe) if isinstance(sharpe, (int, float)) and math.isfinite(sharpe) else None


_PRICES = ("open", "high", "low", "close", "volume")


def pack_prices(series: PriceSeries) -> bytes:
    """Dates (int64 microseconds), open, high, low, close, volume, each [T], one after the other."""
    return series.dates.astype("<i8").tobytes() + b"".join(getattr(series, name).astype(_FLOAT).tobytes() for name in _PRICES)


def unpack_prices(data: bytes, name: str) -> PriceSeries:
    columns = np.frombuffer(data, dtype="<i8").reshape(6, -1)
    values = dict(zip(_PRICES, columns[1:].view(_FLOAT), strict=True))
    return PriceSeries(columns[0].view("datetime64[us]"), **values, name=name)
