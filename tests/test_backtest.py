"""A policy played once through a part of history, and the accounts of it."""

import json
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.market.accounting import BUY, HOLD, SELL, equity_of, positions, simulate, spells
from pgcore.market.backtest import (
    Record,
    check_look_ahead,
    collapse,
    compare,
    evaluate_parts,
    play,
    reprice,
    shuffled_positions,
    stitch,
)
from pgcore.market.env import StocksVectorEnv
from pgcore.market.features import FEATURES, FeatureSet
from pgcore.market.parts import Part, split, walk_forward
from pgcore.market.prices import PriceSeries, moving_average

WINDOW = 10


def walk(rows: int = 200, seed: int = 0, deviation: float = 0.02) -> PriceSeries:
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(deviation * rng.standard_normal(rows)))
    opening = close * np.exp(0.5 * deviation * rng.standard_normal(rows))
    low, high = np.minimum(close, opening), np.maximum(close, opening)
    return PriceSeries(days(rows), opening, high, low, close, np.ones(rows))


def days(rows: int) -> np.ndarray:
    return np.datetime64("2020-01-01") + np.arange(rows) * np.timedelta64(1, "D")


def closes(*values: float) -> PriceSeries:
    return PriceSeries.from_close(days(len(values)), values)


def stocks(**settings) -> TrainConfig:
    return TrainConfig(task="stocks", **{"window": WINDOW, **settings})


class Softmax:
    """A linear policy with fixed random weights; `scale` makes it more or less decided."""

    def __init__(self, observations: int = 5, scale: float = 3.0, seed: int = 0):
        self.weight = scale * np.random.default_rng(seed).standard_normal((observations, 3))

    def probabilities(self, obs):
        logits = obs @ self.weight
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


class Always:
    def __init__(self, action: int):
        self.row = np.eye(3)[action]

    def probabilities(self, obs):
        return np.tile(self.row, (len(obs), 1))


action_lists = st.lists(st.sampled_from([BUY, SELL, HOLD]), min_size=1, max_size=60).map(np.array)


# ---- money


def test_actions_become_positions():
    actions = np.array([HOLD, BUY, HOLD, BUY, SELL, HOLD, SELL, BUY])
    assert positions(actions, allow_short=False).tolist() == [0, 1, 1, 1, 0, 0, 0, 1]
    assert positions(actions, allow_short=True).tolist() == [0, 1, 1, 1, -1, -1, -1, 1]


def by_hand(target, close, fill, cost, borrow):
    """The equity at every close, one trader and one row at a time, and what the broker and the market took and gave."""
    cash, shares, equity, given = 1.0, 0.0, [1.0], 0.0
    for t, wanted in enumerate(target):
        given += shares * (fill[t] - close[t])
        if np.sign(shares) != wanted:
            if shares:
                fee = cost * abs(shares) * fill[t]
                cash, shares, given = cash + shares * fill[t] - fee, 0.0, given - fee
            if wanted:
                size = cash / (1 + cost)
                shares = wanted * size / fill[t]
                cash, given = cash - wanted * size - cost * size, given - cost * size
        interest = borrow * max(-shares, 0) * close[t + 1]
        cash -= interest
        given += shares * (close[t + 1] - fill[t]) - interest
        equity.append(cash + shares * close[t + 1])
        assert equity[-1] == pytest.approx(1 + given)  # value is conserved
        if equity[-1] <= 0:
            break
    return equity


@settings(deadline=None, max_examples=60)
@given(
    actions=action_lists,
    seed=st.integers(0, 10**6),
    cost=st.floats(0, 0.05),
    borrow=st.floats(0, 0.001),
    allow_short=st.booleans(),
)
def test_accounts_of_many_at_once_are_those_of_each_by_hand(actions, seed, cost, borrow, allow_short):
    prices = walk(len(actions) + 1, seed, deviation=0.1)
    targets = np.stack([positions(actions, allow_short), positions(actions[::-1], allow_short)], axis=1)
    ledger = simulate(targets, prices.close, prices.open[1:], cost, borrow)
    for lane in range(2):
        expected = by_hand(targets[:, lane], prices.close, prices.open[1:], cost, borrow)
        if expected[-1] <= 0:
            expected = expected[:-1] + [0.0] * (len(actions) + 2 - len(expected))
        np.testing.assert_allclose(ledger.equity[:, lane], expected, rtol=1e-9, atol=1e-12)
        paid = ledger.paid[:, lane].sum()
        assert paid >= cost * ledger.traded[:, lane].sum() - 1e-12


