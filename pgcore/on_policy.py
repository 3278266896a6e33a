"""The on-policy loop: play, weigh, improve; each batch of experience is used for one update and forgotten."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from pgcore import snapshot
from pgcore.acting import Kind
from pgcore.actions import units_of
from pgcore.config import TrainConfig, check_actions
from pgcore.estimators import ESTIMATORS
from pgcore.market.prices import PriceSeries
from pgcore.observations import RunningStatistics
from pgcore.optimisers import Learnable, TrainingDiverged
from pgcore.policies import Critic, Network, Policy
from pgcore.record import NAN, Played
from pgcore.rollout import LONGEST_EPISODE, FloatArray, Lanes, Rollout, collect
from pgcore.tasks import make_environment
from pgcore.turn import Turn
from pgcore.updates import UPDATES, Batch, Learner


class OnPolicy:
    """Plays with the present policy, then improves it by what was seen: the loop of all but a few estimators."""

    def __init__(self, config: TrainConfig, prices: PriceSeries | None) -> None:
        self.config = config
        self.estimator = ESTIMATORS[config.estimator]
        self.env = make_environment(config, prices)
        self.rng = np.random.default_rng(config.seed)
        self.learner = make_learner(config, self.env)
        self.statistics = RunningStatistics(len(self.policy.network.mean))
        self.lanes = Lanes.start(self.env.reset(seed=config.seed)[0])

    @property
    def policy(self) -> Policy:
        return self.learner.policy.network

    @property
    def networks(self) -> list[Network]:
        critic = self.learner.critic
        return [self.policy.network, *([critic.network] if critic is not None else [])]

    @property
    def turn(self) -> Turn:
        return self.learner.turn

    def advance(self, env_steps: int) -> Played:
        """One batch and one update, `env_steps` of the budget being used.

        Raises TrainingDiverged; the policy is then again the last one whose loss and gradient were numbers.
        """
        with self.turn:
            rollout, returns = self._play(env_steps)
            asked = {name: getattr(self.config, name) for name in self.estimator.asks_for}
            weight = self.estimator.weight(rollout, self.config.discount, **asked)
            with self.learner.policy.proving(self.turn):
                try:
                    update, rate = UPDATES[self.estimator.update], self.config.learning_rate_at(env_steps)
                    progress = update(self.learner, self._batch(rollout, weight), self.config, rate, self.rng)
                except TrainingDiverged:
                    check_facts(rollout.obs, rollout.next_obs, rollout.reward)
                    raise
            if self.config.normalise_observations:
                self.statistics.add(rollout.obs[rollout.valid])
                self.statistics.normalise(*self.networks)
            measured = replace(progress, **measure(rollout, weight, judged=self.learner.critic is not None))
            return Played(rollout.steps, returns, action_share(self.policy, rollout.action[rollout.valid]), measured)

    def _play(self, env_steps: int) -> tuple[Rollout, FloatArray]:
        """A rollout, judged by the critic, and the returns that became known."""
        whole, turn = self.estimator.gathers == "episodes", self.turn
        left = -(-(self.config.max_steps - env_steps) // self.config.num_envs)
        steps = LONGEST_EPISODE if whole else max(1, min(self.config.rollout_steps, left))
        begin = Lanes(**turn.do(lambda: vars(self.lanes)))
        rollout, end, returns = collect(self.env, lambda obs: self.policy.choose(obs, self.rng), begin, steps, whole, turn.do)

        def leave() -> None:
            self.lanes = Lanes.start(self.env.reset()[0]) if whole else end
            if self.learner.critic is not None:
                self.learner.critic.network.measure(rollout.reward[rollout.valid])

        turn.do(leave)
        return self._judged(rollout), returns

    @torch.no_grad()
    def _judged(self, rollout: Rollout) -> Rollout:
        """With V of all that was seen, the last of it too; as it is without a critic."""
        critic = self.learner.critic
        if critic is None:
            return rollout
        seen = _tensor(np.concatenate([rollout.obs, rollout.next_obs[-1:]]))
        pieces = seen.split(-(-critic.rows_at_once // seen.shape[1]))
        value = torch.cat([self.turn.do(partial(critic.network.value, piece)) for piece in pieces]).double().numpy()
        return rollout.with_values(value[:-1], value[1:])

    def _batch(self, rollout: Rollout, weight: FloatArray) -> Batch:
        config, valid = self.config, rollout.valid
        target = (weight + rollout.value)[valid]
        weight = weight[valid]
        if config.normalise_advantages and len(weight) > 1:
            weight = (weight - weight.mean()) / (weight.std() + 1e-8)
        if config.discount_weighting and not self.estimator.from_start:
            weight = weight * config.discount ** rollout.time[valid]
        return Batch(
            _tensor(rollout.obs[valid]),
            torch.from_numpy(rollout.action[valid]),
            _tensor(weight),
            _tensor(target),
            int(rollout.valid[0].sum()) if self.estimator.gathers == "episodes" else None,
        )

    def state(self) -> dict[str, Any]:
        """Everything that decides how the loop goes on, as `snapshot.pack` takes it."""
        return {
            "rng": self.rng.bit_generator.state,
            "env": snapshot.take(self.env),
            "lanes": vars(self.lanes),
            "statistics": self.statistics.table,
            "networks": [[tensor.numpy() for tensor in part.everything()] for part in self.learner.parts],
            "turn": self.turn.state(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.rng.bit_generator.state = saved["rng"]
        snapshot.put_back(self.env, saved["env"])
        self.lanes = Lanes(**saved["lanes"])
        self.statistics.table = saved["statistics"]
        for part, arrays in zip(self.learner.parts, saved["networks"], strict=True):
            part.put_back(arrays)
        self.statistics.normalise(*self.networks)
        self.turn.restore(saved.get("turn", []))


def make_learner(config: TrainConfig, env: VectorEnv) -> Learner:
    """Networks and optimisers as the config asks for them, started from its seed."""
    policy = make_policy(config, env)
    critic, row = None, ESTIMATORS[config.estimator]
    if row.critic:
        network = Critic(len(policy.network.mean), config.hidden_sizes, config.activation)
        critic = Learnable(network, rate_name="critic learning rate")
    rate_name = "trust region δ" if row.update == "natural" else "learning rate"
    return Learner(Learnable(policy, config.optimiser, rate_name), critic)


def make_policy(config: TrainConfig, env: VectorEnv, kind: Kind | None = None) -> Policy:
    """A policy for the spaces of the environment, of a kind or of that of its actions. Raises BadInput where it cannot be."""
    torch.manual_seed(config.seed)
    seen, done = env.single_observation_space, env.single_action_space
    hidden = config.hidden_sizes if config.policy == "mlp" else ()
    discrete = isinstance(done, spaces.Discrete)
    check_actions(config.task, config.estimator, continuous=not discrete)
    actions = int(done.n) if isinstance(done, spaces.Discrete) else math.prod(done.shape or ())
    kind = kind or ("categorical" if discrete else "gaussian")
    return Policy(math.prod(seen.shape or ()), actions, kind, hidden, config.activation, units_of(done))


def action_share(policy: Policy, action: NDArray[Any]) -> tuple[float, ...]:
    """The share of each discrete action in actions [B], or the mean of each component of [B, A]."""
    if policy.kind == "gaussian":
        return tuple(action.mean(axis=0).tolist())
    return tuple((np.bincount(action, minlength=policy.actions) / len(action)).tolist())


def check_facts(*facts: FloatArray) -> None:
    """Raises TrainingDiverged where the task itself gave something that is not a number."""
    if not all(np.isfinite(fact).all() for fact in facts):
        raise TrainingDiverged("the task gave an observation or a reward that is not a finite number; mend the task")


def measure(rollout: Rollout, weight: FloatArray, judged: bool) -> dict[str, float]:
    """How widely the weights are spread, and the share of the variance of what was to come that its judge explained."""
    weight = weight[rollout.valid]
    spread = np.var(weight + rollout.value[rollout.valid]) if judged else 0.0
    explained = 1 - np.var(weight) / spread if spread > 0 else NAN
    return {"weight_std": float(weight.std()), "explained_variance": float(explained)}


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
