"""Trainer: the one front door to every way of learning; it counts, records and knows when to stop."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from pgcore import snapshot
from pgcore.asynchronous import Asynchronous
from pgcore.config import TrainConfig
from pgcore.dqn import Replay
from pgcore.estimators import ESTIMATORS
from pgcore.listing import Listing
from pgcore.market.prices import PriceSeries
from pgcore.on_policy import OnPolicy
from pgcore.optimisers import TrainingDiverged
from pgcore.policies import Policy
from pgcore.record import NAN, Played, UpdateRecord
from pgcore.turn import Turn


class Loop(Protocol):
    """How play and improvement take turns. `advance` does one turn, so many steps of the budget being used."""

    @property
    def policy(self) -> Policy: ...
    @property
    def turn(self) -> Turn: ...
    def advance(self, env_steps: int) -> Played: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, saved: dict[str, Any]) -> None: ...


LOOPS: Mapping[str, Callable[[TrainConfig, PriceSeries | None], Loop]] = {
    "on-policy": OnPolicy,
    "asynchronous": Asynchronous,
    "replay": Replay,
    "listing": Listing,
}


class Trainer:
    """One run: `for record in Trainer(config): …` yields an UpdateRecord an update, until solved or out of budget.

    All chance comes from one seed: two trainers with one config yield identical records (but for `wall_s`), and `state()`
    and `restore()` continue a run bit for bit, except where the estimator's row says that it is not `repeatable`. Raises
    BadInput for a task it cannot learn, TrainingDiverged (a BadInput) when a loss or a gradient stops being a number; the
    policy is then the last good one.
    """

    def __init__(self, config: TrainConfig, prices: PriceSeries | None = None) -> None:
        self.config = config
        self.loop = LOOPS[ESTIMATORS[config.estimator].loop](config, prices)
        self.recent_returns: deque[float] = deque(maxlen=100)
        self.update = self.env_steps = self.episodes = 0
        self.wall_s = 0.0
        self._counted_at: float | None = None

    @property
    def policy(self) -> Policy:
        return self.loop.policy

    @property
    def solved(self) -> bool:
        """Whether the mean return of the last 100 finished episodes has reached the task's threshold."""
        threshold = self.config.solved_at
        return threshold is not None and len(self.recent_returns) == 100 and float(np.mean(self.recent_returns)) >= threshold

    @property
    def finished(self) -> bool:
        return self.env_steps >= self.config.max_steps or (self.config.stop_when_solved and self.solved)

    @property
    def is_midway(self) -> bool:
        """Whether it stands within an update, where `restore` may have put it: its policy is not the one before nor after."""
        return bool(self.loop.turn.given)

    def __iter__(self) -> Iterator[UpdateRecord]:
        while not self.finished:
            yield self.step()

    def step(self) -> UpdateRecord:
        """One update, and how it went."""
        self._counted_at = time.perf_counter()
        try:
            played = self.loop.advance(self.env_steps)
        except TrainingDiverged as error:
            raise TrainingDiverged(f"Update {self.update + 1} went wrong: {error}.") from None
        finally:
            self._count_time()
            self._counted_at = None
        self.update += 1
        self.env_steps += played.steps
        self.episodes += len(played.returns)
        self.recent_returns.extend(played.returns.tolist())
        return self._record(played)

    def between_steps(self, act: Callable[[], object]) -> None:
        """From now on do that between two steps of an update too, where `state()` may be asked for as between two updates.

        The time it takes, which may be a pause, is none that was spent on training. What it raises leaves the update.
        """

        def aside() -> None:
            self._count_time()
            self._counted_at = None
            act()
            self._counted_at = time.perf_counter()

        self.loop.turn.between_steps = aside

    def _count_time(self) -> None:
        if self._counted_at is not None:
            before, self._counted_at = self._counted_at, time.perf_counter()
            self.wall_s += self._counted_at - before

    def _record(self, played: Played) -> UpdateRecord:
        progress = played.progress
        return UpdateRecord(
            update=self.update,
            env_steps=self.env_steps,
            episodes=self.episodes,
            wall_s=self.wall_s,
            return_mean=float(np.mean(self.recent_returns)) if self.recent_returns else NAN,
            episode_returns=tuple(played.returns.tolist()),
            action_share=played.action_share,
            entropy=progress.entropy,
            kl=progress.kl,
            grad_norm=progress.grad_norm,
            policy_loss=progress.policy_loss,
            value_loss=progress.value_loss,
            explained_variance=progress.explained_variance,
            weight_std=progress.weight_std,
            learning_rate=progress.learning_rate,
        )

    def state(self) -> bytes:
        """Everything that decides how the run goes on, as safetensors bytes."""
        self._count_time()
        counters = [self.update, self.env_steps, self.episodes, self.wall_s, list(self.recent_returns)]
        return snapshot.pack({"counters": counters, "loop": self.loop.state()})

    def restore(self, state: bytes) -> None:
        """Continue from what `state()` returned, in a trainer of the same config."""
        saved = snapshot.unpack(state)
        self.update, self.env_steps, self.episodes, self.wall_s, recent = saved["counters"]
        self.recent_returns = deque(recent, maxlen=100)
        self.loop.restore(saved["loop"])
