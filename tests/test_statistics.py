"""The numbers of a backtest, and how much of them is luck."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from pgcore.config import TrainConfig
from pgcore.market import luck, statistics
from pgcore.market.accounting import BUY, HOLD, SELL
from pgcore.market.backtest import compare, reprice
from pgcore.market.luck import (
    expected_best_sharpe,
    luck_bound,
    probabilistic_sharpe,
    sharpe_difference,
    sharpe_probability,
)
from pgcore.market.parts import Part
from pgcore.market.prices import PriceSeries
from pgcore.market.statistics import METRICS, measure
from pgcore.market.verdict import verdict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import empyrical
    import quantstats.stats

YEAR = 252


def some_returns(seed: int, rows: int = 750) -> np.ndarray:
    return 0.0005 + 0.01 * np.random.default_rng(seed).standard_t(4, rows)


def series(close) -> PriceSeries:
    """A history with 252 rows a year."""
    step = np.timedelta64(round(365.25 * 24 * 3600 * 10**6 / YEAR), "us")
    return PriceSeries.from_close(np.datetime64("2000-01-03T00:00:00.000000") + np.arange(len(close)) * step, close)


def random_walk(rows: int, seed: int, drift: float = 0.0, deviation: float = 0.012) -> PriceSeries:
    rng = np.random.default_rng(seed)
    return series(100 * np.exp(np.cumsum(drift + deviation * rng.standard_normal(rows))))


def stocks(**settings) -> TrainConfig:
    return TrainConfig(task="stocks", **{"window": 20, **settings})


def judged(actions, prices, *, trials=1, trial_sharpes=(), **settings):
    part = Part("test", 20, len(prices))
    return verdict(compare(np.asarray(actions), stocks(**settings), prices, part), trials, trial_sharpes)


# ---- the same numbers as the libraries people know


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("periods", [252, 52, 365])
def test_numbers_equal_those_of_empyrical(seed, periods):
    returns = some_returns(seed)
    year = {"annualization": periods}
    for ours, theirs in (
        (statistics.total_return(returns), empyrical.cum_returns_final(returns)),
        (statistics.annual_return(returns, periods), empyrical.annual_return(returns, **year)),
        (statistics.volatility(returns, periods), empyrical.annual_volatility(returns, **year)),
        (statistics.sharpe(returns, periods), empyrical.sharpe_ratio(returns, **year)),
        (statistics.sortino(returns, periods), empyrical.sortino_ratio(returns, **year)),
        (statistics.max_drawdown(returns), empyrical.max_drawdown(returns)),
        (statistics.calmar(returns, periods), empyrical.calmar_ratio(returns, **year)),
    ):
        assert ours == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("periods", [252, 365])
def test_numbers_equal_those_of_quantstats(seed, periods):
    returns = some_returns(seed)
    dated = pd.Series(returns, pd.date_range("2001-01-01", periods=len(returns)))
    theirs = quantstats.stats
    for ours, other in (
        (statistics.total_return(returns), theirs.comp(dated)),
        (statistics.annual_return(returns, periods), theirs.cagr(dated, periods=periods)),
        (statistics.volatility(returns, periods), theirs.volatility(dated, periods=periods)),
        (statistics.sharpe(returns, periods), theirs.sharpe(dated, periods=periods)),
        (statistics.sortino(returns, periods), theirs.sortino(dated, periods=periods)),
        (statistics.max_drawdown(returns), theirs.max_drawdown(dated)),
        (statistics.calmar(returns, periods), theirs.calmar(dated, periods=periods)),
        (statistics.win_rate(returns), theirs.win_rate(dated)),
        (statistics.profit_factor(returns), theirs.profit_factor(dated)),
    ):
        assert ours == pytest.approx(float(other), rel=1e-10)


def test_numbers_of_a_worked_example():
    """Bought at 100 for 1/1.01, sold at 110, out, bought again at 100 and held to 90; 1 % of each trade's value is cost."""
    close = [100.0] * 20 + [100, 110, 100, 90]
    prices = series(close)
    result = reprice(np.array([BUY, SELL, BUY]), stocks(cost_bps=100.0), prices, Part("test", 20, 24))
    first = 1.1 / 1.01 * 0.99
    second = first / 1.01 * 0.9
    assert result.equity == pytest.approx([1, 1.1 / 1.01, first, second])
    numbers = measure(result)
    assert numbers["total_return"] == pytest.approx(second - 1)
    assert numbers["exposure"] == pytest.approx(2 / 3)
    assert numbers["trades"] == 2
    assert numbers["win_rate"] == 0.5
    assert numbers["profit_factor"] == pytest.approx((first - 1) / (first - second))
    assert numbers["cost_paid"] == pytest.approx(0.01 * (1 / 1.01 + 1.1 / 1.01 + first / 1.01))
    assert numbers["turnover"] == pytest.approx((1 / 1.01 + 1 + 1 / 1.01) * YEAR / 3)
    assert numbers["max_drawdown"] == pytest.approx(second / (1.1 / 1.01) - 1)


