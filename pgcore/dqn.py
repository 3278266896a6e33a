"""Deep Q-learning, the value-based rival: learn what actions are worth from remembered steps, and take the best."""

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgcore import snapshot
from pgcore.config import TrainConfig
from pgcore.estimators import ESTIMATORS
from pgcore.market.prices import PriceSeries
from pgcore.observations import RunningStatistics
from pgcore.on_policy import action_share, check_facts, make_policy, measure
from pgcore.optimisers import Learnable
from pgcore.policies import Network, Policy
from pgcore.record import Played, Progress
from pgcore.rollout import FloatArray, Lanes, Rollout, collect
from pgcore.tasks import make_environment
from pgcore.turn import Turn


class Memory:
    """The last `size` steps, each with what came next; the oldest gives way to the newest."""

    def __init__(self, size: int, inputs: int) -> None:
        self.size, self.added = size, 0
        self.obs, self.next_obs = np.empty((2, size, inputs), dtype=np.float32)
        self.action = np.empty(size, dtype=np.int64)
        self.reward = np.empty(size)
        self.terminated = np.empty(size, dtype=bool)

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """What is known of each step, [size, …] each, in the order in which Rollout.of_steps takes it."""
        return self.obs, self.action, self.reward, self.terminated, self.next_obs

    @property
    def held(self) -> int:
        return min(self.added, self.size)

    def add(self, rollout: Rollout) -> None:
        """Keep the decisions of a rollout; the row that an autoreset spends on resetting is none."""
        valid = rollout.valid
        steps = (rollout.obs, rollout.action, rollout.reward, rollout.terminated, rollout.next_obs)
        place = (self.added + np.arange(rollout.steps)) % self.size
        for column, values in zip(self.columns, steps, strict=True):
            column[place] = values[valid]
        self.added += rollout.steps

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Where steps are kept that are drawn evenly, with replacement."""
        return rng.integers(self.held, size=count)

    def steps(self, rows: NDArray[np.int64]) -> Rollout:
        """What is kept there."""
        return Rollout.of_steps(*(column[rows] for column in self.columns))


class Replay:
    """Plays a stretch with chance ε of a random action, remembers it, then takes gradient steps on what it remembers."""

    def __init__(self, config: TrainConfig, prices: PriceSeries | None) -> None:
        self.config = config
        self.env = make_environment(config, prices)
        self.rng = np.random.default_rng(config.seed)
        self.learnable = Learnable(make_policy(config, self.env, "values"), config.optimiser)
        self.target = copy.deepcopy(self.policy.network)
        self.statistics = RunningStatistics(len(self.target.mean))
        self.memory = Memory(config.replay_size, len(self.target.mean))
        self.lanes = Lanes.start(self.env.reset(seed=config.seed)[0])
        self.reward_unit = 0.0
        self.taken = 0
        self.turn = Turn()

    @property
    def policy(self) -> Policy:
        return self.learnable.network

    def advance(self, env_steps: int) -> Played:
        """One stretch of play and `gradient_steps`.

        Raises TrainingDiverged; the policy is then again the last one whose losses and gradients were numbers.
        """
        with self.turn:
            seen = self._play(env_steps)
            progress = Progress(entropy=seen["entropy"])
            if self.memory.held >= self.config.replay_start:
                with self.learnable.proving(self.turn):
                    progress = self._improve(progress.entropy, self.config.learning_rate_at(env_steps))
            return Played(seen["steps"], seen["returns"], tuple(seen["action_share"]), progress)

    def _play(self, env_steps: int) -> dict[str, Any]:
        """A stretch of play, remembered, and what it was like."""
        config, turn = self.config, self.turn

        def begin() -> dict[str, Any]:
            chance = self._exploration(env_steps)
            self.policy.exploration.fill_(chance)
            return {"chance": chance, "lanes": vars(self.lanes)}

        begun = turn.do(begin)
        left = max(1, min(config.rollout_steps, -(-(config.max_steps - env_steps) // config.num_envs)))
        rollout, end, returns = collect(
            self.env, lambda obs: self.policy.choose(obs, self.rng), Lanes(**begun["lanes"]), left, do=turn.do
        )

        def remember() -> None:
            self.lanes = end
            check_facts(rollout.obs, rollout.next_obs, rollout.reward)
            self.memory.add(rollout)
            if config.normalise_observations:
                self.statistics.add(rollout.obs[rollout.valid])
                self.statistics.normalise(self.policy.network, self.target)
            if not self.reward_unit:
                self.reward_unit = float(np.sqrt(np.mean(rollout.reward[rollout.valid] ** 2)))

        turn.do(remember)
        return {
            "steps": rollout.steps,
            "returns": returns,
            "action_share": action_share(self.policy, rollout.action[rollout.valid]),
            "entropy": _entropy(begun["chance"], self.policy.actions),
        }

    def _exploration(self, env_steps: int) -> float:
        """ε: 1 until there is enough to learn from, then on a straight line down to its last value."""
        first, last = self.config.exploration_share * self.config.max_steps, self.config.final_exploration
        if self.memory.held < self.config.replay_start:
            return 1.0
        return max(last, 1 - (1 - last) * env_steps / first) if first else last

    def _improve(self, entropy: float, rate: float) -> Progress:
        config = self.config

        def draw() -> NDArray[np.int64]:
            if self.taken % config.target_every == 0:
                self.target.load_state_dict(self.policy.network.state_dict())
            self.taken += 1
            return self.memory.draw(config.replay_batch, self.rng)

        went = []
        for _ in range(config.gradient_steps):
            steps, unit = self.memory.steps(self.turn.do(draw)), self.reward_unit or 1.0
            judged, norm = learn(self.learnable, self.target, steps, unit, config, rate, self.turn)
            went.append((norm, float(np.mean(huber(judged[1])))))
        norm, loss = (float(np.mean(numbers)) for numbers in zip(*went, strict=True))
        spread = measure(steps.with_values(judged[:1], judged[:1]), judged[1:], judged=True)
        return Progress(entropy=entropy, grad_norm=norm, value_loss=loss, learning_rate=rate, **spread)

    def state(self) -> dict[str, Any]:
        """Everything that decides how the loop goes on, as `snapshot.pack` takes it."""
        return {
            "rng": self.rng.bit_generator.state,
            "env": snapshot.take(self.env),
            "lanes": vars(self.lanes),
            "statistics": self.statistics.table,
            "memory": [self.memory.added, *(column[: self.memory.held] for column in self.memory.columns)],
            "counters": [self.reward_unit, self.taken],
            "network": [tensor.numpy() for tensor in self.learnable.everything()],
            "target": [tensor.numpy() for tensor in self.target.state_dict().values()],
            "turn": self.turn.state(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.rng.bit_generator.state = saved["rng"]
        snapshot.put_back(self.env, saved["env"])
        self.lanes = Lanes(**saved["lanes"])
        self.statistics.table = saved["statistics"]
        self.memory.added, *columns = saved["memory"]
        for column, then in zip(self.memory.columns, columns, strict=True):
            column[: self.memory.held] = then
        self.reward_unit, self.taken = saved["counters"]
        self.learnable.put_back(saved["network"])
        for now, tensor in zip(self.target.state_dict().values(), saved["target"], strict=True):
            now.copy_(torch.from_numpy(tensor))
        self.statistics.normalise(self.policy.network, self.target)
        self.turn.restore(saved.get("turn", []))


@torch.no_grad()
def learn(
    learnable: Learnable[Policy], target: Network, steps: Rollout, unit: float, config: TrainConfig, rate: float, turn: Turn
) -> tuple[FloatArray, float]:
    """One step that lessens the Huber loss of r + γ max_a Q⁻(s′, a) − Q(s, a) over B remembered steps, [1, B].

    Its gradient is that difference, cut to ±1, times ∇Q(s, a); the target is held fixed. Rewards count in their usual size
    `unit`, so that the learning rate suits any task. Returns Q(s, a) over the differences, [2, B], and the gradient's norm.
    Raises TrainingDiverged where a difference is no number: its gradient would not show it, since it is cut to ±1 too.
    """
    network, count = learnable.network.network, steps.reward.size

    def pull(part: Rollout) -> FloatArray:
        trace = network.trace(_rows(part.obs))
        action = torch.from_numpy(part.action[0]).unsqueeze(1)
        value = trace[-1].gather(1, action).T.double().numpy()
        best = target(_rows(part.next_obs)).amax(1).unsqueeze(0).double().numpy()
        judged = replace(part, reward=part.reward / unit, value=value, next_value=best)
        with np.errstate(invalid="ignore"):  # `climb` says it in words
            error = ESTIMATORS["dqn"].weight(judged, config.discount)
        up = torch.from_numpy(np.clip(error, -1.0, 1.0).astype(np.float32)) / count
        network.pull_back(trace, torch.zeros_like(trace[-1]).scatter_(1, action, up.T))
        return np.concatenate([value, error])

    judged = np.concatenate(learnable.add_up(turn, steps.pieces(learnable.rows_at_once), pull), axis=1)
    return judged, turn.do(lambda: learnable.climb(rate, config.gradient_clip, float(np.abs(judged[1]).sum())))


def huber(error: FloatArray) -> FloatArray:
    """½ x² up to |x| = 1, then |x| − ½ (Huber 1964)."""
    size = np.abs(error)
    return np.where(size <= 1, 0.5 * size**2, size - 0.5)


def _entropy(chance: float, actions: int) -> float:
    """Of the best action but for a chance of any, in nats."""
    best, other = 1 - chance + chance / actions, chance / actions
    return -sum(n * p * math.log(p) for n, p in ((1, best), (actions - 1, other)) if p > 0)


def _rows(obs: FloatArray) -> Tensor:
    return torch.from_numpy(obs[0])