@settings(deadline=None, max_examples=60)
@given(
    actions=action_lists,
    seed=st.integers(0, 10**6),
    cost=st.floats(0, 0.05),
    borrow=st.floats(0, 0.05),
    allow_short=st.booleans(),
)
def test_the_equity_on_some_rows_is_that_of_the_whole_account(actions, seed, cost, borrow, allow_short):
    prices = walk(len(actions) + 1, seed, deviation=0.1)
    held = np.stack([positions(each, allow_short) for each in (actions, actions[::-1], 0 * actions)], axis=1)
    whole = simulate(held, prices.close, prices.open[1:], cost, borrow).equity
    rows = np.unique([0, seed % len(prices), len(prices) - 1])
    some = equity_of(spells(held), prices.close, prices.open[1:], cost, borrow, rows)
    np.testing.assert_array_equal(some, whole[rows])


@settings(deadline=None, max_examples=80)
@given(
    actions=action_lists,
    seed=st.integers(0, 10**6),
    costs=st.tuples(st.floats(0, 500), st.floats(0, 500)),
    allow_short=st.booleans(),
)
def test_more_cost_never_raises_the_equity(actions, seed, costs, allow_short):
    prices, part = walk(len(actions) + WINDOW + 1, seed, deviation=0.1), Part("test", WINDOW, len(actions) + WINDOW + 1)
    config = stocks(allow_short=allow_short)
    cheap, dear = (reprice(actions, config.replace(cost_bps=c), prices, part).equity for c in sorted(costs))
    assert (dear <= cheap * (1 + 1e-12)).all()


def test_a_bankrupt_strategy_has_nothing_from_then_on():
    prices = closes(*[100.0] * WINDOW, 100, 100, 250, 50, 50, 50)
    result = reprice(np.array([SELL, HOLD, HOLD, BUY, HOLD]), stocks(allow_short=True), prices, Part("test", WINDOW, 16))
    assert (result.equity[:2] > 0).all()
    assert result.equity[2:].tolist() == [0] * 4
    assert result.position.tolist() == [-1, -1, 0, 0, 0]
    assert result.returns.tolist()[2:] == [0, 0, 0]
    (trade,) = result.trades
    assert trade.profit == -1


@pytest.mark.parametrize("fill", ["close", "next-open"])
@pytest.mark.parametrize("allow_short", [False, True])
def test_trades_compound_to_the_result_and_their_costs_add_up(fill, allow_short):
    prices, part = walk(), Part("test", WINDOW, 200)
    config = stocks(allow_short=allow_short, fill=fill, cost_bps=20.0, borrow_bps=0.0)
    result = reprice(np.random.default_rng(1).integers(0, 3, 189), config, prices, part)
    assert np.prod([1 + trade.profit for trade in result.trades]) == pytest.approx(result.equity[-1])
    assert sum(trade.gain for trade in result.trades) == pytest.approx(result.equity[-1] - 1)
    assert sum(trade.cost for trade in result.trades) == pytest.approx(result.paid.sum())
    assert {trade.side for trade in result.trades} == ({"long", "short"} if allow_short else {"long"})
    assert [trade.still_open for trade in result.trades[:-1]] == [False] * (len(result.trades) - 1)


def test_a_trade_is_dated_and_priced_where_it_was_filled():
    prices, part = walk(40), Part("test", WINDOW, 40)
    actions = np.full(29, HOLD)
    actions[[3, 8]] = BUY, SELL
    for fill, later, column in (("close", 0, prices.close), ("next-open", 1, prices.open)):
        (trade,) = reprice(actions, stocks(fill=fill), prices, part).trades
        bought, sold = WINDOW + 3 + later, WINDOW + 8 + later
        assert (trade.entry, trade.exit) == (prices.dates[bought], prices.dates[sold])
        assert (trade.entry_price, trade.exit_price) == (column[bought], column[sold])
        assert not trade.still_open