def test_every_number_has_a_title_and_a_definition_of_one_line():
    for metric in METRICS.values():
        assert metric.title
        assert metric.definition.endswith(".")
        assert "\n" not in metric.definition
        assert metric.unit in ("share", "ratio", "count")


# ---- histories with nothing to divide by


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("close", "actions", "expected"),
    [
        ([100.0] * 10, [BUY] * 9, {"total_return": 0.0, "sharpe": 0.0, "sortino": 0.0, "calmar": 0.0, "trades": 1.0}),
        (range(100, 110), [HOLD] * 9, {"total_return": 0.0, "sharpe": 0.0, "trades": 0.0, "exposure": 0.0, "turnover": 0.0}),
        ([100.0, 110.0], [BUY], {"total_return": 0.1, "max_drawdown": 0.0, "win_rate": 1.0}),
        (np.arange(110, 100, -1.0), [BUY] * 9, {"total_return": 101 / 110 - 1, "win_rate": 0.0, "profit_factor": 0.0}),
        ([100.0, 50.0, 300.0, 10.0], [SELL, SELL, SELL], {"total_return": -1.0, "annual_return": -1.0, "max_drawdown": -1.0}),
    ],
)
def test_flat_short_losing_and_idle_histories_have_sensible_numbers(close, actions, expected):
    prices, cost = series([100.0] * 20 + list(close)), {"cost_bps": 0.0, "borrow_bps": 0.0}
    part = Part("test", 20, len(prices))
    compared = compare(np.array(actions), stocks(allow_short=SELL in actions, **cost), prices, part)
    numbers = measure(compared.agent)
    for name, value in expected.items():
        assert numbers[name] == pytest.approx(value), name
    assert not verdict(compared).skill


@pytest.mark.filterwarnings("error")
def test_what_does_not_exist_is_nan_not_an_error():
    nothing = measure(reprice(np.array([HOLD]), stocks(), series([100.0] * 22), Part("test", 20, 22)))
    assert {name for name, value in nothing.items() if math.isnan(value)} == {"volatility", "sharpe", "win_rate"}
    assert math.isnan(statistics.sharpe(np.full(10, 0.01), YEAR))
    assert math.isnan(statistics.sortino(np.full(10, 0.01), YEAR))
    assert math.isnan(statistics.profit_factor(np.array([0.1, 0.2])))
    for number in (statistics.annual_return, statistics.volatility, statistics.sharpe, statistics.sortino):
        assert math.isnan(number(np.array([]), YEAR))
    assert statistics.max_drawdown(np.array([])) == 0


# ---- luck


def test_deflated_sharpe_of_the_papers_example():
    """Bailey & López de Prado 2014: a yearly Sharpe ratio of 2.5 over 1,250 days, skewness −3, kurtosis 10, the variance of
    the trials' yearly Sharpe ratios ½: the best of 100 luckless trials is expected at 0.1132 a day, and DSR = 0.9004; with
    46 trials it is 0.9505, and so it is with 88 and normal returns."""
    variance, observed = 0.5 / 250, 2.5 / math.sqrt(250)
    assert expected_best_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    for trials, skewness, kurtosis, deflated in ((100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)):
        best = expected_best_sharpe(trials, variance)
        assert sharpe_probability(observed, 1250, skewness, kurtosis, best) == pytest.approx(deflated, abs=5e-5)


def test_probabilistic_sharpe_by_hand():
    """Returns 3, 1, −1, 3 (%): mean 1.5, deviation 1.6583 (1.9149 with R − 1), S = 0.7833, γ₃ = −0.4934, γ₄ = 1.6281:
    √(1 + 0.4934 · 0.7833 + 0.1570 · 0.6136) = 1.2177, so PSR = Φ(0.7833 √3 / 1.2177) = Φ(1.1142) = 0.8674."""
    assert probabilistic_sharpe(np.array([0.03, 0.01, -0.01, 0.03])) == pytest.approx(0.8674, abs=5e-5)
    assert probabilistic_sharpe(np.array([0.03, 0.01, -0.01, 0.03]), 0.78335) == pytest.approx(0.5, abs=1e-4)
    assert probabilistic_sharpe(np.zeros(100)) == 0.5
    assert probabilistic_sharpe(np.array([0.1])) == 0.5


