"""Our CartPole, Acrobot, MountainCar and Pendulum are Gymnasium's, only faster: each step, each ending, each beginning."""

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from pgcore.classic_control import PHYSICS, ClassicControl

# How far states reach on either side of 0: beyond every wall, limit of speed and ending there is.
REACH = {
    "CartPole-v1": (3.0, 4.0, 0.3, 4.0),
    "Acrobot-v1": (np.pi, np.pi, 4 * np.pi, 9 * np.pi),
    "MountainCar-v0": (1.2, 0.07),
    "Pendulum-v1": (3 * np.pi, 8.0),
}


def balance(obs, rng):
    """Actions that keep most poles up until the time limit, and let some fall."""
    return np.where(rng.random(len(obs)) < 0.1, rng.integers(2, size=len(obs)), (obs[:, 2] + obs[:, 3] > 0).astype(int))


def idle(task, obs, rng):
    """Actions with which no episode, or hardly one, ends before the time limit."""
    if task == "CartPole-v1":
        return balance(obs, rng)
    return np.zeros((len(obs), 1)) if task == "Pendulum-v1" else np.ones(len(obs), dtype=int)


def beginnings(task, count=2000):
    """States [count, S] in which Gymnasium's environment begins."""
    single = gymnasium.make(task).unwrapped
    single.reset(seed=0)
    states = []
    for _ in range(count):
        single.reset()
        states.append(np.array(single.state))
    return np.array(states)


@pytest.mark.parametrize("task", PHYSICS)
def test_a_step_from_any_state_with_any_action_is_gymnasiums(task):
    count, rng = 3000, np.random.default_rng(0)
    states = rng.uniform(-1, 1, (count, len(REACH[task]))) * REACH[task]
    ours, single = ClassicControl(task, count), gymnasium.make(task).unwrapped
    discrete = isinstance(single.action_space, gymnasium.spaces.Discrete)
    actions = rng.integers(single.action_space.n, size=count) if discrete else rng.uniform(-3, 3, (count, 1))
    ours.reset(seed=0)
    ours.state = states.copy()
    obs, reward, terminated, truncated, _ = ours.step(actions)
    single.reset(seed=0)
    for i in range(count):
        single.state, single.steps_beyond_terminated = states[i], None
        expected, paid, over, cut, _ = single.step(actions[i])
        np.testing.assert_allclose(ours.state[i], single.state, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(obs[i], expected, rtol=1e-6, atol=1e-6)
        assert (reward[i], terminated[i], truncated[i]) == (pytest.approx(paid, rel=1e-9), over, cut)
    assert 0.01 < terminated.mean() < 0.99 or task == "Pendulum-v1", "some of them ended"


@pytest.mark.parametrize("task", PHYSICS)
def test_an_episode_that_does_not_end_is_cut_at_gymnasiums_time_limit_and_the_next_begins(task):
    env, rng, limit = ClassicControl(task, 16), np.random.default_rng(0), gymnasium.spec(task).max_episode_steps
    obs, _ = env.reset(seed=0)
    first = np.ones(16, dtype=bool)
    for _ in range(limit - 1):
        obs, _, terminated, truncated, _ = env.step(idle(task, obs, rng))
        first &= ~terminated
        assert not truncated.any()
    assert first.sum() > 3
    obs, _, _, truncated, _ = env.step(idle(task, obs, rng))
    np.testing.assert_array_equal(truncated, first)
    obs, reward, terminated, truncated, _ = env.step(idle(task, obs, rng))
    for told in (reward, terminated, truncated):
        assert not told[first].any()
    states = beginnings(task)
    low, high = states.min(axis=0), states.max(axis=0)
    margin = 0.05 * (high - low)
    assert ((env.state[first] >= low - margin) & (env.state[first] <= high + margin)).all()


@pytest.mark.parametrize("task", PHYSICS)
def test_episodes_begin_where_gymnasiums_do(task):
    """Quartiles and bounds of each component of the state, to a twentieth of its range."""
    env, theirs = ClassicControl(task, 2000), beginnings(task)
    seen, _ = env.reset(seed=1)
    at = [0, 0.25, 0.5, 0.75, 1]
    expected, found = np.quantile(theirs, at, axis=0), np.quantile(env.state, at, axis=0)
    assert (np.abs(found - expected) <= 0.05 * np.ptp(theirs, axis=0)).all()
    assert seen.shape == (2000, *env.single_observation_space.shape)
    assert seen.dtype == env.single_observation_space.dtype
    assert env.observation_space.contains(seen)


def test_every_number_of_cartpole_is_that_of_gymnasiums_vector_environment_through_falls_time_limits_and_resets():
    ours, theirs, rng = ClassicControl("CartPole-v1", 32), CartPoleVectorEnv(32), np.random.default_rng(0)
    obs, _ = ours.reset(seed=3)
    np.testing.assert_array_equal(obs, theirs.reset(seed=3)[0])
    falls = limits = 0
    for _ in range(1200):
        action = balance(obs, rng)
        obs, *rest, _ = ours.step(action)
        for mine, yours in zip((obs, *rest), theirs.step(action)[:4], strict=True):
            np.testing.assert_array_equal(mine, yours)
        falls, limits = falls + rest[1].sum(), limits + rest[2].sum()
    assert falls > 10
    assert limits > 10