def test_downloads_hold_every_row_and_every_trade():
    prices, part = walk(60), Part("test", WINDOW, 60)
    result = reprice(np.random.default_rng(1).integers(0, 3, 49), stocks(), prices, part)
    assert result.frame()["equity"].tolist() == result.equity.tolist()
    assert result.trade_frame()["profit"].tolist() == [trade.profit for trade in result.trades]
    nothing = reprice(np.full(49, HOLD), stocks(), prices, part)
    assert nothing.trade_frame().columns.tolist() == result.trade_frame().columns.tolist()


# ---- playing


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("allow_short", [False, True])
def test_playing_is_what_the_environment_would_have_shown(features, allow_short):
    prices, part = walk(), Part("test", 40, 150)
    config = stocks(features=features, allow_short=allow_short, fill="next-open")
    policy = Softmax(len(FEATURES[features].names))
    record = play(policy, config, prices, part)
    env = StocksVectorEnv(
        1, prices=prices, window=WINDOW, features=features, allow_short=allow_short, start=40, stop=150, fill="next-open"
    )
    obs, _ = env.reset()
    for t, action in enumerate(record.actions):
        np.testing.assert_array_equal(obs[0], record.obs[t])
        assert policy.probabilities(obs)[0].argmax() == action
        obs, _, _, truncated, _ = env.step(np.array([action]))
        assert env.position[0] == record.position[t]
    assert truncated[0]
    assert reprice(record.actions, config, prices, part).equity[-1] == pytest.approx(env.equity[0])


def test_a_drawn_action_follows_its_probability_and_the_seed():
    prices, part = walk(3000, deviation=0.001), Part("test", WINDOW, 3000)

    class Fixed:
        def probabilities(self, obs):
            return np.tile([0.5, 0.2, 0.3], (len(obs), 1))

    record = play(Fixed(), stocks(), prices, part, greedy=False, seed=4)
    assert list(record.action_share().values()) == pytest.approx([0.5, 0.2, 0.3], abs=0.03)
    again, other = (play(Fixed(), stocks(), prices, part, greedy=False, seed=seed) for seed in (4, 5))
    assert (again.actions == record.actions).all()
    assert (other.actions != record.actions).any()


# ---- what needs no skill


def test_baselines_by_hand():
    prices, part = walk(), Part("test", 40, 150)
    config = stocks(cost_bps=10.0)
    compared = compare(np.full(109, HOLD), config, prices, part)
    assert compared.agent.equity.tolist() == compared.cash.equity.tolist() == [1.0] * 110
    np.testing.assert_allclose(compared.buy_and_hold.equity[1:], prices.close[41:150] / prices.close[40] / 1.001)
    above = prices.close > moving_average(prices.close, WINDOW)
    assert compared.moving_average_rule.position.tolist() == above[40:149].astype(float).tolist()
    both_ways = compare(np.full(109, HOLD), config.replace(allow_short=True), prices, part)
    assert both_ways.moving_average_rule.position.tolist() == np.where(above[40:149], 1.0, -1.0).tolist()


def test_random_policies_have_the_agents_exposure_and_turnover_but_not_its_timing():
    rng = np.random.default_rng(0)
    agent = positions(rng.choice(3, 400, p=[0.1, 0.05, 0.85]), allow_short=True)
    band = shuffled_positions(agent, 50, rng)
    switches = (np.diff(agent) != 0).sum()
    for lane in band.T:
        assert sorted(lane) == sorted(agent)
        assert abs((np.diff(lane) != 0).sum() - switches) <= 1
    assert np.mean(band == agent[:, None]) < 0.7


def test_an_agent_that_always_holds_the_same_beats_no_random_policy():
    prices = walk()
    assert compare(np.full(99, BUY), stocks(), prices, Part("test", 100, 200)).beats_random() == 0


def test_an_agent_that_knows_tomorrow_beats_them_all():
    prices = walk()
    rising = np.diff(prices.close)[100:199] > 0
    assert compare(np.where(rising, BUY, SELL), stocks(), prices, Part("test", 100, 200)).beats_random() == 1


# ---- long histories


