"""Trainer: the loop collect → estimate → update → yield, and all that has to be kept to go on from the middle of it."""

import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from pgcore import snapshot
from pgcore.config import TrainConfig
from pgcore.estimators import ESTIMATORS
from pgcore.market.prices import PriceSeries
from pgcore.optimisers import Learnable, TrainingDiverged
from pgcore.policies import Critic, Network, Policy
from pgcore.record import UpdateRecord
from pgcore.rollout import Lanes, Rollout, collect
from pgcore.tasks import make_environment
from pgcore.updates import UPDATES, Batch, Learner, Progress

LONGEST_EPISODE = 100_000


class Trainer:
    """One run: `for record in Trainer(config): …` yields an UpdateRecord an update, until solved or out of budget.

    All chance comes from one seed: two trainers with one config yield identical records (but for `wall_s`). `state()` and
    `restore()` continue a run bit for bit. Raises BadInput for a task it cannot learn, TrainingDiverged when the gradient
    stops being a number; the policy is then the last good one.
    """

    def __init__(self, config: TrainConfig, prices: PriceSeries | None = None) -> None:
        self.config = config
        self.estimator = ESTIMATORS[config.estimator]
        self.env = make_environment(config, prices)
        self.rng = np.random.default_rng(config.seed)
        self.learner = make_learner(config, self.env)
        self.statistics = RunningStatistics(self.policy.network.mean.shape)
        self.lanes = Lanes.start(self.env.reset(seed=config.seed)[0])
        self.recent_returns: deque[float] = deque(maxlen=100)
        self.update = self.env_steps = self.episodes = 0
        self.wall_s = 0.0

    @property
    def policy(self) -> Policy:
        return self.learner.policy.network

    @property
    def solved(self) -> bool:
        """Whether the mean return of the last 100 finished episodes has reached the task's threshold."""
        threshold = self.config.solved_at
        return threshold is not None and len(self.recent_returns) == 100 and float(np.mean(self.recent_returns)) >= threshold

    @property
    def finished(self) -> bool:
        return self.env_steps >= self.config.max_steps or (self.config.stop_when_solved and self.solved)

    def __iter__(self) -> Iterator[UpdateRecord]:
        while not self.finished:
            yield self.step()

    def step(self) -> UpdateRecord:
        """One update: play, judge, weigh, improve; then tell how it went."""
        started = time.perf_counter()
        rollout, returns = self._collect()
        rollout = self._judge(rollout)
        weight = self.estimator.weight(
            rollout, self.config.discount, **{s: getattr(self.config, s) for s in self.estimator.asks_for}
        )
        progress = self._improve(rollout, weight)
        self.update += 1
        self.env_steps += rollout.steps
        self.episodes += len(returns)
        self.recent_returns.extend(returns)
        self.wall_s += time.perf_counter() - started
        return self._record(rollout, returns, weight, progress)

    def _collect(self) -> tuple[Rollout, NDArray[np.floating]]:
        whole = self.estimator.gathers == "episodes"
        if whole and self.update > 0:
            self.lanes = Lanes.start(self.env.reset()[0])
        left = -(-(self.config.max_steps - self.env_steps) // self.config.num_envs)
        steps = LONGEST_EPISODE if whole else min(self.config.rollout_steps, max(left, 1))
        rollout, self.lanes, returns = collect(self.env, lambda obs: self.policy.act(obs, self.rng), self.lanes, steps, whole)
        return rollout, returns

    def _judge(self, rollout: Rollout) -> Rollout:
        critic = self.learner.critic
        if critic is None:
            return rollout
        critic.network.measure(rollout.reward[rollout.valid])
        seen = np.concatenate([rollout.obs, rollout.next_obs[-1:]])
        with torch.no_grad():
            value = critic.network.value(_tensor(seen)).double().numpy()
        return rollout.with_values(value[:-1], value[1:])

    def _improve(self, rollout: Rollout, weight: NDArray[np.floating]) -> Progress:
        config, valid = self.config, rollout.valid
        target = (weight + rollout.value)[valid]
        weight = weight[valid]
        if config.normalise_advantages and len(weight) > 1:
            weight = (weight - weight.mean()) / (weight.std() + 1e-8)
        if config.discount_weighting and not self.estimator.from_start:
            weight = weight * config.discount ** rollout.time[valid]
        batch = Batch(
            _tensor(rollout.obs[valid]),
            torch.from_numpy(rollout.action[valid]),
            _tensor(weight),
            _tensor(target),
            int(rollout.valid[0].sum()) if self.estimator.gathers == "episodes" else None,
        )
        try:
            progress = UPDATES[self.estimator.update](self.learner, batch, config, self.learning_rate, self.rng)
        except TrainingDiverged as error:
            raise TrainingDiverged(
                f"Update {self.update + 1}: {error}. Most likely the learning rate {config.learning_rate:g} is too high:"
                f" try {config.learning_rate / 10:g}, or set a gradient clip."
            ) from None
        if config.normalise_observations:
            self.statistics.add(rollout.obs[valid])
            for network in self._networks():
                network.normalise_by(self.statistics.mean, self.statistics.scale)
        return progress

    @property
    def learning_rate(self) -> float:
        """The step size of the next update under the schedule."""
        left = 1 - self.env_steps / self.config.max_steps if self.config.learning_rate_schedule == "linear" else 1
        return self.config.learning_rate * left

    def _record(
        self, rollout: Rollout, returns: NDArray[np.floating], weight: NDArray[np.floating], progress: Progress
    ) -> UpdateRecord:
        valid = rollout.valid
        action, weight = rollout.action[valid], weight[valid]
        if self.policy.kind == "categorical":
            share = np.bincount(action, minlength=self.env.single_action_space.n) / len(action)
        else:
            share = action.mean(axis=0)
        spread = np.var(weight + rollout.value[valid])
        explained = 1 - np.var(weight) / spread if self.learner.critic is not None and spread > 0 else np.nan
        return UpdateRecord(
            update=self.update,
            env_steps=self.env_steps,
            episodes=self.episodes,
            wall_s=self.wall_s,
            return_mean=float(np.mean(self.recent_returns)) if self.recent_returns else float("nan"),
            episode_returns=tuple(returns.tolist()),
            action_share=tuple(share.tolist()),
            entropy=progress.entropy,
            kl=progress.kl,
            grad_norm=progress.grad_norm,
            policy_loss=progress.policy_loss,
            value_loss=progress.value_loss,
            explained_variance=float(explained),
            weight_std=float(weight.std()),
            learning_rate=self.learning_rate,
        )

    def _learnables(self) -> list[Learnable[Any]]:
        return [part for part in (self.learner.policy, self.learner.critic) if part is not None]

    def _networks(self) -> list[Network]:
        critic = self.learner.critic
        return [self.policy.network, *([critic.network] if critic is not None else [])]

    def state(self) -> bytes:
        """Everything that decides how the run goes on, as safetensors bytes."""
        return snapshot.pack(
            {
                "counters": [self.update, self.env_steps, self.episodes, self.wall_s, list(self.recent_returns)],
                "rng": self.rng.bit_generator.state,
                "env": snapshot.take(self.env),
                "lanes": vars(self.lanes),
                "statistics": vars(self.statistics),
                "networks": [[a.numpy() for a in _everything(part)] for part in self._learnables()],
            }
        )

    def restore(self, state: bytes) -> None:
        """Continue from what `state()` returned, in a trainer of the same config."""
        saved = snapshot.unpack(state)
        self.update, self.env_steps, self.episodes, self.wall_s, recent = saved["counters"]
        self.recent_returns = deque(recent, maxlen=100)
        self.rng.bit_generator.state = saved["rng"]
        snapshot.put_back(self.env, saved["env"])
        self.lanes = Lanes(**saved["lanes"])
        vars(self.statistics).update(saved["statistics"])
        for part, arrays in zip(self._learnables(), saved["networks"], strict=True):
            for now, then in zip(_everything(part), arrays, strict=True):
                now.copy_(torch.from_numpy(then))
        if self.statistics.rows:
            for network in self._networks():
                network.normalise_by(self.statistics.mean, self.statistics.scale)


class RunningStatistics:
    """Mean and deviation of all observations so far (Chan, Golub & LeVeque 1983)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.rows = 0
        self.mean = np.zeros(shape)
        self.squares = np.zeros(shape)

    def add(self, obs: NDArray[np.floating]) -> None:
        rows, mean = len(obs), obs.mean(axis=0, dtype=np.float64)
        total = self.rows + rows
        shift = mean - self.mean
        self.squares = self.squares + ((obs - mean) ** 2).sum(axis=0) + shift**2 * self.rows * rows / total
        self.mean = self.mean + shift * rows / total
        self.rows = total

    @property
    def scale(self) -> NDArray[np.float64]:
        return np.sqrt(self.squares / max(self.rows, 1)) + 1e-8


def make_learner(config: TrainConfig, env: VectorEnv) -> Learner:
    """Networks and optimisers as the config asks for them, started from its seed."""
    torch.manual_seed(config.seed)
    observations = int(np.prod(env.single_observation_space.shape))
    actions = env.single_action_space
    hidden = config.hidden_sizes if config.policy == "mlp" else ()
    if isinstance(actions, spaces.Discrete):
        policy = Policy(observations, int(actions.n), "categorical", hidden, config.activation)
    else:
        policy = Policy(observations, int(np.prod(actions.shape)), "gaussian", hidden, config.activation)
    critic = None
    if ESTIMATORS[config.estimator].critic:
        critic = Learnable(Critic(observations, config.hidden_sizes, config.activation))
    return Learner(Learnable(policy, config.optimiser), critic)


def _everything(part: Learnable[Any]) -> list[Tensor]:
    """All that changes as a network learns."""
    return [part.theta, *part.moments, *part.network.buffers()]


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
