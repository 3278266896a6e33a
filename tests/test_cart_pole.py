"""Our CartPole is Gymnasium's own vector environment, bit for bit, only faster."""

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from pgcore.classic_control import ClassicControl


def balance(obs, rng):
    """Actions that keep most poles up until the time limit, and let some fall."""
    return np.where(rng.random(len(obs)) < 0.1, rng.integers(2, size=len(obs)), (obs[:, 2] + obs[:, 3] > 0).astype(int))


def test_every_number_is_gymnasiums_through_falls_time_limits_and_resets():
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