def test_a_long_history_takes_memory_for_its_rows_and_not_for_every_random_policy():
    rows = 50_000
    prices, part = walk(rows, deviation=0.001), Part("test", WINDOW, rows)
    actions = np.random.default_rng(1).choice(3, len(part) - 1, p=[0.01, 0.01, 0.98])
    tracemalloc.start()
    compared = compare(actions, stocks(), prices, part)
    compared.sharpe_interval()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6, "the equity of 200 random policies on every row alone is 80 MB, the draws of a bootstrap 400 MB"
    assert len(compared.random) == len(compared.shown) == 4000
    assert (compared.shown[0], compared.shown[-1]) == (0, len(part) - 1)


def test_what_is_kept_of_a_long_part_is_what_a_chart_can_show_and_every_action():
    rows = 30_000
    result = evaluate_parts(Softmax(scale=30.0), stocks(), walk(rows, deviation=0.001))
    for part in result["parts"]:
        curves = result["curves"][part["part"]]
        assert len(curves["actions"]) == part["rows"] - 1
        assert len(curves["dates"]) == len(curves["agent"]) == len(curves["random"]["0.5"]) == min(part["rows"], 4000)
        assert len(curves["position"]) == len(curves["probabilities"]) == min(part["rows"], 4000) - 1
        assert (curves["dates"][0], curves["dates"][-1]) == (part["from"], part["to"])
        assert curves["agent"][-1] - 1 == pytest.approx(part["total_return"], abs=1e-6)


def test_a_policy_is_asked_in_batches_of_bounded_size(monkeypatch):
    asked = []

    class Counting(Softmax):
        def probabilities(self, obs):
            asked.append(len(obs))
            return super().probabilities(obs)

    whole = play(Softmax(), stocks(), walk(), Part("test", WINDOW, 200))
    monkeypatch.setattr("pgcore.market.backtest.ASKED_AT_ONCE", 100)
    in_batches = play(Counting(), stocks(), walk(), Part("test", WINDOW, 200))
    assert max(asked) == 100
    assert sum(asked) == 3 * 189
    np.testing.assert_array_equal(in_batches.actions, whole.actions)
    np.testing.assert_allclose(in_batches.probabilities, whole.probabilities)


# ---- parts


def test_parts_follow_one_another_and_share_no_row():
    config, prices = stocks(train_share=0.6, validation_share=0.2), walk()
    parts = split(config, prices)
    assert parts.train == Part("train", WINDOW, 120)
    assert parts.validation == Part("validation", 120, 160)
    assert parts.test == Part("test", 160, 200)
    assert [part.name for part in split(config.replace(validation_share=0.0), prices).parts] == ["train", "test"]


def test_a_window_that_leaves_nothing_to_learn_from_is_explained_with_the_numbers():
    with pytest.raises(BadInput, match=r"119 rows .* in the 120 rows .*\(200 rows of prices in all\).* smaller than 119"):
        split(stocks(window=119), walk())
    with pytest.raises(BadInput, match="test part would have 1 of the 12 rows"):
        split(stocks(window=2, train_share=0.9, validation_share=0.03), walk(12))


@pytest.mark.parametrize("anchored", [True, False])
def test_walk_forward_tests_every_row_once_and_trains_on_the_past_only(anchored):
    config, prices = stocks(train_share=0.4, validation_share=0.1), walk()
    folds = walk_forward(config, prices, 4, anchored)
    assert folds[0].test.start == split(config, prices).test.start
    assert folds[-1].test.stop == len(prices)
    for fold, following in pairwise(folds):
        assert fold.test.stop - 1 == following.test.start
    for fold in folds:
        assert fold.train.stop == fold.validation.start
        assert fold.validation.stop == fold.test.start
        assert fold.train.start == WINDOW if anchored else len(fold.train) == len(folds[0].train)
    with pytest.raises(BadInput, match="1 to 99 folds, not 100"):
        walk_forward(config, prices, 100)


