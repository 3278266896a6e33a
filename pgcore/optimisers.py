"""How a gradient becomes a step: plain ascent, and Adam. All parameters of a network are one vector θ."""

import math
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Moments = list[Tensor]
N = TypeVar("N", bound=nn.Module)


class TrainingDiverged(ArithmeticError):
    """The gradient is no longer a number; the message says at which update and what is the likely cause."""


def ascent(theta: Tensor, gradient: Tensor, moments: Moments, rate: float) -> None:
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


OPTIMISERS: Mapping[str, Callable[[Tensor, Tensor, Moments, float], None]] = {"adam": adam, "ascent": ascent}


class Learnable(Generic[N]):
    """A network whose parameters are views on one vector θ [P], and their gradients on another.

    One vector makes the norm, the step, the copy and the checkpoint one operation each, whatever the layers.
    """

    def __init__(self, network: N, optimiser: str = "adam") -> None:
        self.network = network
        parameters = list(network.parameters())
        self.theta = torch.cat([p.detach().flatten() for p in parameters])
        self.gradient = torch.zeros_like(self.theta)
        self.moments: Moments = [torch.zeros_like(self.theta), torch.zeros_like(self.theta), torch.zeros((), dtype=torch.int64)]
        self._optimise = OPTIMISERS[optimiser]
        place = 0
        for p in parameters:
            part = slice(place, place + p.numel())
            p.data, p.grad = self.theta[part].view_as(p), self.gradient[part].view_as(p)
            place += p.numel()

    def climb(self, rate: float, clip: float = 0.0) -> float:
        """One step up the gradient; returns its norm before clipping. Raises TrainingDiverged."""
        norm = self.gradient.norm().item()
        if not math.isfinite(norm):
            raise TrainingDiverged("the gradient is not finite")
        if 0 < clip < norm:
            self.gradient.mul_(clip / norm)
        self._optimise(self.theta, self.gradient, self.moments, rate)
        return norm
