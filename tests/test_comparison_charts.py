"""Charts of runs beside each other: told apart by every eye, as far as they go, and named as they were named."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcore import charts
from pgcore.comparison_charts import (
    Curve,
    Line,
    _between,
    group_look,
    overlay_chart,
    parallel_chart,
    run_colour,
    run_looks,
    said,
)
from tests.test_charts import names


def test_a_figure_that_is_made_unchecked_would_have_passed():
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [np.nan, 1.0]})
    go.Figure(parallel_chart(table).to_dict())


def line(title, *ends):
    """A line of a curve of steps 0, 1, …, for each of the ends."""
    curves = [Curve(f"run {i}", np.arange(end + 1), np.full(end + 1, float(i))) for i, end in enumerate(ends)]
    return Line(title, ("#000000", "solid"), curves)


def test_several_curves_are_a_mean_and_an_interval_as_far_as_all_of_them_go_and_faintly_beyond():
    faint, interval, mean = overlay_chart([line("lr 0.1", 10, 40, 90)], "Return", "steps").data
    assert max(mean.x) == max(interval.x) == 10
    assert np.nanmax(faint.x) == 90
    assert mean.name == "lr 0.1 (n = 3)"
    assert mean.customdata.shape == (len(mean.x), 2), "hover tells the interval"


def test_curves_without_common_ground_are_drawn_without_a_mean():
    apart = [Curve("a", np.arange(3), np.arange(3.0)), Curve("b", np.arange(5, 9), np.arange(4.0))]
    faint, *rest = overlay_chart([Line("both", ("#000000", "solid"), apart)], "Return", "steps").data
    assert faint.showlegend
    assert not any(len(trace.x) for trace in rest)


def test_a_group_of_one_run_says_so_and_a_run_is_called_by_its_name():
    assert names(overlay_chart([line("lr 0.1", 10), line("run 0", 10)], "Return", "steps")) == [
        "lr 0.1 (n = 1)",
        "run 0",
    ]


def test_a_name_is_shown_as_it_was_given():
    (trace,) = overlay_chart([line("<b>%{y}</b>", 10)], "Return", "steps").data
    assert trace.name.startswith("&lt;b&gt;%{y}")
    assert "<b>" not in trace.hovertemplate


def test_a_run_has_one_colour_wherever_it_is_shown():
    assert run_colour("00000003-x") == run_colour("00000003-y") == charts.SERIES_COLOURS[3]
    for place in range(7):
        assert run_looks([f"0000000{place}-x", "00000009-y"])[f"0000000{place}-x"][0] == charts.SERIES_COLOURS[place]


@given(st.sets(st.uuids().map(str), min_size=28, max_size=28))
def test_up_to_28_runs_no_two_look_the_same_in_whatever_order_they_come(run_ids):
    looks = run_looks(list(run_ids))
    assert len(set(looks.values())) == 28
    assert run_looks(sorted(run_ids, reverse=True)) == looks


def test_groups_differ_in_colour_first_and_then_in_dashes():
    looks = [group_look(place) for place in range(28)]
    assert len({colour for colour, _ in looks[:7]}) == 7
    assert len(set(looks)) == 28


def parallel(**columns):
    """The axes of parallel coordinates by their titles: the trace of points on each, and its layout."""
    table = pd.DataFrame(columns, index=[f"run {i}" for i in range(len(next(iter(columns.values()))))])
    figure = parallel_chart(table, logarithmic=["rate"]).to_dict()
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
    assert said(value) == shown


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
    figure = parallel_chart(table)
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
        low, high = sorted([luminance(_between(share)), luminance(page)])
        assert (high + 0.05) / (low + 0.05) >= 3
