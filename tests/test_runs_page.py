"""The Runs page by Streamlit's own test harness: find, name, tag, compare, repeat, delete and undo."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from pages.ui import compare, runs_table, server
from pages.ui.board import as_json
from pgcore.comparison_charts import Curve, overlay_chart, parallel_chart
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


def figure(at, key="compare.chart"):
    (chart,) = json.loads(board(at, key))["frame"]["charts"]
    return json.loads(chart["figure"])


def names(at):
    return [trace["name"] for trace in figure(at)["data"] if trace.get("name") and trace.get("showlegend") is not False]


def captions(at):
    return " ".join(caption.value for caption in at.caption)


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


def test_one_run_is_named_and_several_are_tagged_as_they_are_typed(page, runs):
    select(page, runs[:1])
    page.text_input(key=f"runs.name.{runs[0].id}").set_value("first")
    page.text_input(key=f"runs.tags.{runs[0].id}").set_value("slow calm")
    page.button(key="runs.save").click().run()
    first = server.store().run(runs[0].id)
    assert (first.name, first.tags) == ("first", ("slow", "calm"))
    select(page, runs[1:3])
    (tags,) = (field for field in page.text_input if field.label == "Tags")
    tags.set_value("pair")
    page.button(key="runs.save").click().run()
    assert [server.store().run(run.id).tags for run in runs[:4]] == [("slow", "calm"), ("pair",), ("pair",), ()]


def test_a_tag_takes_no_name_from_a_run_that_was_selected_among_several_before(page, runs):
    server.store().rename(runs[1].id, "second")
    select(page, runs[:2])
    select(page, runs[1:2])
    page.text_input(key=f"runs.tags.{runs[1].id}").set_value("good")
    page.button(key="runs.save").click().run()
    saved = server.store().run(runs[1].id)
    assert (saved.name, saved.tags) == ("second", ("good",))


def test_what_makes_no_difference_to_a_run_is_not_said_of_it(page, app):
    store = server.store()
    configs = [
        TrainConfig(estimator="reinforce", max_steps=2_000),
        TrainConfig(estimator="trpo", max_steps=2_000),
        TrainConfig(task="stocks", prices="nasdaq", max_steps=2_000),
    ]
    chosen = [train_run(store, store.create_run(config)) for config in configs]
    select(page.run(), chosen)
    table = compare._table(chosen, ["prices", "max_kl"])
    assert table["prices"].isna().tolist() == [True, True, False]
    assert table["max_kl"].isna().tolist() == [True, False, True]
    assert table["max_kl"][1] == configs[1].max_kl
    assert "prices" not in page.dataframe[1].value, "they do not differ"
    curves = {run.id: Curve(run.id, np.arange(2.0), np.arange(2.0)) for run in chosen}
    assert [line.title for line in compare._lines(chosen, curves, "prices")] == ["Prices NASDAQ Composite", "Prices –"]
    assert not page.exception


def test_what_was_deleted_comes_back_by_undo(page, runs):
    select(page, runs[:2])
    page.button(key="runs.delete").click().run()
    assert len(listed(page)) == len(runs) - 2
    assert any("Deleted 2 runs" in text.value for text in page.markdown)
    page.button(key="runs.undo").click().run()
    assert len(listed(page)) == len(runs)


def test_of_several_deletions_each_is_undone_the_last_one_first(page, runs):
    for run in runs[:2]:
        select(page, [run])
        page.button(key="runs.delete").click().run()
    page.button(key="runs.undo").click().run()
    assert {run.id for run in server.store().runs()} == {run.id for run in runs[1:]}
    page.button(key="runs.undo").click().run()
    assert len(listed(page)) == len(runs)
    assert not any(button.key == "runs.undo" for button in page.button)


def test_markets_whose_names_begin_alike_are_different_groups(app):
    store = server.store()
    markets = [f"synthetic:mean-reversion,seed=0,rows=5000,speed={speed}" for speed in ("0.02", "0.05")]
    runs = [store.run(store.create_run(TrainConfig(task="stocks", prices=market))) for market in markets]
    curves = {run.id: Curve(run.id, np.arange(2.0), np.arange(2.0)) for run in runs}
    lines = compare._lines(runs, curves, "prices")
    assert [len(line.curves) for line in lines] == [1, 1]
    drawn = [trace.name for trace in overlay_chart(lines, "x", "y").data if trace.name]
    assert len(set(drawn)) == 2


def test_what_was_selected_last_is_deleted_though_the_page_was_drawn_before(page, runs):
    select(page, runs[:1])
    rows = [page.session_state["runs.order"].index(runs[1].id)]
    page.session_state["runs.table"] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    page.button(key="runs.delete").click().run()
    assert {run.id for run in server.store().runs()} == {run.id for run in runs} - {runs[1].id}


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
    assert figure(page)["layout"]["title"]["text"] == compare.MEASURES["entropy"]
    assert not figure(page)["layout"]["yaxis"]["title"]["text"], "the title says it"


def test_seeds_become_one_line_a_group_with_a_band(page, runs):
    select(page, runs[:6])
    assert len(names(page)) == 6
    page.selectbox(key="compare.group").set_value("learning_rate").run()
    assert names(page) == ["Learning rate 0.0003 (n = 3)", "Learning rate 0.001 (n = 3)"]
    assert any(trace.get("fill") for trace in figure(page)["data"])


def test_seeds_of_one_configuration_become_one_line_together_or_by_any_setting_that_matters(page, runs):
    select(page, runs[:3])
    options = page.selectbox(key="compare.group").options
    assert {"run", "all together", "Learning rate", "Estimator"} <= set(options)
    assert "Seed" not in options
    assert "Trust region δ" not in options, "an actor-critic has none"
    page.selectbox(key="compare.group").set_value("all").run()
    assert names(page) == ["all together (n = 3)"]
    assert any(trace.get("fill") for trace in figure(page)["data"])


def test_a_mean_ends_with_the_first_of_its_runs_and_says_so(page, runs):
    store = server.store()
    short = train_run(store, store.create_run(TrainConfig(estimator="a2c", learning_rate=RATES[0], max_steps=3_000)))
    page.run()
    select(page, [short, *runs[:3]])
    page.selectbox(key="compare.group").set_value("all").run()
    faint, _, mean = figure(page)["data"]
    ends = [max(line for line in unpacked(trace["x"]) if line == line) for trace in (mean, faint)]
    assert ends[0] < 4_000 < ends[1]
    assert f"where {runs_table.name_of(short)} ends" in captions(page)


def unpacked(column):
    return np.frombuffer(base64.b64decode(column["bdata"]), column["dtype"]).tolist()


def test_what_has_nothing_to_show_is_said(page, runs):
    store = server.store()
    waits = store.create_run(TrainConfig(estimator="reinforce", max_steps=8_000))
    plain = train_run(store, store.create_run(TrainConfig(estimator="reinforce", max_steps=3_000)))
    page.run()
    select(page, [runs[0], store.run(waits)])
    assert f"No episode return to show of reinforce · {waits[:8]}: no episode has ended." in captions(page)
    select(page, [plain])
    page.selectbox(key="compare.measure").set_value("explained_variance").run()
    assert not board(page, "compare.chart")
    assert "without a critic" in captions(page)


def test_a_run_is_called_the_same_in_tables_and_chart_and_has_a_blank_for_what_is_not_known(page, runs):
    waits = server.store().create_run(TrainConfig(estimator="reinforce", max_steps=8_000))
    page.run()
    select(page, [runs[0], server.store().run(waits)])
    assert set(names(page)) <= set(listed(page)["name"])
    assert set(names(page)) <= set(page.dataframe[1].value["run"])
    assert [table.proto.placeholder for table in page.dataframe] == ["–", "–"]


def test_what_differs_is_a_table_and_parallel_axes(page, runs):
    select(page, [runs[0], runs[3], runs[-1]])
    table = page.dataframe[1].value
    assert list(table.columns) == ["run", "learning_rate", "seed", "steps", "return"]
    assert sorted(table["learning_rate"]) == list(RATES)
    columns = json.loads(page.dataframe[1].proto.columns)
    assert columns["steps"]["type_config"]["format"] == "localized"
    assert columns["learning_rate"]["label"] == "Learning rate"
    layout = figure(page, "compare.parallel")["layout"]
    assert layout["yaxis"]["ticktext"] == ["Learning rate", "Seed", "Steps", "Return"]
    assert layout["xaxis2"]["ticktext"] == ["0.0003", "0.001", "0.03"]
    assert "Left out" not in captions(page)


def test_of_too_many_settings_those_that_differ_most_are_drawn_and_the_others_named(page, runs, monkeypatch):
    monkeypatch.setattr(compare, "MOST_PARALLEL", 1)
    select(page, [runs[0], runs[1], runs[4], runs[-1]])
    assert figure(page, "compare.parallel")["layout"]["yaxis"]["ticktext"] == ["Learning rate", "Steps", "Return"]
    assert "Left out of the chart are the settings that differ least: Seed." in captions(page)


def curves_of(runs):
    return {run.id: compare._curve(run, "return", "steps", 1) for run in runs}


def test_the_comparison_is_taken_away_as_numbers(runs):
    lines = compare._lines(runs[:3], curves_of(runs[:3]), compare.BY_RUN)
    got = pd.read_csv(io.StringIO(compare._csv(lines, "environment steps", "Episode return")))
    assert list(got.columns) == ["line", "curve", "environment steps", "Episode return"]
    assert got["Episode return"].tolist() == [y for line in lines for curve in line.curves for y in curve.y]


def test_means_are_taken_away_with_their_interval_beside_the_curves(runs):
    (line,) = compare._lines(runs[:3], curves_of(runs[:3]), compare.TOGETHER)
    got = pd.read_csv(io.StringIO(compare._csv([line], "environment steps", "Episode return")))
    assert set(got["curve"]) == {*map(runs_table.name_of, runs[:3]), "interquartile mean"}
    mean = got[got["curve"] == "interquartile mean"]
    assert mean["95 % from"].tolist() == pytest.approx(line.band.low.tolist())
    assert mean["95 % to"].tolist() == pytest.approx(line.band.high.tolist())
    assert set(mean["n"]) == {3}


def test_charts_and_table_are_taken_away_as_one_page_that_asks_for_nothing(runs):
    server.store().rename(runs[0].id, "<script>alert(1)</script>")
    chosen = [server.store().run(run.id) for run in (runs[0], runs[3], runs[-1])]
    lines = compare._lines(chosen, curves_of(chosen), compare.BY_RUN)
    table = compare._table(chosen, ["learning_rate", "seed"])
    overlay = overlay_chart(lines, "Episode return", "environment steps")
    parallel = parallel_chart(table.set_index("run").rename(columns=compare._title))
    for figure in (overlay, parallel):
        as_json(figure)  # as the page shows it first
    page = compare._html([overlay, parallel], table, ["A remark & more."])
    assert len(re.findall(r"plotly\.js v\d", page)) == 1, "the library once"
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", page)
    assert "<script>alert" not in page
    assert "A remark &amp; more." in page
    assert "<th>Learning rate</th>" in page
    assert "Settings and results" in page


def test_the_address_says_what_is_shown_and_a_link_shows_it_again(app, page, runs):
    select(page, runs[:3])
    page.text_input(key="runs.find").set_value("a2c").run()
    page.selectbox(key="compare.measure").set_value("entropy").run()
    page.segmented_control(key="compare.axis").set_value("time").run()
    page.slider(key="compare.smooth").set_value(7).run()
    page.selectbox(key="compare.group").set_value("all").run()
    link = dict(page.query_params)
    assert link == {
        "find": "a2c",
        "measure": "entropy",
        "over": "time",
        "smooth": "7",
        "group": "all",
        "run": ",".join(sorted(run.id[:8] for run in runs[:3])),
    }
    again = opened_by_link(app, link)
    assert figure(again) == figure(page)
    assert not again.warning
    assert dict(again.query_params) == link


def opened_by_link(app, link):
    at = app("runs.py")
    for name, value in link.items():
        at.query_params[name] = value
    return at.run()


def test_what_a_link_asks_for_in_vain_is_left_out_and_named_once(app, runs):
    link = {
        "run": f"{runs[0].id},12345678,x",
        "measure": "luck",
        "smooth": "9" * 50,
        "status": "finished,lost",
        "group": "seed",
        "over": "<b>",
    }
    at = opened_by_link(app, link)
    assert not at.exception
    (warning,) = at.warning
    assert all(part in warning.value for part in ("luck", "status lost", "group seed", "and 2 more"))
    assert names(at) == [runs_table.name_of(runs[0])]
    assert len(listed(at)) == len(runs)
    assert dict(at.query_params) == {"status": "finished", "run": runs[0].id[:8]}


def test_what_was_chosen_is_still_there_after_a_look_at_another_page(page, runs):
    select(page, runs[:2])
    page.selectbox(key="compare.measure").set_value("entropy").run()
    before = dict(page.query_params)
    page.switch_page("cartpole.py").run()
    page.query_params.clear()
    page.switch_page("runs.py").run()
    assert not page.exception
    assert len(names(page)) == 2
    assert page.selectbox(key="compare.measure").value == "entropy"
    assert dict(page.query_params) == before


def test_runs_that_are_not_listed_are_counted(page, runs, monkeypatch):
    assert "not" not in captions(page)
    monkeypatch.setattr(runs_table, "MOST_RUNS", len(runs) - 2)
    page.run()
    assert f"The newest {len(runs) - 2} runs are listed and looked through, 2 older ones are not." in captions(page)
