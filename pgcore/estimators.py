"""The policy-gradient estimators: what multiplies ∇log π(a_t|s_t), and what each needs around it.

An estimator is a pure function `(rollout, discount, …) -> weight[T, N]`. What it asks for after `discount` it asks for
by the name of a setting of TrainConfig. A new estimator is one function and one row of ESTIMATORS.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pgcore.rollout import FloatArray, Rollout


def _discounted_sum(amount: FloatArray, keep: FloatArray, last: FloatArray) -> FloatArray:
    """x_t = amount_t + keep_t x_{t+1}, from the back; x_T = last. Shapes [T, N], [T, N], [N]."""
    total = np.empty_like(amount)
    following = last
    for t in reversed(range(len(amount))):
        following = amount[t] + keep[t] * following
        total[t] = following
    return total


def td_error(rollout: Rollout, discount: float) -> FloatArray:
    """δ_t = r_t + γ (1 − terminated_t) V(s_{t+1}) − V(s_t), shape [T, N] (Sutton & Barto 2e, eq. 13.12)."""
    return rollout.reward + discount * ~rollout.terminated * rollout.next_value - rollout.value


def reward_to_go(rollout: Rollout, discount: float) -> FloatArray:
    """G_t = r_t + γ G_{t+1}: what came after the action, shape [T, N] (policy-gradient theorem, causality)."""
    return _discounted_sum(rollout.reward, discount * ~rollout.ended, np.zeros_like(rollout.reward[0]))


def reinforce(rollout: Rollout, discount: float) -> FloatArray:
    """G_0 = Σ_k γᵏ r_k, the same for every step of the episode, shape [T, N] (Williams 1992; S&B 2e §13.3)."""
    weight = reward_to_go(rollout, discount)
    for t in range(1, len(weight)):
        begins = rollout.ended[t - 1] | ~rollout.valid[t - 1]
        weight[t] = np.where(begins, weight[t], weight[t - 1])
    return weight


def mean_baseline(rollout: Rollout, discount: float) -> FloatArray:
    """G_t − mean of the other episodes' G_t at the same t, shape [T, N] (Kool, van Hoof & Welling 2019).

    The own episode is left out: a mean that holds it is not independent of the action and shrinks the gradient by
    1 − 1/N. Where no other episode is left at t, nothing is subtracted.
    """
    to_go = np.where(rollout.valid, reward_to_go(rollout, discount), 0.0)
    others = rollout.valid.sum(axis=1, keepdims=True) - 1
    baseline = (to_go.sum(axis=1, keepdims=True) - to_go) / np.maximum(others, 1)
    return to_go - np.where(others > 0, baseline, 0.0)


def bootstrapped_return(rollout: Rollout, discount: float) -> FloatArray:
    """R_t = r_t + γ R_{t+1}, with V(s_{t+1}) for what lies beyond a time limit or the last row, shape [T, N]."""
    cut = rollout.ended & ~rollout.terminated
    amount = rollout.reward + discount * cut * rollout.next_value
    return _discounted_sum(amount, discount * ~rollout.ended, rollout.next_value[-1])


def value_baseline(rollout: Rollout, discount: float) -> FloatArray:
    """G_t − V(s_t), shape [T, N] (Sutton & Barto 2e §13.4); a time limit is bridged by V, not taken for an end."""
    return bootstrapped_return(rollout, discount) - rollout.value


def actor_critic(rollout: Rollout, discount: float) -> FloatArray:
    """δ_t, the one-step temporal difference, shape [T, N] (Sutton & Barto 2e §13.5)."""
    return td_error(rollout, discount)


def a2c(rollout: Rollout, discount: float) -> FloatArray:
    """r_t + γ r_{t+1} + … + γⁿ⁻ᵗ V(s_n) − V(s_t), the return over a segment of n steps, shape [T, N] (Mnih et al. 2016)."""
    return bootstrapped_return(rollout, discount) - rollout.value


def gae(rollout: Rollout, discount: float, gae_lambda: float) -> FloatArray:
    """A_t = δ_t + γλ (1 − ended_t) A_{t+1}, shape [T, N] (Schulman et al. 2016, eq. 16)."""
    delta = td_error(rollout, discount)
    return _discounted_sum(delta, discount * gae_lambda * ~rollout.ended, np.zeros_like(delta[0]))


@dataclass(frozen=True)
class Estimator:
    """A row of the table: the weight, how it is used, and how it is told.

    `gathers` says what a batch is: whole episodes, or segments of a fixed number of steps. `update` names a row of
    UPDATES. `from_start` says that the weight is discounted from the start of the episode, not from the step it belongs
    to, so that a factor γᵗ has no place. `settings` are the fields of TrainConfig that matter to it beyond the common ones; `defaults` are the values
    it wants where the person chose none.
    """

    weight: Callable[..., FloatArray]
    title: str
    equation: str
    about: str
    difference: str
    source: str
    gathers: Literal["episodes", "segments"] = "segments"
    critic: bool = True
    from_start: bool = False
    update: str = "ascent"
    settings: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)

    @property
    def asks_for(self) -> tuple[str, ...]:
        """The settings that the weight function takes by name."""
        return tuple(inspect.signature(self.weight).parameters)[2:]


ESTIMATORS: Mapping[str, Estimator] = {
    "reinforce": Estimator(
        weight=reinforce,
        title="REINFORCE",
        equation=r"\nabla J = \mathbb{E}\Big[\sum_t \nabla\log\pi(a_t|s_t)\; G_0\Big],\quad G_0=\sum_k \gamma^k r_k",
        about="Play whole episodes, then make every action of a good episode more likely and of a bad one less likely. "
        "Right on average, but each action is also paid for what happened before it, so the estimate is noisy.",
        difference="The starting point: nothing but whole episodes and their returns.",
        source="Williams 1992; Sutton & Barto, 2nd edition, §13.3",
        gathers="episodes",
        critic=False,
        from_start=True,
        defaults={"num_envs": 16},
    ),
    "reward-to-go": Estimator(
        weight=reward_to_go,
        title="Reward-to-go",
        equation=r"\sum_t \nabla\log\pi(a_t|s_t)\; G_t,\quad G_t = r_t + \gamma G_{t+1}",
        about="An action cannot change rewards that came before it, so only the rewards that follow are counted. "
        "The average stays the same; the noise usually shrinks.",
        difference="REINFORCE pays every step with G₀; here each step is paid with what comes after it, Gₜ.",
        source="The policy-gradient theorem: Sutton, McAllester, Singh & Mansour 2000",
        gathers="episodes",
        critic=False,
        defaults={"num_envs": 16},
    ),
    "value-baseline": Estimator(
        weight=value_baseline,
        title="Value baseline",
        equation=r"\sum_t \nabla\log\pi(a_t|s_t)\;\big(G_t - V(s_t)\big)",
        about="A second network, the critic, learns what return to expect from each state. The action is then judged by "
        "how much better it went than expected.",
        difference="Subtracts a learned expectation V(s) that depends on the state, not on the other episodes.",
        source="Sutton & Barto, 2nd edition, §13.4",
        gathers="episodes",
        settings=("value_learning_rate", "critic_steps"),
        defaults={"num_envs": 16},
    ),
    "ppo": Estimator(
        weight=gae,
        title="PPO",
        equation=r"\min\big(\rho_t A_t,\;\mathrm{clip}(\rho_t, 1-\epsilon, 1+\epsilon)\,A_t\big),\quad"
        r"\rho_t = \frac{\pi(a_t|s_t)}{\pi_{\mathrm{old}}(a_t|s_t)}",
        about="Uses each batch for several passes instead of one. A clipped ratio takes away the reward for moving the "
        "policy far from the one that gathered the data.",
        difference="GAE weights, but many small steps a batch, held near the old policy by clipping.",
        source="Schulman, Wolski, Dhariwal, Radford & Klimov 2017",
        update="clipped",
        settings=("gae_lambda", "clip_range", "epochs", "minibatches", "target_kl", "value_learning_rate"),
    ),
}
