"""From what a policy answers to an action of its environment: the one place that knows the units of both."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gymnasium import spaces

Array = NDArray[Any]
DTYPES = {np.dtype(code).name: np.dtype(code) for code in "efdbhilBHIL"}


@dataclass(frozen=True)
class Shift:
    """Answers [B] count from 0, the actions of a Discrete space from `start`."""

    start: int

    def __call__(self, answer: Array) -> Array:
        return answer + self.start

    def described(self) -> dict[str, Any]:
        """As JSON has it; `read_units` reads it back."""
        return {"start": self.start}


@dataclass(frozen=True, eq=False)
class Scale:
    """Answers [B, A] are in units of half the width of a Box, from its middle, and clipped to it; as is where it has no end."""

    low: Array
    high: Array

    @cached_property
    def _middle_and_reach(self) -> tuple[Array, Array]:
        low, high = self.low, self.high
        bounded = np.isfinite(low) & np.isfinite(high)
        with np.errstate(invalid="ignore"):  # of ∞ − ∞
            middle, reach = np.where(bounded, (high + low) / 2, 0.0), np.where(bounded, (high - low) / 2, 1.0)
        return middle.astype(low.dtype), reach.astype(low.dtype)

    def __call__(self, answer: Array) -> Array:
        middle, reach = self._middle_and_reach
        return np.clip(middle + reach * answer.reshape(-1, *self.low.shape), self.low, self.high)

    def described(self) -> dict[str, Any]:
        """As JSON has it, null where there is no end; `read_units` reads it back to the bit."""
        return {"low": _finite(self.low.tolist()), "high": _finite(self.high.tolist()), "dtype": self.low.dtype.name}


Units = Shift | Scale
AS_ANSWERED = Shift(0)


def units_of(space: "spaces.Space[Any]") -> Units:
    """How the actions of a Discrete or Box space follow from a policy's answers."""
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return Shift(int(space.start))
    assert isinstance(space, spaces.Box)
    return Scale(space.low, space.high)


def read_units(described: Any, actions: int, continuous: bool) -> Units:
    """What `described` gave, for a policy of so many actions. Raises ValueError where it is something else."""
    wrong = ValueError("its action space is not as this program writes it")
    if not isinstance(described, dict):
        raise wrong
    if not continuous:
        start = described.get("start")
        if type(start) is not int or abs(start) > 2**62:
            raise wrong
        return Shift(start)
    name = described.get("dtype")
    if not isinstance(name, str) or name not in DTYPES:  # NumPy would take one of any size
        raise wrong
    try:
        low, high = (np.array(described[end], DTYPES[name]) for end in ("low", "high"))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise wrong from None
    if low.shape != high.shape or math.prod(low.shape) != actions:
        raise wrong
    if low.dtype.kind != "f":
        return Scale(low, high)
    return Scale(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))


def _finite(ends: Any) -> Any:
    if isinstance(ends, list):
        return [_finite(end) for end in ends]
    return ends if math.isfinite(ends) else None
