"""collect(): what is kept of an environment that resets itself on the step after an ending."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

from pgcore.rollout import Lanes, collect


class Countdown(VectorEnv):
    """Lane i ends after lengths[i] steps (terminated, or truncated where told) and pays 1, 2, 3, …; it ignores actions."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, lengths, truncates=False):
        self.num_envs = len(lengths)
        self.lengths = np.array(lengths)
        self.truncates = truncates

    def reset(self, *, seed=None, options=None):
        self.time = np.zeros(self.num_envs, dtype=int)
        self.done = np.zeros(self.num_envs, dtype=bool)
        return self._see(), {}

    def _see(self):
        return self.time[:, None].astype(np.float32)

    def step(self, actions):
        self.time = np.where(self.done, 0, self.time + 1)
        reward = np.where(self.done, 0.0, self.time)
        self.done = ~self.done & (self.time == self.lengths)
        never = np.zeros(self.num_envs, dtype=bool)
        over, cut = (never, self.done) if self.truncates else (self.done, never)
        return self._see(), reward, over, cut, {}


def idle(obs):
    return np.zeros(len(obs), dtype=np.int64)


def gather(env, steps, lanes=None, whole=False):
    lanes = lanes or Lanes.start(env.reset()[0])
    return collect(env, idle, lanes, steps, whole)


def test_the_row_after_an_ending_is_dropped_and_the_ending_row_sees_the_true_last_observation():
    rollout, _, returns = gather(Countdown([2]), 6)
    assert rollout.valid[:, 0].tolist() == [True, True, False, True, True, False]
    assert rollout.ended[:, 0].tolist() == [False, True, False, False, True, False]
    assert rollout.next_obs[1, 0, 0] == 2, "V(next_obs) at the ending is that of the final state, not of the next episode"
    assert rollout.obs[3, 0, 0] == 0
    assert returns.tolist() == [3.0, 3.0]
    assert rollout.steps == 4


def test_a_time_limit_ends_without_terminating():
    rollout, _, _ = gather(Countdown([2], truncates=True), 2)
    assert rollout.ended[1, 0]
    assert not rollout.terminated.any()


def test_no_valid_row_follows_an_ending():
    env = gymnasium.make_vec("CartPole-v1", num_envs=8)
    rollout, _, _ = collect(env, idle, Lanes.start(env.reset(seed=0)[0]), 100)
    assert rollout.ended.sum() > 10
    assert not (rollout.valid[1:] & rollout.ended[:-1]).any()


def test_time_counts_steps_since_the_episode_began_across_rollouts():
    env = Countdown([3])
    first, lanes, _ = gather(env, 2)
    second, _, _ = collect(env, idle, lanes, 4)
    assert first.time[:, 0].tolist() == [0, 1]
    assert second.time[second.valid].tolist() == [2, 0, 1]


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_returns_of_episodes_that_span_rollouts_are_whole(cut):
    env = Countdown([3, 2])
    lanes, seen = Lanes.start(env.reset()[0]), []
    for _ in range(12 // cut):
        _, lanes, returns = collect(env, idle, lanes, cut)
        seen += returns.tolist()
    assert set(seen) == {6.0, 3.0}
    assert len(seen) >= 5


def test_whole_episodes_keep_the_first_of_every_lane_and_nothing_after_it():
    rollout, _, returns = gather(Countdown([1, 3, 2]), 100, whole=True)
    assert len(rollout.reward) == 3
    assert rollout.valid.sum(axis=0).tolist() == [1, 3, 2]
    assert returns.tolist() == [1.0, 3.0, 6.0], "in the order they ended"
    assert rollout.ended.sum() == 3


def test_every_lane_counts_once_whatever_its_length():
    """Cutting at a step budget would hold many short episodes and few long ones."""
    rollout, _, returns = gather(Countdown([1] * 7 + [50]), 1000, whole=True)
    assert len(returns) == 8
    assert rollout.valid[0].all()


def test_first_observations_of_successive_episodes_differ():
    """Reseeding at each reset would replay one episode for ever."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=1)
    rollout, _, _ = collect(env, idle, Lanes.start(env.reset(seed=0)[0]), 60)
    starts = rollout.obs[(rollout.time == 0) & rollout.valid]
    assert len(starts) >= 3
    assert len(np.unique(starts, axis=0)) == len(starts)
