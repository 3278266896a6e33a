"""Charts: the right data in the right trace, few enough points, titles and units on everything."""

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcore import charts
from pgcore.record import UpdateRecord
from pgcore.runs.packing import pack_record, unpack_records
from pgcore.tasks import TASKS


def records(updates=30, episodes=2, actions=2):
    rng = np.random.default_rng(0)
    made = [
        UpdateRecord(
            i, i * 100, i * episodes, i * 0.1, float(i), tuple(float(i * 10 + k) for k in range(episodes)),
            tuple(rng.dirichlet(np.ones(actions))), 0.6, 0.01, 1.0, 0.1, 0.2, float("nan"), 1.0, 0.01,
        )
        for i in range(1, updates + 1)
    ]  # fmt: skip
    return unpack_records([tuple(pack_record(record).values()) for record in made])


def test_episodes_that_took_several_updates_lie_over_all_of_them():
    ends, of = np.array([100, 200, 300, 400]), np.array([2, 2, 2, 3])
    np.testing.assert_array_equal(charts.spread(ends, of), [100, 200, 300, 400])
    assert len(charts.spread(ends[:0], of[:0])) == 0


def names(figure):
    return [trace.name for trace in figure.data]


def axis_titles(figure):
    layout = figure.to_dict()["layout"]
    return [axis.get("title", {}).get("text") for name, axis in layout.items() if name.startswith(("xaxis", "yaxis"))]


def test_returns_show_every_episode_and_the_moving_average():
    figure = charts.returns_chart(records(), window=4, solved_at=475.0)
    points, line = figure.data
    assert len(points.x) == 60
    assert points.y[0] == 10
    np.testing.assert_array_equal(points.x[:4], [50, 100, 150, 200], "the two episodes of an update of 100 steps")
    assert line.y[3] == pytest.approx(np.mean([10, 11, 20, 21]))
    assert line.y[0] == 10, "fewer at the beginning"
    assert figure.layout.shapes[0].y0 == 475
    assert figure.layout.title.text
    assert all(axis_titles(figure))


@given(length=st.integers(1, 30_000), more=st.integers(0, 50))
def test_what_is_thinned_stays_as_more_comes(length, more):
    before, after = charts.thin(length), charts.thin(length + more)
    assert len(before) <= charts.MOST_POINTS
    assert before[-1] == length - 1
    assert (np.diff(before) > 0).all()
    if len(after) >= len(before):
        assert set(before[:-1]) <= set(after)


@given(length=st.integers(1, 30_000), most=st.integers(3, 2_000), spike=st.floats(-1e6, 1e6), seed=st.integers(0, 99))
def test_an_outline_keeps_every_extreme_and_the_last_point(length, most, spike, seed):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(length) < 0.1, np.nan, rng.normal(size=length))
    values[rng.integers(length)] = spike
    rows = charts.outline(values, most)
    assert len(rows) <= max(most, 3)
    assert rows[-1] == length - 1
    assert (np.diff(rows) > 0).all()
    assert np.nanmin(values[rows]) == np.nanmin(values)
    assert np.nanmax(values[rows]) == np.nanmax(values)


def test_long_runs_are_thinned_and_keep_their_last_point():
    figure = charts.returns_chart(records(updates=5000), window=10)
    assert all(len(trace.x) <= charts.MOST_POINTS for trace in figure.data)
    assert figure.data[0].x[-1] == 500_000


def test_action_shares_are_stacked_to_one_in_their_own_colours():
    figure = charts.actions_chart(records(actions=3), ("buy", "sell", "hold"))
    assert names(figure) == ["buy", "sell", "hold"]
    np.testing.assert_allclose(sum(np.array(trace.y) for trace in figure.data), 1)
    assert [trace.line.color for trace in figure.data] == [charts.ACTION_COLOURS[name] for name in names(figure)]
    assert len({trace.stackgroup for trace in figure.data}) == 1


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.actions], ids=lambda task: task.title)
def test_the_actions_of_a_task_have_their_colours_wherever_they_are_shown(task):
    colours = [charts.ACTION_COLOURS[name] for name in task.actions]
    assert len(set(colours)) == len(colours)
    figure = charts.actions_chart(records(actions=len(colours)), task.actions)
    assert [trace.line.color for trace in figure.data] == colours


def test_a_measure_that_never_applies_is_left_out_of_the_diagnostics():
    figure = charts.diagnostics_chart(records())
    assert "Entropy" in names(figure)
    assert not any("Explained" in name for name in names(figure))


@pytest.mark.parametrize("shown", [records(), charts.NOTHING])
def test_the_lowest_of_the_diagnostics_in_each_column_says_what_runs_along_its_bottom(shown):
    figure = charts.diagnostics_chart(shown)
    columns = {}
    for trace in figure.data:
        across, up = (figure.layout[axis[0] + "axis" + axis[1:]] for axis in (trace.xaxis, trace.yaxis))
        columns.setdefault(across.domain, []).append((up.domain[0], across.title.text))
    assert len(columns) == 3
    for (_, title), *above in map(sorted, columns.values()):
        assert title == "environment steps"
        assert all(title is None for _, title in above)


def test_seeds_become_a_mean_and_an_interval_with_their_number():
    figure = charts.seeds_chart([records(20), records(30)], window=5, solved_at=100)
    assert "interquartile mean, n = 2" in names(figure)
    assert "95 % interval" in names(figure)


def test_the_mean_of_seeds_goes_as_far_as_all_of_them():
    short, long = records(20), records(30)
    (mean,) = (trace for trace in charts.seeds_chart([short, long], 5).data if trace.name == "interquartile mean, n = 2")
    assert mean.x[-1] == short.env_steps[short.episode_of[-1]] < long.env_steps[long.episode_of[-1]]


@pytest.mark.parametrize("make", [
    lambda: charts.returns_chart(charts.NOTHING, 50, 475.0),
    lambda: charts.seeds_chart([charts.NOTHING, charts.NOTHING], 50),
    lambda: charts.actions_chart(charts.NOTHING, ("left", "right")),
    lambda: charts.diagnostics_chart(charts.NOTHING),
])  # fmt: skip
def test_before_the_first_record_there_is_an_empty_frame(make):
    assert make().to_json()


@pytest.mark.parametrize("shown", [records(), charts.NOTHING])
@pytest.mark.parametrize("make", [
    lambda shown: charts.returns_chart(shown, 50, 475.0),
    lambda shown: charts.actions_chart(shown, ("left", "right")),
    lambda shown: charts.actions_chart(shown, ("torque",)),
])  # fmt: skip
def test_a_figure_that_is_made_unchecked_would_have_passed(make, shown):
    go.Figure(make(shown).to_dict())
