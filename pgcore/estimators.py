"""The policy-gradient estimators: what multiplies ∇log π(a_t|s_t), and what each needs around it.

An estimator is a pure function `(rollout, discount, …) -> weight[T, N]`. What it asks for after `discount` it asks for
by the name of a setting of TrainConfig. A new estimator is one function and one row of ESTIMATORS. (For the two rows that
follow no policy gradient, `dqn` and `article`, it is what multiplies ∇Q(s_t, a_t).)
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


def q_learning(rollout: Rollout, discount: float) -> FloatArray:
    """r_t + γ (1 − terminated_t) max_a Q⁻(s_{t+1}, a) − Q(s_t, a_t), the weight of ∇Q(s_t, a_t), [T, N] (Mnih et al. 2015).

    Here `value` is Q(s_t, a_t), and `next_value` the largest Q⁻(s_{t+1}, a) of the target network.
    """
    return td_error(rollout, discount)


def article(rollout: Rollout, discount: float) -> FloatArray:  # noqa: ARG001 (that it ignores both is the point)
    """1: the weight that the article's loss r + γ max_a Q(s′, a) − Q(s, a) gives ∇Q(s, a), shape [T, N] (article, §5.2).

    The reward is a constant of that loss, so it drops out of the gradient: whatever was done is made more preferable.
    (∇max_a Q(s′, a) has the weight −γ.)
    """
    return np.ones_like(rollout.reward)


@dataclass(frozen=True)
class Estimator:
    """A row of the table: the weight, how it is used, and how it is told.

    `gathers` says what a batch is: whole episodes, or segments of a fixed number of steps. `critic`: whether V is learned.
    `update` names a row of UPDATES, `loop` one of LOOPS: how play and improvement take turns. `from_start` says that the
    weight is discounted from the start of the episode, not from the step it belongs to, so that a factor γᵗ has no place.
    `discrete_only`: continuous actions cannot work; `repeatable`: one seed, one result. `code` names the function, as
    module.name, that sets it apart beyond the weight; `warning` is what the app says to whoever picks it.
    `settings` are the fields of TrainConfig that matter to it beyond the common ones, `least` their smallest values where
    these are larger than usual, `defaults` the values it wants where the person chose none.
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
    loop: str = "on-policy"
    discrete_only: bool = False
    repeatable: bool = True
    code: str = ""
    warning: str = ""
    settings: tuple[str, ...] = ()
    least: Mapping[str, float] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)

    @property
    def asks_for(self) -> tuple[str, ...]:
        """The settings that the weight function takes by name."""
        return tuple(inspect.signature(self.weight).parameters)[2:]


