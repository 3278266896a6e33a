"""Synthetic markets are what they say, and no policy beats the one that is called best."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from pgcore.market import synthetic
from pgcore.market.prices import PriceError
from pgcore.market.synthetic import MARKETS, SyntheticMarket, generate


@cache
def market_of(kind: str, seed: int, allow_short: bool = True) -> SyntheticMarket:
    return generate(kind, seed, 1000, allow_short=allow_short)


def log_growth(market: SyntheticMarket, positions: np.ndarray, cost_bps: float) -> float:
    """log(final / initial equity) of positions held from each close to the next, costs paid on what is traded."""
    close = market.series.close
    simple = close[1:] / close[:-1] - 1
    traded = np.abs(np.diff(np.concatenate([[0], positions[:-1]])))
    return float(np.log1p(positions[:-1] * simple).sum() + np.log1p(-cost_bps / 1e4 * traded).sum())


def log_returns(market: SyntheticMarket) -> np.ndarray:
    return np.diff(np.log(market.series.close))


@pytest.mark.parametrize("kind", MARKETS)
class TestEveryMarket:
    def test_the_seed_decides_the_prices_and_nothing_else_does(self, kind):
        assert generate(kind, 3, 200).series == generate(kind, 3, 200, cost_bps=50, allow_short=False).series
        assert generate(kind, 3, 200).series != generate(kind, 4, 200).series

    def test_bars_are_plausible(self, kind):
        series = generate(kind, 0, 500).series
        assert (series.low <= np.minimum(series.open, series.close)).all()
        assert (series.high >= np.maximum(series.open, series.close)).all()
        assert np.is_busday(series.dates.astype("datetime64[D]")).all()
        assert series.periods_per_year == pytest.approx(261, abs=1)

    def test_the_open_tells_nothing_of_the_day(self, kind):
        series = generate(kind, 0, 5000).series
        gap = np.log(series.open[1:] / series.close[:-1])
        move = np.log(series.close[1:] / series.close[:-1])
        assert abs(np.corrcoef(gap, move)[0, 1]) < 0.05

    @pytest.mark.parametrize("allow_short", [True, False])
    def test_the_best_policy_earns_on_average_what_is_stated(self, kind, allow_short):
        markets = [market_of(kind, seed, allow_short) for seed in range(16)]
        earned = np.array([log_growth(market, market.truth.positions, 5.0) for market in markets])
        stated = np.array([market.truth.best_policy_profit for market in markets])
        error = (earned - stated).std() / np.sqrt(len(markets))
        assert abs((earned - stated).mean()) <= 3 * error + 0.01 * stated.mean()

    @pytest.mark.parametrize("other", [lambda p: np.roll(p, 3), np.ones_like, lambda p: np.maximum(p, 0), lambda p: -p])
    def test_no_shifted_or_simpler_policy_earns_more_on_average(self, kind, other):
        markets = [market_of(kind, seed) for seed in range(16)]
        more = [
            log_growth(market, other(market.truth.positions), 5.0) - log_growth(market, market.truth.positions, 5.0)
            for market in markets
        ]
        assert np.mean(more) <= 2 * np.std(more) / np.sqrt(len(markets))

    def test_costs_never_help(self, kind):
        profits = [generate(kind, 0, 500, cost_bps=cost).truth.best_policy_profit for cost in (0.0, 5.0, 50.0, 500.0)]
        assert all(more <= less + 1e-12 for less, more in pairwise(profits))
        assert profits[-1] >= 0

    def test_positions_are_one_a_row(self, kind):
        truth = generate(kind, 0, 300, allow_short=False).truth
        assert truth.positions.shape == (300,)
        assert set(truth.positions) <= {0, 1}


class TestRandomWalk:
    def test_nothing_is_to_be_earned_without_drift(self):
        assert generate("random-walk", 0, 1000, cost_bps=0).truth.best_policy_profit == 0

    def test_with_drift_the_best_is_to_hold(self):
        truth = generate("random-walk", 0, 1001, cost_bps=10, drift=0.252).truth
        assert truth.best_policy_profit == pytest.approx(1000 * 0.001 + np.log(0.999))
        assert (truth.positions == 1).all()

    def test_falling_prices_are_for_shorts_only(self):
        assert (generate("random-walk", 0, 500, drift=-0.5).truth.positions == -1).all()
        assert generate("random-walk", 0, 500, drift=-0.5, allow_short=False).truth.best_policy_profit == 0

    def test_returns_have_drift_and_noise(self):
        returns = log_returns(generate("random-walk", 0, 50_000, drift=0.5, noise=0.02))
        assert returns.mean() == pytest.approx(0.5 / 252, abs=3 * 0.02 / np.sqrt(50_000))
        assert returns.std() == pytest.approx(0.02, rel=0.02)


class TestMeanReversion:
    def test_moments_of_the_exact_discretisation(self):
        market = generate("mean-reversion", 0, 50_000, speed=0.05, noise=0.02)
        x = np.log(market.series.close / 100)
        assert np.polyfit(x[:-1], x[1:], 1)[0] == pytest.approx(np.exp(-0.05), abs=0.005)
        assert x.std() == pytest.approx(0.02 / np.sqrt(2 * 0.05), rel=0.05)
        assert market.truth.facts["spread"] == pytest.approx(0.02 / np.sqrt(2 * 0.05), rel=1e-9)

    def test_the_best_policy_buys_below_the_mean_and_sells_above(self):
        market = generate("mean-reversion", 1, 2000)
        x = np.log(market.series.close / 100)
        assert x[market.truth.positions == 1].max() < x[market.truth.positions == -1].max()
        assert (market.truth.positions[x < -0.05] == 1).all()
        assert (market.truth.positions[x > 0.05] == -1).all()

    def test_without_costs_profit_is_that_of_the_sign_rule(self):
        # Always on the side of the mean: (1 − φ) E|x| a row, with x normal; half of the time short, which loses σ².
        spread, decay = 0.02 / np.sqrt(0.1), np.exp(-0.05)
        noise2 = spread**2 * (1 - decay**2)
        expected = (1 - decay) * spread * np.sqrt(2 / np.pi) - noise2 / 2
        profits = [generate("mean-reversion", seed, 2001, cost_bps=0).truth.best_policy_profit for seed in range(5)]
        assert np.mean(profits) / 2000 == pytest.approx(expected, rel=0.03)


class TestTrendRegimes:
    def test_regimes_last_and_drift_as_stated(self):
        market = generate("trend-regimes", 0, 50_000, drift=0.004, duration=50)
        regime = market.truth.facts["regime"]
        returns = log_returns(market)
        assert np.abs(np.diff(regime)).mean() == pytest.approx(1 / 50, rel=0.1)
        assert returns[regime[:-1] == 1].mean() == pytest.approx(0.004, abs=3e-4)
        assert returns[regime[:-1] == 0].mean() == pytest.approx(-0.004, abs=3e-4)

    def test_the_best_policy_follows_the_regime(self):
        truth = generate("trend-regimes", 0, 1000).truth
        assert (truth.positions[:-1] == np.where(truth.facts["regime"] == 1, 1, -1)[:-1]).all()


class TestSine:
    def test_the_wave_is_as_stated(self):
        market = generate("sine", 0, 5000, amplitude=0.2, period=50, noise=0.01)
        level = np.log(market.series.close / market.truth.facts["wave"])
        assert level.std() == pytest.approx(0.01, rel=0.05)
        assert np.log(market.truth.facts["wave"] / 100).max() == pytest.approx(0.2, rel=0.01)

    def test_almost_without_noise_the_whole_wave_is_earned(self):
        # Up and down 2A each, twice a period; a short earns −log(2 − eʳ) ≈ |r| − r².
        truth = generate("sine", 0, 1001, cost_bps=0, amplitude=0.1, period=100, noise=0.0005).truth
        assert truth.best_policy_profit == pytest.approx(10 * 4 * 0.1, rel=0.05)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"kind": "bubble"}, "no synthetic market 'bubble': choose one of random-walk, mean-reversion"),
            ({"kind": "sine", "rows": 3}, "cannot have 3 rows: give between 30 and 100,000"),
            ({"kind": "sine", "tempo": 1.0}, "no parameter 'tempo': it has amplitude, period, noise"),
            ({"kind": "sine", "period": 1.0}, "Period cannot be 1: give a number between 4 and 1000"),
            ({"kind": "sine", "period": float("nan")}, "Period cannot be nan"),
        ],
    )
    def test_is_refused(self, arguments, sentence):
        with pytest.raises(PriceError, match=sentence):
            generate(**arguments)

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ("seed", "'seed' in 'synthetic:sine,seed' is no setting: write name=number, such as seed=0"),
            ("rows=many", "'rows=many' .* is no setting"),
            ("rows=nan", "'rows=nan' .* is no setting"),
            ("seed=1e999", "'seed=1e999' .* is no setting"),
            ("seed=-1", "The seed cannot be -1"),
            ("cost_bps=3", "no parameter 'cost_bps': it has amplitude"),
            ("kind=3", "no parameter 'kind'"),
        ],
    )
    def test_a_key_that_names_none_is_refused(self, settings, sentence):
        with pytest.raises(PriceError, match=sentence):
            synthetic.market_of(f"synthetic:sine,{settings}")
