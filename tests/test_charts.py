"""Charts: the right data in the right trace, few enough points, titles and units on everything."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcore import charts
from pgcore.record import UpdateRecord
from pgcore.runs.packing import pack_record, unpack_records


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
    lambda shown: charts.parallel_chart(pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [np.nan, 1.0]})),
])  # fmt: skip
def test_a_figure_that_is_made_unchecked_would_have_passed(make, shown):
    go.Figure(make(shown).to_dict())


def line(title, *ends):
    """A line of a curve of steps 0, 1, …, for each of the ends."""
    curves = [charts.Curve(f"run {i}", np.arange(end + 1), np.full(end + 1, float(i))) for i, end in enumerate(ends)]
    return charts.Line(title, ("#000000", "solid"), curves)


def test_several_curves_are_a_mean_and_an_interval_as_far_as_all_of_them_go_and_faintly_beyond():
    faint, interval, mean = charts.overlay_chart([line("lr 0.1", 10, 40, 90)], "Return", "steps").data
    assert max(mean.x) == max(interval.x) == 10
    assert np.nanmax(faint.x) == 90
    assert mean.name == "lr 0.1 (n = 3)"
    assert mean.customdata.shape == (len(mean.x), 2), "hover tells the interval"


def test_curves_without_common_ground_are_drawn_without_a_mean():
    apart = [charts.Curve("a", np.arange(3), np.arange(3.0)), charts.Curve("b", np.arange(5, 9), np.arange(4.0))]
    faint, *rest = charts.overlay_chart([charts.Line("both", ("#000000", "solid"), apart)], "Return", "steps").data
    assert faint.showlegend
    assert not any(len(trace.x) for trace in rest)


def test_a_group_of_one_run_says_so_and_a_run_is_called_by_its_name():
    assert names(charts.overlay_chart([line("lr 0.1", 10), line("run 0", 10)], "Return", "steps")) == [
        "lr 0.1 (n = 1)",
        "run 0",
    ]


def test_a_name_is_shown_as_it_was_given():
    (trace,) = charts.overlay_chart([line("<b>%{y}</b>", 10)], "Return", "steps").data
    assert trace.name.startswith("&lt;b&gt;%{y}")
    assert "<b>" not in trace.hovertemplate


def test_a_run_has_one_colour_wherever_it_is_shown():
    assert charts.run_colour("00000003-x") == charts.run_colour("00000003-y") == charts.SERIES_COLOURS[3]
    for place in range(7):
        assert charts.run_looks([f"0000000{place}-x", "00000009-y"])[f"0000000{place}-x"][0] == charts.SERIES_COLOURS[place]


@given(st.sets(st.uuids().map(str), min_size=28, max_size=28))
def test_up_to_28_runs_no_two_look_the_same_in_whatever_order_they_come(run_ids):
    looks = charts.run_looks(list(run_ids))
    assert len(set(looks.values())) == 28
    assert charts.run_looks(sorted(run_ids, reverse=True)) == looks


def test_groups_differ_in_colour_first_and_then_in_dashes():
    looks = [charts.group_look(place) for place in range(28)]
    assert len({colour for colour, _ in looks[:7]}) == 7
    assert len(set(looks)) == 28


def parallel(**columns):
    """The axes of parallel coordinates by their titles: the trace of points on each, and its layout."""
    table = pd.DataFrame(columns, index=[f"run {i}" for i in range(len(next(iter(columns.values()))))])
    figure = charts.parallel_chart(table, logarithmic=["rate"]).to_dict()
    points = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    return {
        name: (trace, figure["layout"][f"xaxis{i}"]) for i, (name, trace) in enumerate(zip(columns, points, strict=True), 2)
    }


def test_parallel_axes_name_the_values_there_are_and_whole_numbers_stay_whole():
    axes = parallel(
        rate=[1e-4, 1e-3, 1e-1], envs=[4, 8, 16], how=["ppo", "a2c", "ppo"], seed=[0, 1, 2], result=[1.0, 2.0, 30.0]
    )
    assert axes["rate"][1]["type"] == "log"
    assert list(axes["rate"][1]["ticktext"]) == ["0.0001", "0.001", "0.1"]
    assert list(axes["envs"][1]["ticktext"]) == ["4", "8", "16"]
    assert list(axes["how"][1]["ticktext"]) == ["a2c", "ppo"]
    assert list(axes["seed"][1]["ticktext"]) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1_000_000, "1,000,000"),
        (-1173.25, "−1,173.25"),
        (0.0003, "0.0003"),
        (2_558_000.7, "2,558,001"),
        (np.nan, "none yet"),
        ("ppo", "ppo"),
    ],
)
def test_numbers_are_said_as_a_person_reads_them(value, shown):
    assert charts.said(value) == shown


def test_ticks_of_parallel_axes_leave_each_other_room():
    axes = parallel(rate=[1e-3, 1.1e-3, 1e-1], steps=[18_594, 18_600, 30_000], result=[1.0, 2.0, 3.0])
    assert list(axes["rate"][1]["ticktext"]) == ["0.0011", "0.1"]
    assert list(axes["steps"][1]["ticktext"]) == ["18,600", "30,000"]


def test_many_names_on_a_parallel_axis_take_turns_on_several_lines():
    axes = parallel(how=[f"estimator-{i:02}" for i in range(12)], result=np.arange(12.0))
    lines = [text.count("<br>") for text in axes["how"][1]["ticktext"]]
    assert lines == [0, 1, 2] * 4


def test_a_run_of_parallel_axes_is_coloured_by_its_result_and_grey_without_one():
    table = pd.DataFrame({"seed": [0, 1, 2], "Return": [np.nan, 5.0, 9.0]}, index=["a", "b", "c"])
    figure = charts.parallel_chart(table)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [trace.line.color for trace in lines] == [charts.GREY, charts.BLUE, charts.VERMILION]
    assert [trace.line.dash for trace in lines] == ["dot", "solid", "solid"]
    assert figure.data[-1].marker.colorbar.title.text == "Return"
    assert figure.data[-1].text[0] == "a<br>Return: none yet"


def luminance(colour):
    """As WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("page", ["#FFFFFF", "#11161C"])
def test_no_result_vanishes_in_a_light_or_a_dark_page(page):
    for share in np.linspace(0, 1, 21):
        low, high = sorted([luminance(charts._between(share)), luminance(page)])
        assert (high + 0.05) / (low + 0.05) >= 3