_STEP = ("learning_rate", "learning_rate_schedule", "gradient_clip")
_WEIGHTS = ("num_envs", "normalise_observations", "normalise_advantages", "entropy_bonus")
_EPISODES = (*_STEP, *_WEIGHTS, "optimiser")
_CRITIC = ("value_learning_rate", "critic_steps", "discount_weighting")
_SEGMENTS = (*_EPISODES, *_CRITIC, "rollout_steps")

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
        settings=_EPISODES,
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
        settings=(*_EPISODES, "discount_weighting"),
        defaults={"num_envs": 16},
    ),
    "mean-baseline": Estimator(
        weight=mean_baseline,
        title="Mean baseline",
        equation=r"\sum_t \nabla\log\pi(a_t|s_t)\;\Big(G_t^{(i)} - \frac{1}{N-1}\sum_{j\ne i} G_t^{(j)}\Big)",
        about="An action is good if it went better than usual. What is usual is the mean of the other episodes of the batch "
        "at the same step; the own episode is left out, since a mean that contains it would shrink the gradient.",
        difference="Subtracts from Gₜ what the other episodes earned from the same step on: less noise, the same average.",
        source="Williams 1992 (baselines); Kool, van Hoof & Welling 2019 (leave-one-out)",
        gathers="episodes",
        critic=False,
        settings=(*_EPISODES, "discount_weighting"),
        least={"num_envs": 2},
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
        settings=(*_EPISODES, *_CRITIC),
        defaults={"num_envs": 16, "critic_steps": 10},
    ),
    "actor-critic": Estimator(
        weight=actor_critic,
        title="Actor-critic",
        equation=r"\sum_t \nabla\log\pi(a_t|s_t)\;\delta_t,\quad \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)",
        about="Do not wait for the end of the episode: after one step, the reward and the critic's opinion of the next state "
        "stand in for the rest. Very little noise, but wrong wherever the critic is wrong.",
        difference="The critic is also believed about what comes after the next step; whole episodes are no longer needed.",
        source="Sutton & Barto, 2nd edition, §13.5",
        settings=_SEGMENTS,
    ),
    "a2c": Estimator(
        weight=a2c,
        title="A2C",
        equation=r"\sum_t \nabla\log\pi(a_t|s_t)\;"
        r"\big(r_t + \dots + \gamma^{n-1} r_{t+n-1} + \gamma^{n} V(s_{t+n}) - V(s_t)\big)",
        about="Count the real rewards of the rest of a short segment and let the critic stand in only for what lies beyond "
        "it: between actor-critic (one step) and a value baseline (all steps).",
        difference="Up to n real rewards before the critic is believed, instead of one.",
        source="Mnih et al. 2016, in its synchronous form",
        settings=_SEGMENTS,
    ),
    "gae": Estimator(
        weight=gae,
        title="GAE",
        equation=r"\sum_t \nabla\log\pi(a_t|s_t)\;A_t,\quad A_t = \sum_l (\gamma\lambda)^l\,\delta_{t+l}",
        about="An average over believing the critic after 1, 2, 3, … steps, with weights that fall by λ. One knob sets how "
        "much noise is traded for how much bias.",
        difference="Blends all the lengths n instead of choosing one: λ = 0 is actor-critic, λ = 1 is A2C.",
        source="Schulman, Moritz, Levine, Jordan & Abbeel 2016",
        settings=(*_SEGMENTS, "gae_lambda"),
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
        code="updates.clipped",
        settings=(
            *(_EPISODES),
            *("rollout_steps", "gae_lambda", "clip_range", "epochs", "minibatches", "target_kl"),
            *("value_learning_rate", "discount_weighting"),
        ),
    ),
    "trpo": Estimator(
        weight=gae,
        title="TRPO",
        equation=r"\theta \leftarrow \theta + \sqrt{\frac{2\delta}{g^\top F^{-1} g}}\;F^{-1} g,\quad"
        r"\mathbb{E}\,\mathrm{KL}(\pi_{\mathrm{old}}\,\|\,\pi) \le \delta",
        about="Measures a step not by how far the parameters move but by how far the policy does. The natural gradient F⁻¹g is "
        "the best direction for a small move of the policy; a line search makes sure that the move paid and stayed in bounds.",
        difference="PPO clips and hopes; TRPO solves for one step with a hard limit δ on the KL divergence. No learning rate.",
        source="Schulman, Levine, Moritz, Jordan & Abbeel 2015; Kakade 2002 (natural policy gradient)",
        update="natural",
        code="updates.natural",
        settings=(
            *(*_WEIGHTS, *_CRITIC, "rollout_steps", "gae_lambda"),
            *("max_kl", "cg_steps", "cg_damping", "fisher_rows"),
        ),
        defaults={"critic_steps": 10},
    ),
    "a3c": Estimator(
        weight=a2c,
        title="A3C",
        equation=r"g_w = \sum_t \nabla_{\theta_w}\log\pi(a_t|s_t)\,\big(R_t - V(s_t)\big),\quad "
        r"v \leftarrow \alpha v + (1-\alpha)\,g_w^2,\quad \theta \leftarrow \theta + \eta\,g_w / \sqrt{v+\epsilon}",
        about="Several processes play and learn at the same time on one shared set of parameters, each writing its steps "
        "without waiting for the others. Their different experience takes the place of a wide batch.",
        difference="No second derivatives, no waiting: A2C's weights and plain steps, which workers write over each other. Who "
        "writes first is a matter of chance, so the same seed does not repeat a run, and a resumed run begins new episodes.",
        source="Mnih et al. 2016",
        loop="asynchronous",
        repeatable=False,
        code="asynchronous.share",
        warning="A3C is a race between processes: the same seed does not give the same run again.",
        settings=(*_STEP, *_WEIGHTS, *_CRITIC, "rollout_steps", "workers"),
        defaults={"num_envs": 16},
    ),
    "dqn": Estimator(
        weight=q_learning,
        title="DQN",
        equation=r"\sum_i \nabla Q(s_i,a_i)\,\Big(r_i + \gamma \max_a Q^-(s'_i,a) - Q(s_i,a_i)\Big),\quad"
        r"\pi(s) = \arg\max_a Q(s,a)",
        about="Not a policy gradient, but the usual rival: learn what each action is worth, and take the best. Remembers its "
        "steps and learns from each many times; a slowly following copy of the network, Q⁻, gives the targets.",
        difference="No policy is learned, only values, and what was done long ago is used again. It explores by acting at "
        "random with the chance ε; where an evaluation draws actions instead of taking the best, it uses the last ε.",
        source="Mnih et al. 2015; Watkins 1989 (Q-learning)",
        critic=False,
        loop="replay",
        discrete_only=True,
        code="dqn.learn",
        settings=(
            *(*_STEP, "optimiser", "num_envs", "rollout_steps", "normalise_observations"),
            *("replay_size", "replay_start", "replay_batch", "gradient_steps", "target_every"),
            *("exploration_share", "final_exploration"),
        ),
        defaults={
            "num_envs": 8,
            "learning_rate": 2.3e-3,
            "learning_rate_schedule": "linear",
            "gradient_clip": 10.0,
            "hidden_sizes": (128, 128),
            "normalise_observations": False,
        },
    ),
    "article": Estimator(
        weight=article,
        title="The article's listing",
        equation=r"\mathcal{L} = r + \gamma \max_a Q_\theta(s',a) - Q_\theta(s,a),\quad a = \arg\max_a Q_\theta(s,a)",
        about="The program the article prints (§5.2), as a lesson. It always takes the action with the largest output, and "
        "lowers target − output without squaring it. The reward is a constant of that loss and drops out of its gradient, so "
        "every action taken is pushed up whatever it earned, without bound, and taken again.",
        difference="Looks like DQN without memory, but the missing square removes the reward from the gradient, and nothing "
        "explores. It is no policy gradient either: the output is never a probability.",
        source="The article this project implements, §5.2, with the indexing of its (1, 2) output repaired",
        critic=False,
        loop="listing",
        discrete_only=True,
        code="listing.learn",
        warning="This listing does not learn: its loss is not squared, so the reward drops out of the gradient and whatever it "
        "does is made more likely, good or bad.",
        settings=("learning_rate",),
        defaults={"learning_rate": 0.01, "discount": 0.99, "max_steps": 10_000},
    ),
}
