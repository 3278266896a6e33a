"""How a gradient becomes a step: plain ascent, Adam, RMSProp. All parameters of a network are one vector θ."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pgcore.errors import BadInput
from pgcore.turn import Turn

Moments = list[Tensor]
Step = Callable[[Tensor, Tensor, Moments, float], None]
N = TypeVar("N", bound=nn.Module)
Piece = TypeVar("Piece")
Given = TypeVar("Given")

ROWS_AT_ONCE = 2**15
PRODUCTS_AT_ONCE = 3 * 10**8  # rows times parameters


class TrainingDiverged(BadInput):
    """A loss or a gradient is no longer a number; the message says at which update and what is the likely cause."""


def ascent(theta: Tensor, gradient: Tensor, _moments: Moments, rate: float) -> None:
    """θ ← θ + α ∇J, as the article prints it (§4.1). Keeps no moments."""
    theta.add_(gradient, alpha=rate)


def adam(theta: Tensor, gradient: Tensor, moments: Moments, rate: float) -> None:
    """θ ← θ + α m̂ / (√v̂ + ε), m and v running means of ∇J and its square (Kingma & Ba 2015), ε = 1e-8.

    `moments` is m [P], v [P] and the number of steps so far; all change in place.
    """
    first, second, steps = moments
    steps += 1
    first.lerp_(gradient, 0.1)
    second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    t = int(steps)
    size = rate * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    theta.addcdiv_(first, second.sqrt().add_(1e-8), value=size)


def rmsprop(theta: Tensor, gradient: Tensor, square: Tensor, rate: float) -> None:
    """v ← 0.99 v + 0.01 ∇J², θ ← θ + α ∇J / √(v + ε), ε = 1e-5, all in place (Mnih et al. 2016, eq. 8-9)."""
    square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
    theta.addcdiv_(gradient, square.add(1e-5).sqrt_(), value=rate)


OPTIMISERS: Mapping[str, Step] = {"adam": adam, "ascent": ascent}


class Learnable(Generic[N]):
    """A network whose parameters are views on one vector θ [P], and their gradients on another.

    One vector makes the norm, the step, the copy and the checkpoint one operation each, whatever the layers. Of a batch,
    `rows_at_once` are learned from at once: less than a second's work, and no more than fits into memory.
    """

    def __init__(self, network: N, optimiser: str = "adam", rate_name: str = "learning rate") -> None:
        self.network = network
        parameters = list(network.parameters())
        self.theta = torch.cat([p.detach().flatten() for p in parameters])
        self.gradient = torch.zeros_like(self.theta)
        self.proven = self.theta.clone()
        self.moments: Moments = [torch.zeros_like(self.theta), torch.zeros_like(self.theta), torch.zeros((), dtype=torch.int64)]
        self.rows_at_once = max(1, min(ROWS_AT_ONCE, PRODUCTS_AT_ONCE // len(self.theta)))
        self.optimise = OPTIMISERS[optimiser]
        self.rate_name = rate_name
        place = 0
        for p in parameters:
            part = slice(place, place + p.numel())
            p.data, p.grad = self.theta[part].view_as(p), self.gradient[part].view_as(p)
            place += p.numel()

    @contextmanager
    def proving(self, turn: Turn) -> Iterator[None]:
        """An update: one that comes through proves the θ it began with; one that diverges brings back the last proven θ."""
        before = turn.do(self.theta.clone)
        try:
            yield
        except TrainingDiverged:
            self.theta.copy_(self.proven)
            raise
        self.proven.copy_(before)

    def add_up(self, turn: Turn, pieces: Iterable[Piece], pull: Callable[[Piece], Given]) -> list[Given]:
        """What `pull` gives for each piece of a batch, a step each; the gradients that it leaves here are added up."""

        def add(piece: Piece) -> Given:
            before = self.gradient.clone()
            given = pull(piece)
            self.gradient.add_(before)
            return given

        first, *others = pieces
        return [turn.do(partial(pull, first)), *(turn.do(partial(add, piece)) for piece in others)]

    def climb(self, rate: float, clip: float = 0.0, loss: float = 0.0) -> float:
        """One step up the gradient of a loss; returns its norm before clipping. Raises TrainingDiverged."""
        norm = self.gradient.norm().item()
        self.insist_finite(norm + loss, rate)
        if 0 < clip < norm:
            self.gradient.mul_(clip / norm)
        self.optimise(self.theta, self.gradient, self.moments, rate)
        return norm

    def insist_finite(self, number: float, rate: float) -> None:
        """Raises TrainingDiverged where a loss or the norm of a gradient is not a number."""
        if not math.isfinite(number):
            raise TrainingDiverged(
                f"a loss or a gradient is no longer a number; most likely the {self.rate_name} {rate:g} is too high: try"
                f" {rate / 10:g}"
            )

    def everything(self) -> list[Tensor]:
        """All that changes as the network learns."""
        return [self.theta, self.proven, *self.moments, *self.network.buffers(), self.gradient]

    def put_back(self, saved: Sequence[NDArray[Any]]) -> None:
        """Be again as `everything` was."""
        for now, then in zip(self.everything(), saved, strict=False):  # older checkpoints have no gradient
            now.copy_(torch.from_numpy(then))
