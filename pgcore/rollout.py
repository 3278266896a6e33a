"""What happened: a batch of experience as raw facts, and the loop that gathers it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]

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
) -> tuple[Rollout, Lanes, FloatArray]:
    """Play `steps` steps in every environment; return the rollout, where it stopped, and the finished returns.

    With `whole_episodes`, play until the first episode of every environment has ended and mark the later steps invalid:
    cutting at a step budget instead would favour short episodes. `steps` is then only a cap, a time limit for the tasks
    that have none. The environment must reset in NEXT_STEP mode: the step after an ending ignores its action and returns
    the first observation of the next episode. Where every one is about to do so, a step more is played, so that a rollout
    always holds a decision.
    """
    obs, action, reward, terminated, ended, valid = [lanes.obs], [], [], [], [], []
    unfinished = ~lanes.resetting
    resetting = lanes.resetting
    for _ in range(steps + bool(resetting.all())):
        chosen = act(obs[-1])
        next_obs, paid, over, cut, _ = env.step(chosen)
        done = over | cut
        valid.append(unfinished if whole_episodes else ~resetting)
        obs.append(next_obs)
        action.append(chosen)
        reward.append(paid)
        terminated.append(over)
        ended.append(done)
        resetting = done
        if whole_episodes:
            unfinished = unfinished & ~done
            if not unfinished.any():
                break
    else:
        if whole_episodes:
            ended[-1] = ended[-1] | unfinished
    seen = np.stack(obs)
    facts = np.stack(action), np.stack(reward), np.stack(terminated), np.stack(ended), np.stack(valid)
    rollout = _assemble(seen, *facts, lanes)
    returns, carried = _episode_returns(rollout, lanes.episode_return)
    following = np.where(rollout.ended[-1] | ~rollout.valid[-1], 0, rollout.time[-1] + 1)
    return rollout, Lanes(seen[-1], resetting, following, carried), returns


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