def test_a_stitched_walk_forward_of_one_policy_is_that_policy_played_through():
    config, prices = stocks(train_share=0.4, features="article", cost_bps=30.0), walk()
    policy = Softmax(2)
    policy.weight = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    folds = walk_forward(config, prices, 5)
    curve = stitch([play(policy, config, prices, fold.test) for fold in folds], config, prices)
    whole = play(policy, config, prices, split(config, prices).test)
    assert len(set(whole.position)) > 1
    np.testing.assert_array_equal(curve.dates, prices.dates[folds[0].test.start :])
    np.testing.assert_allclose(curve.equity, reprice(whole.actions, config, prices, whole.part).equity)


# ---- the report


def test_the_report_is_json_and_has_every_part_with_its_baselines():
    result = evaluate_parts(Softmax(), stocks(), walk(400))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert [part["part"] for part in result["parts"]] == list(result["curves"]) == ["train", "validation", "test"]
    for part in result["parts"]:
        assert sum(part["actions"].values()) == pytest.approx(1)
        for strategy in (part, part["buy_and_hold"], part["moving_average_rule"], part["cash"]):
            assert {"total_return", "sharpe", "max_drawdown", "trades"} <= strategy.keys()
        curves = result["curves"][part["part"]]
        assert len(curves["dates"]) == len(curves["agent"]) == len(curves["random"]["0.5"]) == part["rows"]
        assert len(curves["actions"]) == len(curves["probabilities"]) == part["rows"] - 1
        assert curves["agent"][-1] - 1 == pytest.approx(part["total_return"], abs=1e-6)
        taken = {action for action, share in part["actions"].items() if share}
        assert part["features_by_action"].keys() == taken


@pytest.mark.parametrize("action", [BUY, SELL, HOLD])
def test_a_policy_that_does_one_thing_only_is_called_collapsed(action):
    name = ["buy", "sell", "hold"][action]
    parts = evaluate_parts(Always(action), stocks(), walk())["parts"]
    assert all(f"it {name}s on 100 % of the days" in part["collapse"] for part in parts)
    assert parts[-1]["features_by_action"].keys() == {name}


def test_a_policy_that_does_two_things_is_not():
    actions = np.array([BUY] * 98 + [SELL] * 2)
    record = Record(Part("test", 0, 101), np.zeros((100, 5)), np.zeros((100, 3)), actions, positions(actions, False))
    assert collapse(record) is None


def test_costs_change_after_the_fact_without_playing_again():
    result = evaluate_parts(Softmax(), stocks(cost_bps=5.0), walk(400))
    prices, test = walk(400), split(stocks(), walk(400)).test
    actions = np.array(result["curves"]["test"]["actions"])
    dear = evaluate_parts(Softmax(), stocks(cost_bps=50.0), prices)
    repriced = reprice(actions, stocks(cost_bps=50.0), prices, test)
    np.testing.assert_allclose(repriced.equity, dear["curves"]["test"]["agent"], atol=1e-6)
    assert repriced.equity[-1] < result["curves"]["test"]["agent"][-1]


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("row", [None, WINDOW, 198])
def test_no_feature_looks_ahead(features, row):
    found = check_look_ahead(Softmax(len(FEATURES[features].names)), stocks(features=features), walk(), row)
    assert found.clean
    assert found.text.startswith("No look-ahead")


def test_a_feature_that_looks_ahead_is_caught(monkeypatch):
    def tomorrow(close, window):
        return np.append(np.diff(close), 0.0)[:, None]

    monkeypatch.setitem(FEATURES, "article", FeatureSet("Cheat", {"tomorrow": "The next move."}, tomorrow, False))
    found = check_look_ahead(Softmax(1), stocks(features="article"), walk())
    assert not found.clean
    assert found.text.startswith("Look-ahead")
    with pytest.raises(BadInput, match=f"rows {WINDOW} to 198"):
        check_look_ahead(Softmax(1), stocks(features="article"), walk(), 199)


def test_a_fold_of_a_walk_forward_is_the_split_of_its_run():
    config, prices = TrainConfig(task="stocks", folds=4, fold=2), walk(2000)
    assert split(config, prices) == walk_forward(config, prices, 4)[2]
    assert split(config.replace(anchored=False), prices).train.start > split(config, prices).train.start


def test_a_fold_that_is_not_there_is_refused():
    with pytest.raises(BadInput, match="Fold 4 is not there"):
        TrainConfig(task="stocks", folds=4, fold=4)
