"""The Runs page by Streamlit's own test harness: find, name, tag, compare, repeat, delete and undo."""

import io
import json

import pandas as pd
import pytest

from pages.ui import compare, server
from pgcore.config import TrainConfig
from pgcore.runs.worker import train_run
from tests.test_app import board

RATES = (3e-4, 1e-3, 3e-2)


@pytest.fixture
def runs(app):
    """Three seeds each of two learning rates and one of a third, trained for four updates."""
    store = server.store()
    settings = [(rate, seed) for rate in RATES[:2] for seed in range(3)] + [(RATES[2], 76_261)]
    configs = [TrainConfig(estimator="a2c", learning_rate=rate, seed=seed, max_steps=8_000) for rate, seed in settings]
    return [train_run(store, store.create_run(config)) for config in configs]


@pytest.fixture
def page(app, runs):
    at = app("runs.py")
    assert not at.exception
    return at


def select(at, chosen):
    order = at.session_state["runs.order"]
    rows = [order.index(run.id) for run in chosen]
    at.session_state["runs.table"] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    at.run()
    assert not at.exception
    return at


def listed(at):
    return at.dataframe[0].value


def figure(at):
    (chart,) = json.loads(board(at, "compare.chart"))["frame"]["charts"]
    return json.loads(chart["figure"])


def names(at):
    return [trace["name"] for trace in figure(at)["data"] if trace.get("name") and trace.get("showlegend") is not False]


def test_what_is_typed_and_chosen_narrows_the_table(page, runs):
    assert len(listed(page)) == len(runs)
    server.store().rename(runs[0].id, "Old Faithful")
    page.text_input(key="runs.find").set_value("faithful").run()
    assert listed(page)["name"].tolist() == ["Old Faithful"]
    page.text_input(key="runs.find").set_value("nothing of the kind").run()
    assert "No run passes these filters" in page.info[0].value
    page.text_input(key="runs.find").set_value("").run()
    page.multiselect(key="runs.status").set_value(["finished"]).run()
    assert len(listed(page)) == len(runs)


def test_a_selection_stays_with_its_runs_as_others_come(page, runs):
    select(page, runs[:2])
    server.store().create_run(TrainConfig(max_steps=100))
    page.run()
    order = page.session_state["runs.order"]
    assert {order[row] for row in page.session_state["runs.table"]["selection"]["rows"]} == {run.id for run in runs[:2]}


def test_one_run_is_named_and_several_are_tagged(page, runs):
    select(page, runs[:1])
    page.text_input(key=f"runs.name.{runs[0].id}").set_value("first").run()
    page.text_input(key=f"runs.tags.{runs[0].id}").set_value("slow calm").run()
    page.button(key="runs.save").click().run()
    first = server.store().run(runs[0].id)
    assert (first.name, first.tags) == ("first", ("slow", "calm"))
    select(page, runs[1:3])
    (tags,) = (field for field in page.text_input if field.label == "Tags")
    tags.set_value("pair").run()
    page.button(key="runs.save").click().run()
    assert [server.store().run(run.id).tags for run in runs[:4]] == [("slow", "calm"), ("pair",), ("pair",), ()]


def test_what_was_deleted_comes_back_by_undo(page, runs):
    select(page, runs[:2])
    page.button(key="runs.delete").click().run()
    assert len(listed(page)) == len(runs) - 2
    assert any("Deleted 2 runs" in text.value for text in page.markdown)
    page.button(key="runs.undo").click().run()
    assert len(listed(page)) == len(runs)


def test_a_run_is_opened_on_its_page_with_its_settings(page, runs):
    select(page, runs[-1:])
    page.button(key="runs.open").click().run()
    assert page.session_state["cartpole.learning_rate"] == RATES[2]
    assert page.session_state["cartpole.run"] == runs[-1].id
    assert page.button(key="cartpole.train")


def test_the_command_shown_is_that_of_the_run(page, runs):
    select(page, runs[-1:])
    assert page.code[0].value == runs[-1].config.command()
    select(page, runs[:2])
    assert not page.code, "two runs have no one command"


def test_runs_are_overlaid_by_step_time_and_episode_and_smoothed(page, runs):
    select(page, [runs[0], runs[-1]])
    assert len(names(page)) == 2
    by_step = figure(page)
    assert by_step["layout"]["xaxis"]["title"]["text"] == "environment steps"
    for axis, title in compare.AXES.items():
        page.segmented_control(key="compare.axis").set_value(axis).run()
        assert figure(page)["layout"]["xaxis"]["title"]["text"] == title
    page.segmented_control(key="compare.axis").set_value("steps").run()
    page.slider(key="compare.smooth").set_value(1).run()
    assert figure(page)["data"] != by_step["data"]
    page.selectbox(key="compare.measure").set_value("entropy").run()
    assert figure(page)["layout"]["yaxis"]["title"]["text"] == compare.MEASURES["entropy"]


def test_seeds_become_one_line_a_group_with_a_band(page, runs):
    select(page, runs[:6])
    assert len(names(page)) == 6
    assert "seed" not in page.selectbox(key="compare.group").options
    page.selectbox(key="compare.group").set_value("learning_rate").run()
    assert [name.split(" (")[0] for name in names(page)] == ["Learning rate 0.0003", "Learning rate 0.001"]
    assert all("3" in name.split(" (")[1] for name in names(page)), "n is told"
    assert any(trace.get("fill") for trace in figure(page)["data"])


def test_what_differs_is_a_table_and_parallel_axes(page, runs):
    select(page, [runs[0], runs[3], runs[-1]])
    table = page.dataframe[1].value
    assert list(table.columns) == ["run", "learning_rate", "seed", "steps", "return"]
    assert sorted(table["learning_rate"]) == list(RATES)
    columns = json.loads(page.dataframe[1].proto.columns)
    assert columns["steps"]["type_config"]["format"] == "localized"
    assert columns["learning_rate"]["label"] == "Learning rate"
    (parallel,) = (json.loads(each.proto.spec) for each in page.get("plotly_chart"))
    axes = {axis["label"]: axis for axis in parallel["data"][0]["dimensions"]}
    assert list(axes) == ["Learning rate", "Seed", "steps", "return"]
    assert axes["Learning rate"]["ticktext"] == ["0.0003", "0.001", "0.03"]


def test_the_comparison_is_taken_away_as_numbers(runs):
    lines = compare._lines(runs[:3], "return", "steps", 1, compare.NO_GROUPS)
    got = pd.read_csv(io.StringIO(compare._csv(lines, "environment steps", "Episode return")))
    assert list(got.columns) == ["line", "curve", "environment steps", "Episode return"]
    assert got["Episode return"].tolist() == [y for line in lines for _, ys in line.curves for y in ys]
