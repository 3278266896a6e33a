"""Trading as an environment: what is seen, what is paid, when it ends, and that nothing sees the future."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from pgcore import snapshot
from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.market.accounting import BUY, HOLD, SELL
from pgcore.market.backtest import reprice
from pgcore.market.env import ENV_ID, StocksEnv, StocksVectorEnv, training_env
from pgcore.market.features import FEATURES
from pgcore.market.parts import Part, split
from pgcore.market.prices import PriceSeries
from pgcore.market.rewards import REWARDS

ROWS = 120
WINDOW = 10


def walk(seed: int = 0, rows: int = ROWS, deviation: float = 0.03) -> PriceSeries:
    """A random history whose opens differ from the closes before."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(deviation * rng.standard_normal(rows)))
    opening = close * np.exp(deviation * rng.standard_normal(rows))
    low, high = np.minimum(close, opening), np.maximum(close, opening)
    return PriceSeries(days(rows), opening, high, low, close, np.full(rows, np.nan))


def days(rows: int) -> np.ndarray:
    return np.datetime64("2020-01-01") + np.arange(rows) * np.timedelta64(1, "D")


def closes(*values: float) -> PriceSeries:
    return PriceSeries.from_close(days(len(values)), values)


def play(env: StocksVectorEnv, actions: np.ndarray, **options):
    """Everything a rollout of `actions` [T, N] shows: obs [T + 1, N, D], reward, terminated, truncated [T, N]."""
    obs, rest = [env.reset(options=options or None)[0]], []
    for action in actions:
        seen, *told, _ = env.step(action)
        obs.append(seen)
        rest.append(told)
    return np.stack(obs), *(np.stack(x) for x in zip(*rest, strict=True))


def random_actions(steps: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, size=(steps, width))


terms = st.fixed_dictionaries(
    {
        "cost_bps": st.floats(0, 300),
        "borrow_bps": st.floats(0, 3000),
        "allow_short": st.booleans(),
        "fill": st.sampled_from(["close", "next-open"]),
    }
)


# ---- an environment among Gymnasium's


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("allow_short", [False, True])
def test_gymnasium_accepts_the_environment_without_a_warning(features, allow_short):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(ENV_ID, prices=walk(), features=features, allow_short=allow_short)
        check_env(env.unwrapped)


def test_it_is_registered_single_and_vectorised_and_brings_prices_of_its_own():
    single = gymnasium.make(f"pgcore.market.env:{ENV_ID}")
    many = gymnasium.make_vec(f"pgcore.market.env:{ENV_ID}", num_envs=3, vectorization_mode="vector_entry_point")
    assert isinstance(single.unwrapped, StocksEnv)
    assert isinstance(many, StocksVectorEnv)
    assert many.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    obs, _ = many.reset(seed=0)
    assert obs in many.observation_space
    assert many.action_space.shape == (3,)


