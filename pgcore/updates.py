"""What is done with the weights: one step of gradient ascent, PPO's clipped surrogate, TRPO's natural-gradient step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pgcore.optimisers import Learnable
from pgcore.policies import Critic, Policy

if TYPE_CHECKING:
    from pgcore.config import TrainConfig


@dataclass(frozen=True, eq=False)
class Batch:
    """The decisions of a rollout, one row each: obs [B, D]; action [B] or [B, A]; weight and target [B].

    `weight` multiplies ∇log π, `target` is what the critic should have said. `episodes` is their number where the batch
    holds whole episodes, whose gradients are summed over their steps and averaged over episodes; else None, and the
    average is over steps.
    """

    obs: Tensor
    action: Tensor
    weight: Tensor
    target: Tensor
    episodes: int | None

    def __len__(self) -> int:
        return len(self.obs)

    def rows(self, index: Tensor) -> "Batch":
        return Batch(self.obs[index], self.action[index], self.weight[index], self.target[index], self.episodes)


@dataclass(frozen=True)
class Learner:
    """What learns: the policy and, where the estimator needs one, the critic."""

    policy: Learnable[Policy]
    critic: Learnable[Critic] | None


@dataclass(frozen=True)
class Progress:
    """How an update went: entropy before it, KL(old ‖ new) after it (nats a decision), gradient norm and losses."""

    entropy: float
    kl: float
    grad_norm: float
    policy_loss: float
    value_loss: float


Update = Callable[[Learner, Batch, "TrainConfig", float, np.random.Generator], Progress]


@torch.no_grad()
def ascent(learner: Learner, batch: Batch, config: "TrainConfig", rate: float, rng: np.random.Generator) -> Progress:
    """One step along ∇ (1/n) Σ w_t log π(a_t|s_t), n episodes or steps; then `critic_steps` of the critic on its target.

    Exactly one step a rollout: after it the data no longer comes from the policy (Williams 1992; Mnih et al. 2016).
    """
    policy, share = learner.policy.network, 1 / (batch.episodes or len(batch))
    trace = policy.network.trace(batch.obs)
    old = policy.distribution(trace[-1])
    policy.policy_gradient(trace, old, batch.action, batch.weight * share, config.entropy_bonus * share)
    grad_norm = learner.policy.climb(rate, config.gradient_clip)
    loss = -share * torch.dot(batch.weight, policy.log_prob(old, batch.action)).item()
    value_loss = math.nan
    if learner.critic is not None:
        for _ in range(config.critic_steps):
            value_loss = _fit(learner.critic, batch, config.value_learning_rate)
    return Progress(policy.entropy(old).mean().item(), _moved(policy, old, batch), grad_norm, loss, value_loss)


@torch.no_grad()
def clipped(learner: Learner, batch: Batch, config: "TrainConfig", rate: float, rng: np.random.Generator) -> Progress:
    """Epochs of minibatch steps on min(ρ A, clip(ρ, 1−ε, 1+ε) A), ρ = π/π_old; stops early past `target_kl`.

    Its gradient is ρ A ∇log π where the clip is not at work, else 0. The old policy is the one at the start, so every ratio
    of the first minibatch is 1 (Schulman et al. 2017, eq. 7).
    """
    assert learner.critic is not None
    policy = learner.policy.network
    old = policy.distribution(policy.network(batch.obs))
    old_log_prob = policy.log_prob(old, batch.action)
    grad_norms, losses, value_losses = [], [], []
    for _ in range(config.epochs):
        for rows in torch.from_numpy(rng.permutation(len(batch))).chunk(config.minibatches):
            part = batch.rows(rows)
            trace = policy.network.trace(part.obs)
            new = policy.distribution(trace[-1])
            ratio = (policy.log_prob(new, part.action) - old_log_prob[rows]).exp()
            free, held = ratio * part.weight, ratio.clamp(1 - config.clip_range, 1 + config.clip_range) * part.weight
            weight = torch.where(free <= held, free, 0.0) / len(part)
            policy.policy_gradient(trace, new, part.action, weight, config.entropy_bonus / len(part))
            grad_norms.append(learner.policy.climb(rate, config.gradient_clip))
            losses.append(-torch.min(free, held).mean().item())
            value_losses.append(_fit(learner.critic, part, config.value_learning_rate))
        if config.target_kl and _moved(policy, old, batch) > config.target_kl:
            break
    entropy = policy.entropy(old).mean().item()
    means = (float(np.mean(numbers)) for numbers in (grad_norms, losses, value_losses))
    return Progress(entropy, _moved(policy, old, batch), *means)


def _moved(policy: Policy, old: Tensor, batch: Batch) -> float:
    """Mean KL(old ‖ now) over the states of the batch, in nats."""
    return policy.kl(old, policy.distribution(policy.network(batch.obs))).mean().item()


def _fit(critic: Learnable[Critic], batch: Batch, rate: float) -> float:
    """One step of the critic up −½ mean (target − V)², in its own unit; returns that loss before it."""
    network = critic.network
    trace = network.trace(batch.obs)
    error = batch.target / network.unit.clamp(min=1e-12) - trace[-1].squeeze(-1)
    network.pull_back(trace, error.unsqueeze(-1) / len(batch))
    critic.climb(rate)
    return 0.5 * error.square().mean().item()


UPDATES: Mapping[str, Update] = {"ascent": ascent, "clipped": clipped}
