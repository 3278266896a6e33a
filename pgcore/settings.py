"""Setting: what is known of one field of TrainConfig, how its value is spelled, read and checked."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from pgcore.errors import BadInput

Choices = tuple[str, ...]
WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
NOUNS: Mapping[type, str] = {int: "a whole number", float: "a number", str: "a text", tuple: "one to four layer sizes, each"}


@dataclass(frozen=True)
class Setting:
    """What is known of one field of TrainConfig, and all that a slider, a flag or a URL parameter needs of it.

    `low` and `high` are inclusive bounds; `scale` "log" makes a slider logarithmic; `unit` is shown behind the number.
    `group` says where a page shows it: "main" always, "more" folded, "market" with the prices, "run" not as a knob.
    `common` settings matter to every run; the others matter where an estimator or a task names them in `settings`.
    """

    name: str
    label: str
    help: str
    default: Any
    kind: type
    optional: bool = False
    low: float | None = None
    high: float | None = None
    choices: Choices | None = None
    open_choice: bool = False
    scale: str = "linear"
    step: float | None = None
    unit: str = ""
    group: str = "more"
    common: bool = False

    def parse(self, text: str) -> Any:
        """The value a flag or URL parameter spells, unchecked against the bounds. Raises BadInput."""
        text = text.strip()
        if self.optional and text.lower() in ("", "none", "off"):
            return None
        try:
            if self.kind is bool:
                return WORDS[text.lower()]
            if self.kind is tuple:
                return tuple(int(part) for part in text.replace("x", ",").split(",") if part.strip())
            if self.kind is int and float(text).is_integer():  # also 1e6
                return int(text) if text.lstrip("+-").isdigit() else int(float(text))
            return self.kind(text)
        except (ValueError, KeyError, OverflowError):
            raise BadInput(f"{self.label} cannot be {_cut(repr(text))}: give {self.expected()}.") from None

    def check(self, value: Any) -> Any:
        """The value, made exactly of the field's type. Raises BadInput where it is out of bounds."""
        if value is None and self.optional:
            return None
        value = self._converted(value)
        right = type(value) is self.kind
        if right and self.kind in (int, float, tuple):
            numbers = value if isinstance(value, tuple) else (value,)
            right = all(self._is_within(number) for number in numbers) and 1 <= len(numbers) <= 4
        if not right:
            raise BadInput(f"{self.label} cannot be {_cut(spell(value))}: give {self.expected()}.")
        if self.kind is str and not value.isprintable():  # a line feed, in a command that somebody pastes, runs it
            raise BadInput(f"{self.label} cannot be {_cut(ascii(value))}: leave out what cannot be seen.")
        if self.choices is not None and not self.open_choice and value not in self.choices:
            raise BadInput(f"{self.label} cannot be {_cut(repr(value))}{nearest(value, self.choices)}: give {self.expected()}.")
        return value

    def _converted(self, value: Any) -> Any:
        """NumPy's numbers as Python's, whole numbers as float and lists as tuple where the field is so."""
        if isinstance(value, np.generic):
            value = value.item()
        if self.kind is float and type(value) is int:
            return float(value) if abs(value) <= sys.float_info.max else math.inf
        if self.kind is tuple and isinstance(value, (list, tuple, np.ndarray)):
            return tuple(part.item() if isinstance(part, np.generic) else part for part in value)
        return value

    def _is_within(self, number: Any) -> bool:
        if type(number) is not (float if self.kind is float else int) or not -math.inf < number < math.inf:
            return False
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)

    def expected(self) -> str:
        """In words, what a valid value is."""
        if self.choices is not None:
            return "one of " + ", ".join(self.choices) + (" (or another of its kind)" if self.open_choice else "")
        if self.kind is bool:
            return "on or off"
        bounds = f" between {spell(self.low)} and {spell(self.high)}" if self.low is not None else ""
        return f"{NOUNS[self.kind]}{bounds}" + (f" ({self.unit})" if self.unit else "") + (" or none" if self.optional else "")

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _cut(text: str) -> str:
    """Enough of a text to know it by."""
    return text if len(text) <= 80 else f"{text[:79]}…"


def nearest(value: object, choices: Choices) -> str:
    """A hint at the choice that was probably meant."""
    close = get_close_matches(str(value), choices, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def spell(value: object) -> str:
    """A value as a flag or URL parameter spells it; Setting.parse reads it back, to the last bit."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return ",".join(str(x) for x in value)
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    return "none" if value is None else str(value)
