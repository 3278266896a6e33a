"""What happened: a batch of experience as raw facts, and the loop that gathers it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]

Stretch = dict[str, NDArray[Any]]  # what came of k steps: obs [k, N, …] after each, action, reward, terminated, ended

STRETCH_S = 0.5
LONGEST_EPISODE = 10_000  # where whole episodes are wanted and a task never ends one


@dataclass(frozen=True, eq=False)
class Rollout:
    """T steps of N environments side by side, time-major: what was seen, done and paid, and nothing derived.

    obs, next_obs [T, N, …]; action [T, N] or [T, N, A]; reward, value, next_value [T, N].
    `next_obs[t]` is the true observation after action t, also where the episode ended, and `next_value` its V, so a time
    limit needs no special case. `terminated` (the task says it is over) stops the bootstrap; `ended` (terminated or
    truncated) stops every recursion over time. `valid` is False on rows that no policy decided: the step Gymnasium's
    NEXT_STEP autoreset spends on resetting, and steps after the first episode where whole episodes are gathered.
    `time` counts the steps since the episode began.
    """

    obs: FloatArray
    next_obs: FloatArray
    action: NDArray[Any]
    reward: FloatArray
    terminated: BoolArray
    ended: BoolArray
    valid: BoolArray
    time: NDArray[np.integer]
    value: FloatArray
    next_value: FloatArray

    @classmethod
    def of_steps(
        cls, obs: FloatArray, action: NDArray[Any], reward: FloatArray, terminated: BoolArray, next_obs: FloatArray
    ) -> "Rollout":
        """B steps that do not follow each other, obs [B, …], reward [B] and so on, as a rollout of one row, [1, B]."""
        unjudged, row = np.zeros((1, len(reward))), (1, len(reward))
        over = terminated.reshape(row)
        return cls(
            obs=obs[None],
            next_obs=next_obs[None],
            action=action[None],
            reward=reward[None],
            terminated=over,
            ended=over,
            valid=np.ones(row, dtype=bool),
            time=np.zeros(row, dtype=np.int64),
            value=unjudged,
            next_value=unjudged,
        )

    def pieces(self, most: int) -> "list[Rollout]":
        """The same facts, at most so many environments at once."""
        count = len(self.reward[0])
        if count <= most:
            return [self]
        return [Rollout(*(fact[:, at : at + most] for fact in vars(self).values())) for at in range(0, count, most)]

    def with_values(self, value: FloatArray, next_value: FloatArray) -> "Rollout":
        """The same facts, judged by a critic: V(obs) and V(next_obs), both [T, N]."""
        return replace(self, value=value, next_value=next_value)

    @property
    def steps(self) -> int:
        """How many decisions it holds."""
        return int(self.valid.sum())


@dataclass
class Lanes:
    """Where N environments stand between two rollouts."""

    obs: FloatArray
    resetting: BoolArray
    time: NDArray[np.int64]
    episode_return: NDArray[np.float64]

    @classmethod
    def start(cls, obs: FloatArray) -> "Lanes":
        n = len(obs)
        return cls(obs, np.zeros(n, dtype=bool), np.zeros(n, dtype=np.int64), np.zeros(n))


def collect(
    env: "VectorEnv",
    act: Callable[[FloatArray], NDArray[Any]],
    lanes: Lanes,
    steps: int,
    whole_episodes: bool = False,
    do: Callable[[Callable[[], Stretch]], Stretch] = lambda play: play(),
) -> tuple[Rollout, Lanes, FloatArray]:
    """Play `steps` steps in every environment; return the rollout, where it stopped, and the finished returns.

    With `whole_episodes`, play until the first episode of every environment has ended and mark the later steps invalid:
    cutting at a step budget instead would favour short episodes. `steps` is then only a cap, a time limit for the tasks
    that have none. The environment must reset in NEXT_STEP mode: the step after an ending ignores its action and returns
    the first observation of the next episode. Where every one is about to do so, a step more is played, so that a rollout
    always holds a decision.

    It plays in stretches of half a second, each by way of `do`, as that of a Turn; where they are cut makes no difference.
    """
    obs, open_lanes = lanes.obs, ~lanes.resetting
    left = steps + bool(lanes.resetting.all())
    stretches: list[Stretch] = []
    while left and (open_lanes.any() or not whole_episodes):
        stretches.append(stretch := do(partial(_play, env, act, obs, left, open_lanes if whole_episodes else None)))
        obs, left = stretch["obs"][-1], left - len(stretch["ended"])
        open_lanes = open_lanes & ~stretch["ended"].any(axis=0)
    facts = {name: np.concatenate([stretch[name] for stretch in stretches]) for name in stretches[0]}
    ended = facts["ended"]
    over_before = np.concatenate([lanes.resetting[None], ended[:-1]])
    if whole_episodes:
        valid = ~np.maximum.accumulate(over_before)
        ended[-1] |= open_lanes
    else:
        valid = ~over_before
    seen = np.concatenate([lanes.obs[None], facts.pop("obs")])
    rollout = _assemble(seen, **facts, valid=valid, lanes=lanes)
    returns, carried = _episode_returns(rollout, lanes.episode_return)
    following = np.where(rollout.ended[-1] | ~rollout.valid[-1], 0, rollout.time[-1] + 1)
    return rollout, Lanes(seen[-1], stretches[-1]["ended"][-1], following, carried), returns


def _play(
    env: "VectorEnv", act: Callable[[FloatArray], NDArray[Any]], obs: FloatArray, steps: int, open_lanes: BoolArray | None
) -> Stretch:
    """At most so many steps or half a second, or until each of the open lanes has ended an episode."""
    played: dict[str, list[NDArray[Any]]] = {name: [] for name in ("obs", "action", "reward", "terminated", "ended")}
    enough_at = time.monotonic() + STRETCH_S
    for _ in range(steps):
        action = act(obs)
        obs, reward, terminated, truncated, _ = env.step(action)
        ended = terminated | truncated
        for kept, new in zip(played.values(), (obs, action, reward, terminated, ended), strict=True):
            kept.append(new)
        if open_lanes is not None and not (open_lanes := open_lanes & ~ended).any():
            break
        if time.monotonic() > enough_at:
            break
    return {name: np.stack(kept) for name, kept in played.items()}


def _assemble(
    seen: FloatArray,
    action: NDArray[Any],
    reward: FloatArray,
    terminated: BoolArray,
    ended: BoolArray,
    valid: BoolArray,
    lanes: Lanes,
) -> Rollout:
    rows = np.arange(len(reward))[:, None]
    starts = np.zeros(reward.shape, dtype=np.int64)
    starts[0] = -lanes.time
    starts[1:] = np.where(ended[:-1] | ~valid[:-1], rows[1:], -lanes.time)
    unjudged = np.zeros(reward.shape)
    return Rollout(
        obs=seen[:-1],
        next_obs=seen[1:],
        action=action,
        reward=reward.astype(np.float64),
        terminated=terminated & valid,
        ended=ended & valid,
        valid=valid,
        time=rows - np.maximum.accumulate(starts),
        value=unjudged,
        next_value=unjudged,
    )


def _episode_returns(rollout: Rollout, carried: NDArray[np.float64]) -> tuple[FloatArray, NDArray[np.float64]]:
    """Undiscounted returns of the episodes that ended, in the order they ended, and what each open one has so far."""
    total = np.cumsum(np.where(rollout.valid, rollout.reward, 0.0), axis=0) + carried
    lane, step = np.nonzero(rollout.ended.T)
    at_end = total[step, lane]
    same_lane = np.diff(lane, prepend=-1) == 0
    returns = at_end - np.where(same_lane, np.roll(at_end, 1), 0.0)
    left = total[-1].copy()
    np.subtract.at(left, lane, returns)
    return returns[np.lexsort((lane, step))], left