@pytest.mark.parametrize("reward", REWARDS)
def test_the_step_after_an_ending_ignores_its_action_and_starts_an_episode_like_any_other(reward):
    env, fresh = (StocksVectorEnv(2, prices=walk(), window=WINDOW, episode_rows=5, reward=reward) for _ in range(2))
    env.reset(seed=0)
    for step in range(1, 6):
        *_, terminated, truncated, _ = env.step(np.array([BUY, BUY]))
        assert truncated.tolist() == [step == 5] * 2
    assert (env.equity != 1).all()
    obs, paid, terminated, truncated, _ = env.step(np.array([BUY, SELL]))
    assert paid.tolist() == [0, 0]
    assert not (terminated | truncated).any()
    assert env.equity.tolist() == [1, 1]
    assert env.position.tolist() == [0, 0]
    first, _ = fresh.reset(options={"row": env.row})
    np.testing.assert_array_equal(obs, first)
    for actions in random_actions(5, 2):
        for now, expected in zip(env.step(actions)[:4], fresh.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(now, expected)


def test_lanes_that_end_at_different_times_do_not_disturb_each_other():
    env = StocksVectorEnv(2, prices=walk(), window=WINDOW, episode_rows=6, allow_short=True, reward="sharpe")
    actions = random_actions(30, 2)
    last = ROWS - 4
    obs, reward, _, truncated = play(env, actions, row=[WINDOW, last])
    assert truncated[2, 1]
    assert not truncated[2, 0]
    alone = StocksVectorEnv(1, prices=walk(), window=WINDOW, episode_rows=6, allow_short=True, reward="sharpe")
    obs_alone, reward_alone, _, _ = play(alone, actions[:6, :1], row=WINDOW)
    np.testing.assert_array_equal(obs[:7, :1], obs_alone)
    np.testing.assert_array_equal(reward[:6, :1], reward_alone)


@pytest.mark.parametrize("reward", REWARDS)
def test_side_by_side_or_one_by_one_gives_the_same(reward):
    arguments = {"prices": walk(), "window": WINDOW, "reward": reward, "allow_short": True, "fill": "next-open"}
    starts = np.array([WINDOW, 25, 40])
    actions = random_actions(60, 3)
    obs, paid, terminated, truncated = play(StocksVectorEnv(3, **arguments), actions, row=starts)
    for lane, start in enumerate(starts.tolist()):
        env = StocksEnv(**arguments)
        seen, _ = env.reset(options={"row": start})
        np.testing.assert_array_equal(seen, obs[0, lane])
        for t, action in enumerate(actions[:, lane]):
            seen, amount, over, cut, _ = env.step(action)
            np.testing.assert_array_equal(seen, obs[t + 1, lane])
            assert (amount, over, cut) == (paid[t, lane], terminated[t, lane], truncated[t, lane])


# ---- money


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), terms=terms)
def test_pnl_rewards_sum_to_the_log_growth_of_the_equity(seed, terms):
    env = StocksVectorEnv(4, prices=walk(seed), window=WINDOW, **terms)
    _, reward, terminated, truncated = play(env, random_actions(ROWS - WINDOW - 1, 4, seed), row=WINDOW)
    alive = ~terminated.any(axis=0)
    assert truncated[-1][alive].all()
    np.testing.assert_allclose(reward.sum(axis=0)[alive], np.log(env.equity)[alive], rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), terms=terms)
def test_the_backtest_reports_the_equity_that_training_was_paid_for(seed, terms):
    prices, part = walk(seed), Part("all", WINDOW, ROWS)
    actions = random_actions(len(part) - 1, 1, seed)
    env = StocksVectorEnv(1, prices=prices, window=WINDOW, **terms)
    env.reset(options={"row": WINDOW})
    equity = [1.0]
    for action in actions:
        _, _, terminated, _, _ = env.step(action)
        equity.append(env.equity[0])
        if terminated[0]:
            break
    reported = reprice(actions[:, 0], TrainConfig(task="stocks", **terms), prices, part).equity
    np.testing.assert_allclose(reported[: len(equity)], equity, rtol=1e-10)
    assert (reported[len(equity) :] == 0).all()


def test_costs_by_hand():
    """1 % of the value traded: 1 buys V = 1/1.01; a rise of 10 % makes 1.1 V; selling leaves 1.1 V · 0.99."""
    env = StocksVectorEnv(1, prices=closes(100, 100, 100, 110, 110, 110), window=2, cost_bps=100)
    env.reset()
    env.step(np.array([BUY]))
    assert env.equity[0] == pytest.approx(1.1 / 1.01)
    env.step(np.array([BUY]))
    assert env.equity[0] == pytest.approx(1.1 / 1.01)
    env.step(np.array([SELL]))
    assert env.equity[0] == pytest.approx(1.1 / 1.01 * 0.99)


def test_a_short_by_hand():
    """Short V = 1/1.01 at 100; at 80 it is worth 1.2 V; a day of borrowing costs 10 bp of the 0.8 V it takes to buy back."""
    prices = closes(100, 100, 100, 80)
    env = StocksVectorEnv(1, prices=prices, window=2, cost_bps=100, allow_short=True, borrow_bps=10 * prices.periods_per_year)
    env.reset()
    env.step(np.array([SELL]))
    assert env.equity[0] == pytest.approx((1.2 - 0.8 * 0.001) / 1.01)


