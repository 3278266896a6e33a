"""UpdateRecord: what is known after each update of a run; one row of the run store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """One update: counters so far, what was seen, and how the gradient step went.

    `env_steps` counts decisions (steps spent on resetting are none), `episodes` those finished. `return_mean` is the mean
    of the last 100 finished episodes, NaN before the first; `episode_returns` those finished since the last record.
    `action_share` is the share of each discrete action in this batch, or the mean of each component of a Box action.
    `entropy` and `kl` (of the policy before the update from the one after) are in nats, per decision. A number that does not apply is NaN.
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
