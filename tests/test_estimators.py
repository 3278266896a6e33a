"""The weights, against numbers worked by hand, against each other, and against a slow oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgcore.estimators import (
    ESTIMATORS,
    actor_critic,
    bootstrapped_return,
    gae,
    mean_baseline,
    reinforce,
    reward_to_go,
    value_baseline,
)
from pgcore.estimators import a2c as a2c_weight
from pgcore.rollout import Rollout

OPTIONS = {"gae_lambda": 0.9}
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def make_rollout(reward, value=None, last_value=0.0, terminated=(), truncated=(), invalid=()):
    """One lane by hand: rewards, values of the states, V of the state after the last; rows that end, rows to drop."""
    reward = np.array(reward, dtype=float)[:, None]
    value = np.zeros_like(reward) if value is None else np.array(value, dtype=float)[:, None]
    rows = np.arange(len(reward))[:, None]
    over, cut = np.isin(rows, terminated), np.isin(rows, truncated)
    return Rollout(
        obs=np.zeros((len(reward), 1, 1)),
        next_obs=np.zeros((len(reward), 1, 1)),
        action=np.zeros(reward.shape, dtype=int),
        reward=reward,
        terminated=over,
        ended=over | cut,
        valid=~np.isin(rows, invalid),
        time=rows,
        value=value,
        next_value=np.vstack([value[1:], [[last_value]]]),
    )


@st.composite
def rollouts(draw, whole=False):
    """Random facts of T × N steps with terminations, truncations and the reset rows after them."""
    lanes = draw(st.integers(1, 4))
    steps = draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    over, cut = rng.random((steps, lanes)) < 0.2, rng.random((steps, lanes)) < 0.2
    if whole:
        cut[-1] = True
    ended = over | cut
    valid = np.ones_like(ended)
    for t in range(1, steps):
        reset_row = ended[t - 1] & valid[t - 1]
        valid[t] = ~reset_row if not whole else valid[t - 1] & ~ended[t - 1]
        ended[t] &= valid[t]
        over[t] &= valid[t]
    value = rng.normal(size=(steps + 1, lanes))
    reward = np.where(valid, rng.normal(size=(steps, lanes)), 0.0)
    obs = np.zeros((steps, lanes, 1))
    time = np.zeros((steps, lanes), dtype=int)
    return Rollout(obs, obs, np.zeros((steps, lanes), dtype=int), reward, over, ended, valid, time, value[:-1], value[1:])


def episode_of(rollout, t, n):
    """Rows of the episode that row t of lane n belongs to, as far as the rollout holds it."""
    first = t
    while first > 0 and rollout.valid[first - 1, n] and not rollout.ended[first - 1, n]:
        first -= 1
    last = t
    while last + 1 < len(rollout.reward) and not rollout.ended[last, n]:
        last += 1
    return first, last


def oracle(name, rollout, discount, gae_lambda):
    """Each weight by its definition, summed term by term: O(T²)."""
    r, v, nv = rollout.reward, rollout.value, rollout.next_value
    over, valid = rollout.terminated, rollout.valid
    weight = np.zeros_like(r)

    def to_go(t, n, bridge):
        _, last = episode_of(rollout, t, n)
        total = sum(discount ** (k - t) * r[k, n] for k in range(t, last + 1))
        return total + (discount ** (last + 1 - t) * nv[last, n] if bridge and not over[last, n] else 0.0)

    def delta(t, n):
        return r[t, n] + (0.0 if over[t, n] else discount * nv[t, n]) - v[t, n]

    for t, n in np.argwhere(valid):
        first, last = episode_of(rollout, t, n)
        if name == "reinforce":
            weight[t, n] = to_go(first, n, bridge=False)
        elif name == "reward-to-go":
            weight[t, n] = to_go(t, n, bridge=False)
        elif name == "mean-baseline":
            others = [to_go(t, m, bridge=False) for m in range(r.shape[1]) if m != n and valid[t, m]]
            weight[t, n] = to_go(t, n, bridge=False) - (np.mean(others) if others else 0.0)
        elif name in ("value-baseline", "a2c", "a3c"):
            weight[t, n] = to_go(t, n, bridge=True) - v[t, n]
        elif name in ("actor-critic", "dqn"):
            weight[t, n] = delta(t, n)
        elif name == "article":
            weight[t, n] = 1.0
        elif name in ("gae", "ppo", "trpo"):
            weight[t, n] = sum((discount * gae_lambda) ** (k - t) * delta(k, n) for k in range(t, last + 1))
        else:
            pytest.fail(f"the oracle does not know {name}: add its definition here")
    return weight


def weigh(row, rollout, discount):
    return row.weight(rollout, discount, **{name: OPTIONS[name] for name in row.asks_for})


@pytest.mark.parametrize("name", ESTIMATORS)
@given(rollout=rollouts(), discount=st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_every_estimator_equals_its_definition(name, rollout, discount):
    weight = weigh(ESTIMATORS[name], rollout, discount)
    assert weight.shape == rollout.reward.shape
    expected = oracle(name, rollout, discount, OPTIONS["gae_lambda"])
    np.testing.assert_allclose(weight[rollout.valid], expected[rollout.valid], atol=1e-12)


def test_gae_by_hand_with_a_boundary_inside_the_segment():
    """γ = λ = ½: δ = (1 + ½·4 − 2, 1 − 4, 1 + ½·8 − 6) = (1, −3, −1); A_1 = −3 ends its episode, A_0 = 1 + ¼·(−3)."""
    rollout = make_rollout([1, 1, 1], value=[2, 4, 6], last_value=8, terminated=[1])
    np.testing.assert_allclose(gae(rollout, 0.5, 0.5)[:, 0], [0.25, -3.0, -1.0])


def test_reward_to_go_and_reinforce_by_hand():
    rollout = make_rollout([1, 2, 4, 0, 8], terminated=[2], invalid=[3])
    np.testing.assert_allclose(reward_to_go(rollout, 0.5)[[0, 1, 2, 4], 0], [3, 4, 4, 8])
    np.testing.assert_allclose(reinforce(rollout, 0.5)[[0, 1, 2, 4], 0], [3, 3, 3, 8])


@pytest.mark.parametrize("name", [name for name, row in ESTIMATORS.items() if row.critic])
@pytest.mark.parametrize("discount", [0.5, 0.9, 0.99])
def test_a_constant_reward_foreseen_by_the_critic_has_no_advantage_also_through_a_time_limit(name, discount):
    worth = 1 / (1 - discount)
    rollout = make_rollout([1] * 6, value=[worth] * 6, last_value=worth, truncated=[2])
    np.testing.assert_allclose(weigh(ESTIMATORS[name], rollout, discount), 0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, row in ESTIMATORS.items() if row.critic])
def test_a_termination_is_not_a_time_limit(name):
    worth = 1 / (1 - 0.9)
    rollout = make_rollout([1] * 6, value=[worth] * 6, last_value=worth, terminated=[2])
    assert weigh(ESTIMATORS[name], rollout, 0.9)[2, 0] == pytest.approx(1 - worth)


@given(rollout=rollouts(whole=True), discount=st.floats(0, 1))
def test_gae_bridges_actor_critic_and_value_baseline(rollout, discount):
    valid = rollout.valid
    np.testing.assert_allclose(gae(rollout, discount, 0.0)[valid], actor_critic(rollout, discount)[valid], atol=1e-9)
    np.testing.assert_allclose(gae(rollout, discount, 1.0)[valid], value_baseline(rollout, discount)[valid], atol=1e-9)
    np.testing.assert_allclose(gae(rollout, discount, 1.0)[valid], a2c_weight(rollout, discount)[valid], atol=1e-9)


@given(rollout=rollouts())
def test_without_foresight_only_the_immediate_reward_counts(rollout):
    valid = rollout.valid
    np.testing.assert_array_equal(reward_to_go(rollout, 0.0)[valid], rollout.reward[valid])
    np.testing.assert_allclose(bootstrapped_return(rollout, 0.0)[valid], rollout.reward[valid])
    np.testing.assert_allclose(gae(rollout, 0.0, 0.9)[valid], (rollout.reward - rollout.value)[valid])


@given(rollout=rollouts(whole=True), discount=st.floats(0, 1))
def test_reward_to_go_begins_where_reinforce_is_everywhere(rollout, discount):
    np.testing.assert_array_equal(reward_to_go(rollout, discount)[0], reinforce(rollout, discount)[0])


def test_the_mean_baseline_leaves_the_own_episode_out():
    """With the own episode in it the mean would shrink every weight by 1 − 1/N."""
    lanes = [make_rollout([r], terminated=[0]) for r in (1.0, 2.0, 6.0)]
    stacked = Rollout(**{name: np.hstack([getattr(one, name) for one in lanes]) for name in Rollout.__dataclass_fields__})
    np.testing.assert_allclose(mean_baseline(stacked, 1.0)[0], [1 - 4, 2 - 3.5, 6 - 1.5])


def test_what_an_estimator_asks_for_is_a_setting():
    from pgcore.config import SETTINGS

    for row in ESTIMATORS.values():
        assert set(row.asks_for) <= set(row.settings) <= set(SETTINGS)
        assert set(row.defaults) <= set(SETTINGS)