@pytest.mark.parametrize("trials", [5, 50])
def test_the_best_of_many_without_skill_is_as_good_as_expected(trials):
    best = np.random.default_rng(0).normal(0, 0.03, (20_000, trials)).max(axis=1).mean()
    assert expected_best_sharpe(trials, 0.03**2) == pytest.approx(best, rel=0.03)
    assert expected_best_sharpe(1, 0.03**2) == 0


def test_bootstrap_of_independent_returns_is_as_wide_as_theory_says():
    """The Sharpe ratio of R independent normal rows has variance 1/R (Lo 2002), a difference of two independent ones 2/R."""
    rng = np.random.default_rng(0)
    low, high = sharpe_difference(rng.normal(0, 0.01, 1000), rng.normal(0, 0.02, 1000), YEAR)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(2 / 1000 * YEAR), rel=0.15)


def test_bootstrap_keeps_what_belongs_together():
    returns = some_returns(0)
    assert sharpe_difference(returns, returns, YEAR) == (0, 0)
    assert sharpe_difference(2 * returns, returns, YEAR) == pytest.approx((0, 0), abs=1e-12)
    assert sharpe_difference(returns, some_returns(1), YEAR, seed=3) == sharpe_difference(
        returns, some_returns(1), YEAR, seed=3
    )
    assert sharpe_difference(np.zeros(50), np.zeros(50), YEAR) == (0, 0)
    assert np.isnan(sharpe_difference(returns[:1], returns[:1], YEAR)).all()


def test_bootstrap_does_not_depend_on_how_much_is_drawn_at_a_time(monkeypatch):
    one, other = some_returns(0, 301), some_returns(1, 301)
    together = sharpe_difference(one, other, YEAR, resamples=100, seed=5)
    monkeypatch.setattr(luck, "NUMBERS_AT_ONCE", 1000)
    assert sharpe_difference(one, other, YEAR, resamples=100, seed=5) == pytest.approx(together, rel=1e-12)


def test_bootstrap_resamples_are_what_numpy_says_of_the_rows_drawn():
    returns, other = some_returns(0, 301), np.where(np.arange(301) < 3, 0.01, 0.0)
    ((first, stop),) = luck._resamples(301, 50, 7)
    blocks = [zip(*each, strict=True) for each in zip(first, stop, strict=True)]
    rows = [np.concatenate([np.arange(*block) for block in each]) for each in blocks]
    assert [len(drawn) for drawn in rows] == 50 * [301]
    for series in (returns, other):
        by_hand = [series[drawn % 301] for drawn in rows]
        slow = [each.mean() / each.std(ddof=1) if np.ptp(each) else 0.0 for each in by_hand]
        np.testing.assert_allclose(luck._drawn_sharpe(series, first, stop), slow, rtol=1e-9, atol=1e-15)


