"""What is done with the weights: one step of gradient ascent, PPO's clipped surrogate, TRPO's natural-gradient step."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
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
        return self.obs.shape[0]

    def rows(self, index: Tensor | slice) -> "Batch":
        if index is ALL:
            return self
        return Batch(self.obs[index], self.action[index], self.weight[index], self.target[index], self.episodes)

    def pieces(self, most: int) -> list[slice]:
        """Its rows, at most so many at once."""
        return [ALL] if len(self) <= most else [slice(at, at + most) for at in range(0, len(self), most)]


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
    old = _pull(learner, batch, share, config.entropy_bonus)
    loss = -share * torch.dot(batch.weight, policy.log_prob(old, batch.action)).item()
    grad_norm = learner.turn.do(lambda: learner.policy.climb(rate, config.gradient_clip, loss))
    moved = _moved(learner, old, batch)
    value_loss = _fit(learner, batch, config.value_learning_rate, config.critic_steps)
    return Progress(policy.entropy(old).mean().item(), moved, grad_norm, loss, value_loss, learning_rate=rate)


@torch.no_grad()
def clipped(learner: Learner, batch: Batch, config: "TrainConfig", rate: float, rng: np.random.Generator) -> Progress:
    """Epochs of minibatch steps on min(ρ A, clip(ρ, 1−ε, 1+ε) A), ρ = π/π_old; stops early past `target_kl`.

    Its gradient is ρ A ∇log π where the clip is not at work, else 0. The old policy is the one at the start, so every ratio
    of the first minibatch is 1 (Schulman et al. 2017, eq. 7).
    """
    policy, turn, at_once = learner.policy.network, learner.turn, learner.policy.rows_at_once
    old = torch.cat([turn.do(partial(_distribution, policy, batch.obs[rows])) for rows in batch.pieces(at_once)])
    old_log_prob = policy.log_prob(old, batch.action)

    def step(rows: Tensor) -> Sequence[float]:
        minibatch, log_prob = batch.rows(rows), old_log_prob[rows]

        def pull(piece: slice) -> float:
            part = minibatch.rows(piece)
            trace = policy.network.trace(part.obs)
            new = policy.distribution(trace[-1])
            ratio = (policy.log_prob(new, part.action) - log_prob[piece]).exp()
            free, held = ratio * part.weight, ratio.clamp(1 - config.clip_range, 1 + config.clip_range) * part.weight
            weight = torch.where(free <= held, free, 0.0) / len(minibatch)
            policy.policy_gradient(trace, new, part.action, weight, config.entropy_bonus / len(minibatch))
            return -torch.min(free, held).sum().item() / len(minibatch)

        loss = sum(learner.policy.add_up(turn, minibatch.pieces(at_once), pull))
        grad_norm = turn.do(lambda: learner.policy.climb(rate, config.gradient_clip, loss))
        return grad_norm, loss, _fit_once(learner, minibatch, config.value_learning_rate)

    went = []
    for _ in range(config.epochs):
        order = turn.do(lambda: torch.from_numpy(rng.permutation(len(batch))))
        went += [step(rows) for rows in order.chunk(config.minibatches)]
        if config.target_kl and _moved(learner, old, batch) > config.target_kl:
            break
    grad_norm, loss, value_loss = (float(np.mean(numbers)) for numbers in zip(*went, strict=True))
    entropy, moved = policy.entropy(old).mean().item(), _moved(learner, old, batch)
    return Progress(entropy, moved, grad_norm, loss, value_loss, learning_rate=rate)


@torch.no_grad()
def natural(learner: Learner, batch: Batch, config: "TrainConfig", _rate: float, _rng: np.random.Generator) -> Progress:
    """The step s = √(2δ / xᵀFx) x, x = F⁻¹ g, shortened until the surrogate grows and KL(old ‖ new) ≤ δ.

    g is the gradient of the surrogate E[ρ A], F the Fisher matrix of the policy, x found by conjugate gradients in float64
    (Schulman et al. 2015, appendix C). Where no step pays, the policy stays.
    """
    policy, turn, pieces = learner.policy.network, learner.turn, batch.pieces(learner.policy.rows_at_once)
    start = turn.do(learner.policy.theta.clone)
    old = _pull(learner, batch, 1 / len(batch), config.entropy_bonus)
    old_log_prob = policy.log_prob(old, batch.action)

    def surrogate(now: Tensor, rows: slice) -> float:
        ratio = (policy.log_prob(now, batch.action[rows]) - old_log_prob[rows]).exp()
        return (ratio @ batch.weight[rows] + config.entropy_bonus * policy.entropy(now).sum()).item()

    before, grad_norm = sum(surrogate(old[rows], rows) for rows in pieces), learner.policy.gradient.norm().item()
    learner.policy.insist_finite(grad_norm + before, config.max_kl)
    seen = batch.obs[:: max(1, len(batch) // config.fisher_rows)]
    step = natural_step(policy, seen, learner.policy.gradient, config.max_kl, config.cg_steps, config.cg_damping, turn)

    def move(shrink: float) -> None:
        learner.policy.theta.copy_(start + shrink * step)

    def look(rows: slice) -> tuple[float, float]:
        now = _distribution(policy, batch.obs[rows])
        return policy.kl(old[rows], now).sum().item() / len(batch), surrogate(now, rows)

    for shrink in SHRINK ** np.arange(BACKTRACKS):
        turn.do(partial(move, shrink))
        kl, now = (sum(of) for of in zip(*(turn.do(partial(look, rows)) for rows in pieces), strict=True))
        if kl <= config.max_kl and now > before:
            break
    else:
        turn.do(partial(move, kl := 0.0))
    value_loss = _fit(learner, batch, config.value_learning_rate, config.critic_steps)
    return Progress(policy.entropy(old).mean().item(), kl, grad_norm, -before / len(batch), value_loss)


@torch.no_grad()
def natural_step(
    policy: Policy, obs: Tensor, gradient: Tensor, max_kl: float, steps: int, damping: float, turn: Turn
) -> Tensor:
    """√(2δ / xᵀFx) x, [P] in float64, x = (F + damping I)⁻¹ g: the step whose KL divergence is δ to second order.

    Each product F v, of F averaged over observations [B, D], is a step of the turn or, of many rows, several.
    """
    exact = Learnable(copy.deepcopy(policy).double())
    pieces = obs.double().split(exact.rows_at_once)

    @lru_cache(maxsize=1)  # one piece stays the same for all products; of several, one is as much as memory may hold
    def trace_of(i: int) -> list[Tensor]:
        return exact.network.network.trace(pieces[i])

    def product(vector: Tensor, i: int) -> Tensor:
        trace = trace_of(i)
        exact.network.fisher_product(trace, exact.network.distribution(trace[-1]), vector)
        return exact.gradient * (len(pieces[i]) / len(obs))

    def fisher(vector: Tensor) -> Tensor:
        return turn.sum(partial(product, vector, i) for i in range(len(pieces))) + damping * vector

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


def _distribution(policy: Policy, obs: Tensor) -> Tensor:
    return policy.distribution(policy.network(obs))


def _pull(learner: Learner, batch: Batch, share: float, entropy_bonus: float) -> Tensor:
    """The gradient of share · (Σ w log π + β Σ H) is left in the policy's; what the policy says of each state now, [B, …]."""
    policy = learner.policy.network

    def pull(rows: slice) -> Tensor:
        part = batch.rows(rows)
        trace = policy.network.trace(part.obs)
        now = policy.distribution(trace[-1])
        policy.policy_gradient(trace, now, part.action, part.weight * share, entropy_bonus * share)
        return now

    return torch.cat(learner.policy.add_up(learner.turn, batch.pieces(learner.policy.rows_at_once), pull))