def test_a_decision_filled_at_the_next_open_misses_the_night():
    prices = PriceSeries(days(4), *np.array([[100.0, 100, 100, 105]] + [[100.0, 100, 100, 110]] * 3), volume=np.ones(4))
    for fill, earned in (("close", 1.1), ("next-open", 110 / 105)):
        env = StocksVectorEnv(1, prices=prices, window=2, cost_bps=0, fill=fill)
        env.reset()
        env.step(np.array([BUY]))
        assert env.equity[0] == pytest.approx(earned)


def test_a_held_position_keeps_its_share_count():
    """A short of 1 at 100 through 150 and back to 100 is where it was: rebalancing every day would have lost a quarter."""
    env = StocksVectorEnv(1, prices=closes(100, 100, 100, 150, 100), window=2, cost_bps=0, borrow_bps=0, allow_short=True)
    env.reset()
    env.step(np.array([SELL]))
    assert env.equity[0] == pytest.approx(0.5)
    env.step(np.array([SELL]))
    assert env.equity[0] == pytest.approx(1.0)


def test_selling_what_is_not_there_does_nothing_without_shorts():
    env = StocksVectorEnv(2, prices=walk(), window=WINDOW)
    env.reset(seed=0)
    for _ in range(20):
        _, reward, *_ = env.step(np.array([SELL, HOLD]))
        assert reward.tolist() == [0, 0]
    assert env.position.tolist() == [0, 0]


def test_bankruptcy_terminates_and_the_end_of_the_prices_truncates():
    env = StocksVectorEnv(2, prices=closes(100, 100, 100, 100, 250, 250), window=2, allow_short=True)
    env.reset()
    _, _, terminated, truncated, _ = env.step(np.array([SELL, BUY]))
    assert not (terminated | truncated).any()
    _, reward, terminated, truncated, _ = env.step(np.array([HOLD, HOLD]))
    assert terminated.tolist() == [True, False]
    assert env.equity[0] == 0
    assert np.isfinite(reward).all()
    _, _, terminated, truncated, _ = env.step(np.array([HOLD, HOLD]))
    assert truncated.tolist() == [False, True]


