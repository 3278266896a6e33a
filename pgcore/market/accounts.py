"""The result of one strategy over one part of a history: its curve, its costs and its trades."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Trade:
    """A position from its opening to its closing, or to the last row where it is `still_open`.

    `profit` is net of costs and a share of the equity before the trade; `gain` the same, and `cost` what trading cost, in
    units of the starting equity.
    """

    side: str
    entry: np.datetime64
    exit: np.datetime64
    entry_price: float
    exit_price: float
    profit: float
    gain: float
    cost: float
    still_open: bool


@dataclass(frozen=True, eq=False)
class Backtest:
    """One strategy over T rows: `dates`, `close`, `equity` [T]; the rest of its R = T − 1 decisions [R].

    `equity` starts at 1 and is the unit of all money. `position` is held from the decision on, which was `filled` (when) at
    the price `fill`, trading the value `traded`; `paid` is what trading and borrowing cost until the next close, `flat_value`
    the equity between closing one position and opening the next. `cost` is the share of a traded value that it costs.
    """

    dates: NDArray[np.datetime64]
    close: FloatArray
    equity: FloatArray
    position: FloatArray
    filled: NDArray[np.datetime64]
    fill: FloatArray
    traded: FloatArray
    paid: FloatArray
    flat_value: FloatArray
    cost: float
    periods_per_year: float

    @cached_property
    def returns(self) -> FloatArray:
        """E_{t+1}/E_t − 1, [R]; 0 after ruin."""
        before = np.where(self.equity[:-1] > 0, self.equity[:-1], 1.0)
        return np.diff(self.equity) / before

    @cached_property
    def profits(self) -> FloatArray:
        """The gain of each trade, [K]."""
        return np.array([trade.gain for trade in self.trades])

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Every position taken, in order."""
        row = np.flatnonzero(np.diff(self.position, prepend=0.0))
        side = self.position[row]
        opened = np.abs(side) * self.flat_value[row] / (1.0 + self.cost * np.abs(side))
        closed = np.append(self.traded[row] - opened, 0.0)
        value = np.append(self.flat_value[row], self.equity[-1])
        when = np.append(self.filled[row], self.dates[-1])
        price = np.append(self.fill[row], self.close[-1])
        return tuple(
            Trade(
                side="long" if side[k] > 0 else "short",
                entry=when[k],
                exit=when[k + 1],
                entry_price=float(price[k]),
                exit_price=float(price[k + 1]),
                profit=float(value[k + 1] / value[k] - 1.0),
                gain=float(value[k + 1] - value[k]),
                cost=float(self.cost * (opened[k] + closed[k + 1])),
                still_open=k + 1 == len(row),
            )
            for k in np.flatnonzero(opened)
        )

    def frame(self) -> "pd.DataFrame":
        """date, close, equity, position (held from that row on): the curve as a download holds it."""
        import pandas as pd

        held = np.append(self.position, self.position[-1])
        return pd.DataFrame({"date": self.dates, "close": self.close, "equity": self.equity, "position": held})

    def trade_frame(self) -> "pd.DataFrame":
        """The trades, one a row, with the fields of Trade as columns."""
        import pandas as pd

        return pd.DataFrame([vars(trade) for trade in self.trades], columns=list(Trade.__annotations__))