def _moved(learner: Learner, old: Tensor, batch: Batch) -> float:
    """Mean KL(old ‖ now) over the states of the batch, in nats."""
    policy = learner.policy.network

    def look(rows: slice) -> float:
        return policy.kl(old[rows], _distribution(policy, batch.obs[rows])).sum().item()

    pieces = batch.pieces(learner.policy.rows_at_once)
    return sum(learner.turn.do(partial(look, rows)) for rows in pieces) / len(batch)


def _fit(learner: Learner, batch: Batch, rate: float, steps: int) -> float:
    """So many steps of the critic, each on another part of the batch; the mean of their losses, NaN without a critic."""
    if learner.critic is None:
        return math.nan
    parts = (batch.rows(slice(first, None, steps)) for first in range(steps))
    return float(np.mean([_fit_once(learner, part, rate) for part in parts]))


def _fit_once(learner: Learner, batch: Batch, rate: float) -> float:
    """One step of the critic up −½ mean (target − V)², in its own unit; that loss, NaN without a critic."""
    critic = learner.critic
    if critic is None:
        return math.nan
    network = critic.network

    def pull(rows: slice) -> float:
        part = batch.rows(rows)
        trace = network.trace(part.obs)
        error = part.target / network.unit.clamp(min=1e-12) - trace[-1].squeeze(-1)
        network.pull_back(trace, error.unsqueeze(-1) / len(batch))
        return 0.5 * error.square().sum().item() / len(batch)

    loss = sum(critic.add_up(learner.turn, batch.pieces(critic.rows_at_once), pull))
    learner.turn.do(lambda: critic.climb(rate, loss=loss))
    return loss


UPDATES: Mapping[str, Update] = {"ascent": ascent, "clipped": clipped, "natural": natural}
