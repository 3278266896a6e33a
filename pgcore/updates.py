"""What is done with the weights: one step of gradient ascent, PPO's clipped surrogate, TRPO's natural-gradient step."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pgcore.optimisers import Learnable
from pgcore.policies import Critic, Policy
from pgcore.record import Progress
from pgcore.turn import Turn

if TYPE_CHECKING:
    from pgcore.config import TrainConfig

BACKTRACKS, SHRINK = 12, 0.8
ALL = slice(None)


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
    """What learns: the policy and, where the estimator needs one, the critic; each update is a turn of steps."""

    policy: Learnable[Policy]
    critic: Learnable[Critic] | None
    turn: Turn = field(default_factory=Turn)

    @property
    def parts(self) -> "list[Learnable[Policy] | Learnable[Critic]]":
        return [self.policy] if self.critic is None else [self.policy, self.critic]


Update = Callable[[Learner, Batch, "TrainConfig", float, np.random.Generator], Progress]


@torch.no_grad()
def ascent(learner: Learner, batch: Batch, config: "TrainConfig", rate: float, _rng: np.random.Generator) -> Progress:
    """One step along ∇ (1/n) Σ w_t log π(a_t|s_t), n episodes or steps; then `critic_steps` of the critic on its target.

    Exactly one step a rollout: after it the data no longer comes from the policy (Williams 1992; Mnih et al. 2016).
    """
    policy, share = learner.policy.network, 1 / (batch.episodes or len(batch))

    def step() -> Sequence[float]:
        trace = policy.network.trace(batch.obs)
        old = policy.distribution(trace[-1])
        policy.policy_gradient(trace, old, batch.action, batch.weight * share, config.entropy_bonus * share)
        loss = -share * torch.dot(batch.weight, policy.log_prob(old, batch.action)).item()
        learner.policy.insist_finite(loss, rate)
        grad_norm = learner.policy.climb(rate, config.gradient_clip)
        return policy.entropy(old).mean().item(), _moved(policy, old, batch), grad_norm, loss

    entropy, moved, grad_norm, loss = learner.turn.do(step)
    value_loss = _fit(learner, batch, config.value_learning_rate, config.critic_steps)
    return Progress(entropy, moved, grad_norm, loss, value_loss, learning_rate=rate)


@torch.no_grad()
def clipped(learner: Learner, batch: Batch, config: "TrainConfig", rate: float, rng: np.random.Generator) -> Progress:
    """Epochs of minibatch steps on min(ρ A, clip(ρ, 1−ε, 1+ε) A), ρ = π/π_old; stops early past `target_kl`.

    Its gradient is ρ A ∇log π where the clip is not at work, else 0. The old policy is the one at the start, so every ratio
    of the first minibatch is 1 (Schulman et al. 2017, eq. 7).
    """
    policy, turn = learner.policy.network, learner.turn
    old = turn.do(lambda: policy.distribution(policy.network(batch.obs)))
    old_log_prob = policy.log_prob(old, batch.action)

    def step(rows: Tensor) -> Sequence[float]:
        part = batch.rows(rows)
        trace = policy.network.trace(part.obs)
        new = policy.distribution(trace[-1])
        ratio = (policy.log_prob(new, part.action) - old_log_prob[rows]).exp()
        free, held = ratio * part.weight, ratio.clamp(1 - config.clip_range, 1 + config.clip_range) * part.weight
        weight = torch.where(free <= held, free, 0.0) / len(part)
        policy.policy_gradient(trace, new, part.action, weight, config.entropy_bonus / len(part))
        loss = -torch.min(free, held).mean().item()
        learner.policy.insist_finite(loss, rate)
        grad_norm = learner.policy.climb(rate, config.gradient_clip)
        return grad_norm, loss, _fit_once(learner.critic, part, config.value_learning_rate)

    went = []
    for _ in range(config.epochs):
        order = turn.do(lambda: torch.from_numpy(rng.permutation(len(batch))))
        went += [turn.do(partial(step, rows)) for rows in order.chunk(config.minibatches)]
        if config.target_kl and turn.do(lambda: _moved(policy, old, batch)) > config.target_kl:
            break
    grad_norm, loss, value_loss = (float(np.mean(numbers)) for numbers in zip(*went, strict=True))
    entropy, moved = policy.entropy(old).mean().item(), _moved(policy, old, batch)
    return Progress(entropy, moved, grad_norm, loss, value_loss, learning_rate=rate)


@torch.no_grad()
def natural(learner: Learner, batch: Batch, config: "TrainConfig", _rate: float, _rng: np.random.Generator) -> Progress:
    """The step s = √(2δ / xᵀFx) x, x = F⁻¹ g, shortened until the surrogate grows and KL(old ‖ new) ≤ δ.

    g is the gradient of the surrogate E[ρ A], F the Fisher matrix of the policy, x found by conjugate gradients in float64
    (Schulman et al. 2015, appendix C). Where no step pays, the policy stays.
    """
    entropy, kl, grad_norm, loss = learner.turn.do(lambda: _natural(learner, batch, config))
    return Progress(entropy, kl, grad_norm, loss, _fit(learner, batch, config.value_learning_rate, config.critic_steps))


def _natural(learner: Learner, batch: Batch, config: "TrainConfig") -> Sequence[float]:
    """The step of the policy; its entropy before, the KL divergence, the norm of the gradient, and the loss before."""
    policy, share = learner.policy.network, 1 / len(batch)
    trace = policy.network.trace(batch.obs)
    old = policy.distribution(trace[-1])
    old_log_prob = policy.log_prob(old, batch.action)

    def surrogate(now: Tensor) -> float:
        ratio = (policy.log_prob(now, batch.action) - old_log_prob).exp()
        return (ratio @ batch.weight * share + config.entropy_bonus * policy.entropy(now).mean()).item()

    policy.policy_gradient(trace, old, batch.action, batch.weight * share, config.entropy_bonus * share)
    grad_norm, start, before = learner.policy.gradient.norm().item(), learner.policy.theta.clone(), surrogate(old)
    learner.policy.insist_finite(grad_norm + before, config.max_kl)
    step = natural_step(
        policy,
        batch.obs[:: max(1, len(batch) // config.fisher_rows)],
        learner.policy.gradient,
        config.max_kl,
        config.cg_steps,
        config.cg_damping,
    )
    for shrink in SHRINK ** np.arange(BACKTRACKS):
        learner.policy.theta.copy_(start + shrink * step)
        now = policy.distribution(policy.network(batch.obs))
        kl = policy.kl(old, now).mean().item()
        if kl <= config.max_kl and surrogate(now) > before:
            break
    else:
        learner.policy.theta.copy_(start)
        kl = 0.0
    return policy.entropy(old).mean().item(), kl, grad_norm, -before


@torch.no_grad()
def natural_step(policy: Policy, obs: Tensor, gradient: Tensor, max_kl: float, steps: int, damping: float) -> Tensor:
    """√(2δ / xᵀFx) x, x = (F + damping I)⁻¹ g, [P] in float64: the step whose KL divergence is δ to second order."""
    exact = Learnable(copy.deepcopy(policy).double())
    trace = exact.network.network.trace(obs.double())
    distribution = exact.network.distribution(trace[-1])

    def fisher(vector: Tensor) -> Tensor:
        exact.network.fisher_product(trace, distribution, vector)
        return exact.gradient + damping * vector

    direction = conjugate_gradient(fisher, gradient.double(), steps)
    curvature = (direction @ fisher(direction)).item()
    return direction * math.sqrt(2 * max_kl / curvature) if curvature > 0 else torch.zeros_like(direction)


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """x with A x = b for a symmetric positive A known by v ↦ A v, from x = 0; stops where A is not positive along the way."""
    x, residual = torch.zeros_like(b), b.clone()
    direction, size = b.clone(), b @ b
    enough = 1e-10 * size
    for _ in range(steps):
        moved = product(direction)
        curvature = direction @ moved
        if curvature <= 0 or size <= enough:
            break
        x += size / curvature * direction
        residual -= size / curvature * moved
        size, before = residual @ residual, size
        direction = residual + size / before * direction
    return x


def _moved(policy: Policy, old: Tensor, batch: Batch) -> float:
    """Mean KL(old ‖ now) over the states of the batch, in nats."""
    return policy.kl(old, policy.distribution(policy.network(batch.obs))).mean().item()


def _fit(learner: Learner, batch: Batch, rate: float, steps: int) -> float:
    """So many steps of the critic, each on another part of the batch; the mean of their losses, NaN without a critic."""
    if learner.critic is None:
        return math.nan
    parts = (slice(first, None, steps) for first in range(steps))
    return float(np.mean([learner.turn.do(partial(_fit_once, learner.critic, batch, rate, rows)) for rows in parts]))


def _fit_once(critic: Learnable[Critic] | None, batch: Batch, rate: float, rows: slice = ALL) -> float:
    """One step of the critic up −½ mean (target − V)², in its own unit, on some rows; that loss, NaN without a critic."""
    if critic is None:
        return math.nan
    network = critic.network
    target = batch.target[rows] / network.unit.clamp(min=1e-12)
    trace = network.trace(batch.obs[rows])
    error = target - trace[-1].squeeze(-1)
    network.pull_back(trace, error.unsqueeze(-1) / len(error))
    loss = 0.5 * error.square().mean().item()
    critic.insist_finite(loss, rate)
    critic.climb(rate)
    return loss


UPDATES: Mapping[str, Update] = {"ascent": ascent, "clipped": clipped, "natural": natural}