# ---- sight


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("reward", REWARDS)
def test_nothing_before_a_day_depends_on_the_prices_after_it(features, reward):
    prices, row = walk(), 60
    later = np.where(np.arange(ROWS) > row, np.random.default_rng(3).uniform(0.5, 2, ROWS), 1.0)
    other = PriceSeries(
        prices.dates, *(getattr(prices, c) * later for c in ("open", "high", "low", "close")), volume=prices.volume
    )
    actions = random_actions(row - WINDOW, 2)
    arguments = {"window": WINDOW, "features": features, "reward": reward, "allow_short": True}
    told, told_otherwise = (
        play(StocksVectorEnv(2, prices=series, **arguments), actions, row=WINDOW) for series in (prices, other)
    )
    for one, two in zip(told, told_otherwise, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(prices.close[row + 1 :], other.close[row + 1 :])


@pytest.mark.parametrize("features", FEATURES)
def test_the_unit_of_the_prices_makes_no_difference(features):
    prices = walk()
    scaled = PriceSeries(
        prices.dates, *(getattr(prices, c) * 73.1 for c in ("open", "high", "low", "close")), volume=prices.volume
    )
    actions = random_actions(100, 2)
    one, two = (
        play(StocksVectorEnv(2, prices=p, window=WINDOW, features=features), actions, row=WINDOW) for p in (prices, scaled)
    )
    np.testing.assert_allclose(one[0], two[0], atol=1e-5)
    np.testing.assert_allclose(one[1], two[1], atol=1e-12)


# ---- where episodes fall


def test_episodes_start_at_random_rows_of_the_training_part_and_never_leave_it():
    prices = walk(rows=400)
    config = TrainConfig(task="stocks", window=WINDOW, episode_rows=20)
    train = split(config, prices).train
    env = training_env(config, prices, 16)
    env.reset(seed=0)
    rows = [env.row]
    for action in random_actions(400, 16):
        env.step(action)
        rows.append(env.row)
    rows = np.stack(rows)
    assert rows.min() == train.start
    assert rows.max() == train.stop - 1
    assert len(np.unique(rows[0])) > 8


def test_training_is_blind_to_what_comes_after_the_training_part():
    prices, config = walk(rows=400), TrainConfig(task="stocks", window=WINDOW, episode_rows=50, fill="next-open")
    stop = split(config, prices).train.stop
    shortened = prices.between(0, stop)
    config_of_all = config.replace(cost_bps=0.0, borrow_bps=0.0)
    told = []
    for series, part in ((prices, None), (shortened, Part("train", WINDOW, stop))):
        env = training_env(config_of_all, series, 8, part)
        env.reset(seed=5)
        told.append([env.step(a)[:4] for a in random_actions(300, 8)])
    for one, two in zip(*told, strict=True):
        for x, y in zip(one, two, strict=True):
            np.testing.assert_array_equal(x, y)


def test_the_seed_decides_where_episodes_start_and_resets_go_on_from_there():
    env = StocksVectorEnv(8, prices=walk(), window=WINDOW, episode_rows=5)
    env.reset(seed=3)
    first = env.row
    env.reset()
    second = env.row
    env.reset(seed=3)
    np.testing.assert_array_equal(env.row, first)
    assert (first != second).any()


def test_an_episode_longer_than_the_history_covers_all_of_it():
    env = StocksVectorEnv(2, prices=walk(), window=WINDOW, episode_rows=10_000)
    _, _, _, truncated = play(env, random_actions(ROWS - WINDOW - 1, 2))
    assert truncated.sum(axis=0).tolist() == [1, 1]
    assert truncated[-1].all()


@pytest.mark.parametrize("reward", REWARDS)
def test_a_restored_environment_goes_on_bit_for_bit(reward):
    def build():
        return StocksVectorEnv(6, prices=walk(), window=WINDOW, reward=reward, allow_short=True, episode_rows=7)

    env, actions = build(), random_actions(40, 6)
    env.reset(seed=1)
    for action in actions[:11]:
        env.step(action)
    saved = snapshot.pack(env.get_state())
    expected = [env.step(action)[:4] for action in actions[11:]]
    restored = build()
    restored.set_state(snapshot.unpack(saved))
    for action, told in zip(actions[11:], expected, strict=True):
        for now, then in zip(restored.step(action)[:4], told, strict=True):
            np.testing.assert_array_equal(now, then)


# ---- what cannot work


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 119}, r"119 rows and 120 rows of prices .* smaller than 119"),
        ({"window": 500}, r"500 rows and 120 rows"),
        ({"window": 0}, r"over 0 rows"),
        ({"start": 5}, r"10 rows cannot be had on row 5"),
        ({"stop": 200}, r"between rows 10 and 200"),
        ({"features": "scale"}, r"no features 'scale': give one of article, scale-free"),
        ({"reward": "profit"}, r"no reward 'profit'"),
        ({"fill": "open"}, r"no fill 'open'"),
    ],
)
def test_impossible_arguments_are_explained(arguments, message):
    with pytest.raises(BadInput, match=message):
        StocksVectorEnv(2, prices=walk(), **{"window": WINDOW, **arguments})


def test_a_start_outside_the_range_and_a_wrong_number_of_actions_are_refused():
    env = StocksVectorEnv(2, prices=walk(), window=WINDOW)
    with pytest.raises(BadInput, match=f"rows {WINDOW} to {ROWS - 2}"):
        env.reset(options={"row": ROWS - 1})
    env.reset()
    with pytest.raises(BadInput, match="2 traders need as many actions"):
        env.step(np.array([[BUY], [SELL]]))


@pytest.mark.parametrize("action", [-1, 3, 5, 0.5, None, np.array([1])])
def test_an_action_that_is_none_is_refused_and_changes_nothing(action):
    env = StocksEnv(walk(), window=WINDOW)
    _, before = env.reset()
    with pytest.raises(BadInput, match=r"no action .*0 \(buy\), 1 \(sell\) or 2 \(hold\)"):
        env.step(action)
    assert env.step(HOLD)[4]["row"] == before["row"] + 1
