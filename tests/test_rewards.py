"""What a day of trading pays."""

import numpy as np
import pytest

from pgcore.market.accounting import BUY, HOLD, SELL
from pgcore.market.rewards import REWARDS, RUIN, Day, article, article_mirrored, pnl, sharpe


def day(action=HOLD, price=100.0, next_price=100.0, equity=1.0, next_equity=1.0, volatility=0.01, memory=((0.0,), (1e-4,))):
    """A day of one trader, or of several where an argument is a list."""
    first, *rest = np.broadcast_arrays(
        *(np.atleast_1d(x) for x in (action, price, next_price, equity, next_equity, volatility))
    )
    return Day(first, *(x.astype(float) for x in rest), memory=np.array(memory, dtype=float))


@pytest.mark.parametrize(
    ("action", "next_price", "as_printed", "mirrored"),
    [
        (BUY, 101.0, +0.1, +0.1),
        (BUY, 99.0, 0.0, -0.1),
        (BUY, 100.0, 0.0, 0.0),
        (SELL, 101.0, 0.0, -0.1),
        (SELL, 99.0, -0.1, +0.1),
        (SELL, 100.0, 0.0, 0.0),
        (HOLD, 101.0, 0.0, 0.0),
        (HOLD, 99.0, 0.0, 0.0),
    ],
)
def test_the_articles_reward_as_printed_and_as_meant(action, next_price, as_printed, mirrored):
    assert article(day(action, next_price=next_price)) == pytest.approx(as_printed)
    assert article_mirrored(day(action, next_price=next_price)) == pytest.approx(mirrored)


def test_under_the_articles_reward_buying_is_never_worse_than_anything_else():
    later = np.linspace(90, 110, 41)
    buy, sell, hold = (article(day(a, next_price=later)) for a in (BUY, SELL, HOLD))
    assert (buy >= sell).all()
    assert (buy >= hold).all()


def test_pnl_is_log_growth_and_finite_at_ruin():
    paid = pnl(day(equity=[1.0, 2.0, 1.0], next_equity=[1.1, 1.0, 0.0]))
    assert paid == pytest.approx([np.log(1.1), np.log(0.5), np.log(RUIN)])


def test_sharpe_is_the_derivative_of_the_moving_sharpe_ratio_by_its_rate():
    """Moody & Saffell 2001: D_t = dS_t/dη at η = 0, S = A / √(B − A²) with A, B moved by η towards R and R²."""
    mean, square, earned = 0.002, 4e-4, 0.015

    def moved(rate):
        a, b = mean + rate * (earned - mean), square + rate * (earned**2 - square)
        return a / np.sqrt(b - a * a)

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert sharpe(day(next_equity=1 + earned, memory=[[mean], [square]])) == pytest.approx(slope, rel=1e-6)


def test_sharpe_remembers_exponentially_moving_moments():
    reward = REWARDS["sharpe"]
    memory = reward.start(np.array([0.02]))
    assert memory[:, 0] == pytest.approx([0.0, 4e-4])
    mean, square = 0.0, 4e-4
    for earned in (0.01, -0.03, 0.02):
        memory = reward.remember(day(next_equity=1 + earned, memory=memory))
        mean, square = mean + 0.01 * (earned - mean), square + 0.01 * (earned**2 - square)
    assert memory[:, 0] == pytest.approx([mean, square])


def test_sharpe_stays_bounded_after_a_long_time_in_cash():
    reward = REWARDS["sharpe"]
    memory = reward.start(np.array([0.01]))
    for _ in range(5000):
        memory = reward.remember(day(memory=memory))
    assert abs(reward.pay(day(next_equity=1.03, memory=memory))[0]) < 100


@pytest.mark.parametrize("name", REWARDS)
def test_every_reward_pays_each_trader_a_finite_number_and_says_what_it_is(name):
    reward = REWARDS[name]
    volatility = np.array([1e-6, 0.01, 0.5])
    today = day(
        action=[BUY, SELL, HOLD], next_price=[110.0, 90.0, 100.0], next_equity=[1.1, 0.0, 1.0], volatility=volatility
    )._replace(memory=reward.start(volatility))
    assert np.isfinite(reward.pay(today)).all()
    assert reward.pay(today).shape == (3,)
    assert reward.title
    assert reward.about.endswith(".")
    assert reward.equation.startswith("r_t = ")
