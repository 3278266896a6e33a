"""Turn: an update that can be left between two of its steps, by a kill too, and is then gone on with to the bit."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

Given = TypeVar("Given")


@dataclass(frozen=True, eq=False)
class Sum:
    """What so many steps have given, added up."""

    total: Tensor
    steps: int


class Turn:
    """What the steps of an update have given so far: `with turn:` around the update, `turn.do(step)` for each step.

    A turn that is gone on with is told again from its beginning: the steps that were done give what they gave, and what they
    changed (networks, generators, the task) is as the last of them left it, for whoever restores the turn restores that too.
    So all chance and all change lie in steps, and what looks at what they change is a step as well. A step gives a tensor, or
    arrays and numbers as `snapshot.pack` takes them.
    """

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.told = 0
        self.between_steps: Callable[[], object] = lambda: None

    def __enter__(self) -> None:
        self.told = 0

    def __exit__(self, *_: object) -> None:
        self.given = []

    def do(self, step: Callable[[], Given]) -> Given:
        """What the step gives. After one that was done now comes `between_steps`, which may ask for the state."""
        self.told += 1
        if self.told <= len(self.given):
            return self.given[self.told - 1]
        given = step()
        self.given.append(given)
        self.between_steps()
        return given

    def sum(self, steps: Iterable[Callable[[], Tensor]]) -> Tensor:
        """What steps that change nothing give, added up: only the sum is kept, however many there are."""
        self.told += 1
        so_far = self.given[self.told - 1] if self.told <= len(self.given) else Sum(torch.zeros(()), 0)
        for step in islice(steps, so_far.steps, None):
            so_far = Sum(so_far.total + step(), so_far.steps + 1)
            self.given[self.told - 1 :] = [so_far]
            self.between_steps()
        return so_far.total

    def state(self) -> list[Any]:
        """What was given, as `snapshot.pack` takes it."""
        return [_packed(given) for given in self.given]

    def restore(self, saved: list[Any]) -> None:
        """Let the next turn be that whose state it was, from its beginning."""
        self.given = [_unpacked(each) for each in saved]


def _packed(given: Any) -> dict[str, Any]:
    if isinstance(given, Sum):
        return {"sum": given.total.numpy(), "steps": given.steps}
    return {"tensor": given.numpy()} if isinstance(given, Tensor) else {"plain": given}


def _unpacked(saved: dict[str, Any]) -> Any:
    if "sum" in saved:
        return Sum(torch.from_numpy(saved["sum"]), saved["steps"])
    return torch.from_numpy(saved["tensor"]) if "tensor" in saved else saved["plain"]
