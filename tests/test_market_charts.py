"""Charts of prices and trades: every part named, every trade where it was made."""

import numpy as np
import plotly.graph_objects as go
import pytest

from pgcore import market_charts
from pgcore.config import TrainConfig
from pgcore.market.backtest import compare, evaluate_parts
from pgcore.market.parts import Part, split
from pgcore.market.prices import PriceSeries, load_sample


class Random:
    """A policy that does anything, but always the same on what it sees."""

    def probabilities(self, obs):
        return np.random.default_rng(0).dirichlet(np.ones(3), size=len(obs))


@pytest.fixture(scope="module")
def result():
    return evaluate_parts(Random(), TrainConfig(task="stocks"), load_sample("sp500"))


def names(figure):
    return [trace.name for trace in figure.data]


def test_the_price_chart_names_and_shades_each_part():
    figure = market_charts.price_chart(load_sample("sp500"), 20, [Part("train", 20, 3000), Part("test", 3000, 5031)])
    assert [note.text for note in figure.layout.annotations] == ["train", "test"]
    assert len(figure.layout.shapes) == 2
    assert "mean of 20 before" in names(figure)
    go.Figure(figure.to_dict())  # made unchecked, it would have passed


def test_a_name_that_somebody_gave_is_shown_as_text():
    prices = load_sample("sp500").between(0, 100)
    fields = (prices.dates, prices.open, prices.high, prices.low, prices.close, prices.volume)
    figure = market_charts.price_chart(PriceSeries(*fields, name="<a href='x'>y</a>"), 20, [])
    assert "<a" not in figure.layout.title.text


def test_the_equity_chart_holds_every_strategy_on_every_part_and_breaks_between_them():
    config, prices = TrainConfig(task="stocks"), load_sample("sp500")
    parts = {each.name: each for each in split(config, prices).parts}
    turns = {name: np.arange(len(part) - 1) % 2 for name, part in parts.items()}  # buy, sell, buy, …
    compared = {name: compare(turns[name], config, prices, part) for name, part in parts.items()}
    figure = market_charts.equity_chart(compared, {"test": compared["test"].agent})
    assert len(names(figure)) == len(set(names(figure))) == 7, "each is named once"
    go.Figure(figure.to_dict())  # made unchecked, it would have passed
    assert [note.text for note in figure.layout.annotations] == ["train", "validation", "test"]
    lines = {trace.name: (np.array(trace.x), np.array(trace.y)) for trace in figure.data}
    for title in ("agent", "buy-and-hold", "moving-average rule", "cash", "drawdown"):
        gaps = np.isnan(lines[title][1])
        assert gaps.sum() == 2
        assert (np.isnan(lines[title][0]) == gaps).all()
        begins = lines[title][1][np.append(True, gaps[:-1])]
        np.testing.assert_allclose(begins, 0.0 if title == "drawdown" else 1.0)
    x, y = lines["knows the truth"]
    assert len(x) == len(y) == len(parts["test"])
    ends = [lines["agent"][1][-1], lines["drawdown"][1][-1]]
    agent = compared["test"].agent.equity
    np.testing.assert_allclose(ends, [agent[-1], agent[-1] / agent.max() - 1], rtol=1e-5)


def test_trades_stand_where_the_position_changed(result):
    curve = result["curves"]["test"]
    figure = market_charts.trades_chart(curve, "test")
    marks = {trace.name: len(trace.x) for trace in figure.data if trace.mode == "markers"}
    change = np.diff(curve["position"], prepend=0)
    assert marks == {"buy": int((change > 0).sum()), "sell": int((change < 0).sum())}
    ribbon = [np.array(trace.y) for trace in figure.data if trace.stackgroup]
    np.testing.assert_allclose(sum(ribbon), 1, atol=2e-4)


def test_action_bars_add_up_on_each_part(result):
    figure = market_charts.action_bars(result["parts"])
    np.testing.assert_allclose(sum(np.array(trace.x) for trace in figure.data), 1)


def test_the_best_checkpoint_is_marked():
    figure = market_charts.validation_chart([0, 100, 200], [0.0, 0.5, 0.2], hold=1.1)
    star = figure.data[names(figure).index("best so far")]
    assert list(star.x) == [100]
