"""What the agent sees, by hand."""

import numpy as np
import pytest

from pgcore.market.accounting import BUY
from pgcore.market.env import StocksVectorEnv
from pgcore.market.features import FEATURES, LIMIT
from pgcore.market.prices import PriceSeries


def test_the_articles_features_are_its_printed_formula_over_the_average():
    """§4.3: s_t − MA_n where s_t > MA_n, else 0, MA_n over the n prices before t; its mirror for sell."""
    close = np.array([10.0, 12.0, 14.0, 15.0, 9.0, 11.5])
    table = FEATURES["article"].table(close, 3)
    for t in (3, 4, 5):
        average = close[t - 3 : t].mean()
        expected = [max(close[t] - average, 0) / average, max(average - close[t], 0) / average]
        np.testing.assert_allclose(table[t], expected, rtol=1e-6, atol=1e-7)


def test_the_scale_free_features():
    rng, t = np.random.default_rng(0), 50
    close = 100 * np.exp(np.cumsum(0.03 * rng.standard_normal(60)))
    log_price, recent = np.log(close), np.log(close[t - 39 : t + 1])
    volatility = np.sqrt(np.mean(np.diff(log_price[t - 20 : t + 1]) ** 2))
    expected = [
        np.log(close[t] / close[t - 5 : t].mean()) / (volatility * np.sqrt(5 / 3)),
        (log_price[t] - recent.mean()) / recent.std(),
        (log_price[t] - log_price[t - 1]) / volatility,
        (log_price[t] - log_price[t - 5]) / (volatility * np.sqrt(5)),
        0.0,
    ]
    np.testing.assert_allclose(FEATURES["scale-free"].table(close, 5)[t], expected, rtol=1e-5)


def test_the_position_held_is_seen_last():
    prices = PriceSeries.from_close(np.datetime64("2020-01-01") + np.arange(40), np.linspace(50, 60, 40))
    env = StocksVectorEnv(1, prices=prices, window=5)
    obs, _ = env.reset()
    assert FEATURES["scale-free"].names[-1] == "position"
    assert obs[0, -1] == 0
    assert env.step(np.array([BUY]))[0][0, -1] == 1


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("close", [np.full(60, 7.0), np.r_[np.full(30, 1.0), np.full(30, 1e6)], 2.0 ** np.arange(60)])
def test_observations_stay_finite_and_bounded_whatever_the_prices(features, close):
    table = FEATURES[features].table(close, 5)
    assert table.shape == (60, len(FEATURES[features].names))
    assert np.isfinite(table).all()
    assert np.abs(table).max() <= LIMIT
