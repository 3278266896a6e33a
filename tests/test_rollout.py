"""collect(): what is kept of an environment that resets itself on the step after an ending."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from pgcore import rollout as rollout_module
from pgcore.rollout import LONGEST_EPISODE, STRETCH_S, Lanes, collect
from tests.playgrounds import Countdown, Endless


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


def test_a_task_that_never_ends_is_cut_where_whole_episodes_are_wanted():
    rollout, _, returns = gather(Endless(3), 40, whole=True)
    assert returns.tolist() == [40.0, 40.0, 40.0]
    assert rollout.ended[-1].all()
    assert not rollout.terminated.any(), "cut by us, not over: the critic bridges it"
    assert LONGEST_EPISODE > 1000


def test_a_cut_does_not_touch_episodes_that_ended_before_it():
    rollout, _, returns = gather(Countdown([2, 50]), 5, whole=True)
    assert returns.tolist() == [3.0, 15.0]
    assert rollout.ended.sum() == 2


def test_a_rollout_holds_a_decision_even_where_all_episodes_have_just_ended():
    env = Countdown([2, 2])
    _, lanes, _ = gather(env, 2)
    assert lanes.resetting.all()
    rollout, _, _ = collect(env, idle, lanes, 1)
    assert rollout.valid.tolist() == [[False, False], [True, True]]
    assert rollout.time[1].tolist() == [0, 0]


@pytest.mark.parametrize("whole", [False, True])
def test_long_play_is_cut_into_stretches_and_the_cuts_make_no_difference(monkeypatch, whole):
    at_once = gather(Countdown([3, 7, 4]), 20, whole=whole)
    clock = SimpleNamespace(now=0.0)

    def monotonic():
        clock.now += STRETCH_S / 2  # a step in the environment takes so long
        return clock.now

    monkeypatch.setattr(rollout_module, "time", SimpleNamespace(monotonic=monotonic))
    stretches = []
    env = Countdown([3, 7, 4])
    cut = collect(env, idle, Lanes.start(env.reset()[0]), 20, whole, lambda play: stretches.append(play()) or stretches[-1])
    assert max(len(stretch["ended"]) for stretch in stretches) <= 3
    assert len(stretches) > 1
    for one, other in zip(everything(*at_once), everything(*cut), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def everything(rollout, lanes, returns):
    return [*vars(rollout).values(), *vars(lanes).values(), returns]
