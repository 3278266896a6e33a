"""The benchmark of synthetic markets in small: the agent finds what is there to be found, and no skill where nothing is."""

import numpy as np
import pytest

from benchmarks.markets import REVERTING, TREND_WINDOW, TRENDING, knowing_rule, outcomes
from pgcore.market.synthetic import generate

SHORT = 100_000


def test_where_prices_revert_the_agent_earns_most_of_what_knowing_the_mean_earns():
    found = outcomes("mean-reversion", REVERTING, [1], max_steps=SHORT)[0]
    assert found.knowing > 1.0
    assert found.agent > 0.6 * found.knowing
    assert found.agent > found.rule
    assert found.skill


def test_where_trends_last_the_agent_beats_buy_and_hold_as_the_rule_does():
    found = outcomes("trend-regimes", TRENDING, [0], window=TREND_WINDOW, max_steps=SHORT)[0]
    assert found.rule > found.hold
    assert found.agent > found.hold


def test_on_random_walks_no_skill_is_claimed():
    found = outcomes("random-walk", {}, range(6), max_steps=10_000)
    assert not any(each.skill for each in found)


@pytest.mark.parametrize("kind", ["mean-reversion", "trend-regimes"])
def test_the_rule_that_knows_stands_on_the_side_the_price_will_go(kind):
    market = generate(kind, seed=0, rows=3000)
    held, moved = knowing_rule(market), np.diff(np.log(market.series.close))
    assert set(np.unique(held)) <= {-1.0, 1.0}
    assert np.mean(held[:-1] * moved) > 0.001


def test_on_a_random_walk_nothing_can_be_known():
    assert not knowing_rule(generate("random-walk", seed=0, rows=100)).any()