def test_bootstrap_blocks_begin_anywhere_and_have_geometric_lengths():
    ((first, stop),) = luck._resamples(1000, 1000, 0)
    length = (stop - first)[:, :50].ravel()
    assert length.mean() == pytest.approx(10, rel=0.02)
    assert (length == 1).mean() == pytest.approx(0.1, abs=0.005)
    assert (length > 20).mean() == pytest.approx(0.9**20, abs=0.005)
    assert np.bincount(first.ravel() // 100) / first.size == pytest.approx(np.full(10, 0.1), abs=0.003)


def test_bootstrap_draws_blocks_so_that_trends_widen_the_interval():
    shocks = np.random.default_rng(0).standard_normal(2000)
    trending = np.convolve(shocks, np.ones(8), "valid")
    shuffled = np.random.default_rng(1).permutation(trending)
    width = [np.ptp(sharpe_difference(returns, np.zeros(len(returns)), YEAR)) for returns in (trending, shuffled)]
    assert width[0] > 1.5 * width[1]


def test_even_a_strategy_that_stops_when_ahead_rarely_passes_the_luck_bound():
    """Long until the bound itself is met, then out for good: the strategy that passes most often of all."""
    rows = 500
    market = np.random.default_rng(0).normal(0, 0.01, (1000, rows))
    enough = luck.NORMAL.inv_cdf(0.975) * 0.5 * market.std(axis=1, keepdims=True) * math.sqrt(rows)
    ahead = np.cumsum(market / 2, axis=1) > enough
    invested = np.cumsum(ahead, axis=1) - ahead == 0
    passed = [luck_bound(r * i, r, allow_short=False) <= 0.05 for r, i in zip(market, invested, strict=True)]
    assert 0.01 < np.mean(passed) <= 0.05


# ---- the verdict


def moving_average_actions(prices, window=20):
    close = prices.close
    average = np.convolve(close, np.ones(window) / window, "valid")[: len(close) - window - 1]
    return np.where(close[window:-1] > average, BUY, SELL)


def coin_actions(prices, seed):
    return np.random.default_rng(seed).choice([BUY, SELL, HOLD], len(prices) - 21, p=[0.05, 0.05, 0.9])


@pytest.mark.parametrize("allow_short", [False, True])
def test_on_driftless_walks_skill_is_claimed_of_at_most_one_in_twenty(allow_short):
    strategies = {
        "always long": lambda prices, seed: np.full(len(prices) - 21, BUY),
        "moving average": lambda prices, seed: moving_average_actions(prices),
        "against it": lambda prices, seed: 1 - moving_average_actions(prices),
        "coin": coin_actions,
        "three days": lambda prices, seed: np.where(np.arange(len(prices) - 21) // 3 == seed % 80, BUY, SELL),
    }
    walks = [random_walk(271, seed) for seed in range(60)]
    for name, act in strategies.items():
        claims = [judged(act(p, s), p, allow_short=allow_short, cost_bps=0.0).skill for s, p in enumerate(walks)]
        assert np.mean(claims) <= 0.05, name


def test_riding_a_rise_is_not_skill():
    rising = random_walk(1021, 0, drift=0.001, deviation=0.01)
    always = judged(np.full(1000, BUY), rising)
    assert always.deflated_sharpe > 0.95
    assert not always.skill
    assert "holding its average exposure would have earned about as much" in always.text
    mostly = judged(np.where(np.arange(1000) % 100 == 0, SELL, BUY), rising)
    assert not mostly.skill


@pytest.mark.parametrize("allow_short", [False, True])
def test_skill_is_recognised_where_it_is_real(allow_short):
    """Log-prices that revert to a mean which the trader knows."""
    claims = []
    for seed in range(5):
        shocks = 0.02 * np.random.default_rng(seed).standard_normal(1021)
        log_price = np.zeros(1021)
        for t in range(1, 1021):
            log_price[t] = 0.95 * log_price[t - 1] + shocks[t]
        actions = np.where(log_price[20:-1] < 0, BUY, SELL)
        claims.append(judged(actions, series(100 * np.exp(log_price)), allow_short=allow_short))
    assert all(claim.skill for claim in claims)
    assert all(claim.text.startswith("Evidence of skill: +") for claim in claims)


def test_every_further_configuration_tried_makes_the_same_result_less_convincing():
    prices = random_walk(521, 3)
    actions = np.where(np.diff(prices.close)[20:] > np.random.default_rng(0).normal(0, 8, 500), BUY, SELL)
    chances = [judged(actions, prices, trials=n).deflated_sharpe for n in (1, 2, 10, 100, 1000)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.9 > chances[-1]
    alike, apart = ([1 - spread, 1.0, 1 + spread] for spread in (0.05, 2.0))
    assert (
        judged(actions, prices, trials=3, trial_sharpes=alike).deflated_sharpe
        > judged(actions, prices, trials=3, trial_sharpes=apart).deflated_sharpe
    )


def test_the_verdict_says_in_one_sentence_what_it_rests_on():
    prices = series(np.r_[np.full(20, 100.0), 100 * np.exp(np.cumsum(np.tile([0.01, -0.009], 50)))])
    told = judged([BUY, HOLD] * 49 + [HOLD], prices, trials=37, cost_bps=0.0)
    assert told.text == (
        f"No evidence of skill: +4.1 % against +4.1 % for buy-and-hold; after 37 configurations tried on these prices, the"
        f" chance that this Sharpe is real is {100 * told.deflated_sharpe:.0f} %."
    )
    assert "after 1 configuration tried" in judged([BUY] * 99, prices).text
    assert judged([HOLD] * 99, prices).text == "No evidence of skill: it never traded."
    assert judged([BUY] * 9, prices.between(0, 30)).text == "No evidence of skill: 9 rows are too few to tell."
