"""What is known after each update of a run: how the loop went on, and UpdateRecord, one row of the run store."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Progress:
    """How an update went; a number that does not apply is NaN.

    `entropy` before it and `kl` (of the policy before it from the one after) in nats, per decision; norm of the gradient;
    losses of policy and critic; the share of the variance of what was to come that the critic explained; the deviation of
    the weights before they were normalised; the step size.
    """

    entropy: float = NAN
    kl: float = NAN
    grad_norm: float = NAN
    policy_loss: float = NAN
    value_loss: float = NAN
    explained_variance: float = NAN
    weight_std: float = NAN
    learning_rate: float = NAN


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """One turn of a loop: decisions made, returns of the episodes they finished, share of each action, and the update."""

    steps: int
    returns: NDArray[np.floating]
    action_share: tuple[float, ...]
    progress: Progress


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """One update: counters so far, what was seen, and how the gradient step went.

    `env_steps` counts decisions (steps spent on resetting are none), `episodes` those finished. `return_mean` is the mean
    of the last 100 finished episodes, NaN before the first; `episode_returns` those finished since the last record.
    `action_share` is the share of each discrete action in this batch, or the mean of each component of a Box action (in
    units of half the width of the Box). The rest is as in Progress.
    """

    update: int
    env_steps: int
    episodes: int
    wall_s: float
    return_mean: float
    episode_returns: tuple[float, ...]
    action_share: tuple[float, ...]
    entropy: float
    kl: float
    grad_norm: float
    policy_loss: float
    value_loss: float
    explained_variance: float
    weight_std: float
    learning_rate: float
