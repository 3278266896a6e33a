"""A training page by Streamlit's own test harness: presets and lessons, and the buttons that begin runs and steer them."""

import time
from dataclasses import replace

import pytest

from pages.ui import server
from pages.ui.controls import PACES
from pages.ui.presets import CARTPOLE, STOCKS, Preset
from pgcore.config import SETTINGS, TrainConfig
from pgcore.runs.worker import train_run
from tests.test_app import board, train_to_the_end, value

LONG = {"stop_when_solved": "off", "max_steps": "50000000"}


def run_of(at):
    return server.store().run(at.session_state["cartpole.run"])


def wait_until(at, holds):
    """Draw the page until that holds of its run, as its board asks for it."""
    for _ in range(300):
        if holds(run := run_of(at)):
            return run
        time.sleep(0.1)
        at.run()
    pytest.fail(f"still {run_of(at).status} after {run_of(at).updates} updates")


def stop(at):
    at.button(key="cartpole.stop").click().run()
    return wait_until(at, lambda run: run.is_over)


@pytest.mark.parametrize(
    ("page", "preset"),
    [*(("cartpole", row) for row in CARTPOLE.values()), *(("stocks", row) for row in STOCKS.values())],
    ids=lambda given: given.title if isinstance(given, Preset) else given,
)
def test_a_preset_turns_the_knobs_and_a_lesson_asks_before_it_answers(app, page, preset):
    presets = CARTPOLE if page == "cartpole" else STOCKS
    at = app(f"{page}.py")
    (name,) = (name for name, row in presets.items() if row is preset)
    at.selectbox(key=f"{page}.preset").set_value(name).run()
    assert not at.exception
    assert not at.error
    wanted = TrainConfig(task=preset.task, **preset.settings)
    assert all(value(at, name, page) == getattr(wanted, name) for name in preset.settings)
    assert not at.button(key=f"{page}.train").disabled
    asked = [info.value for info in at.info if preset.question and preset.question in info.value]
    assert len(asked) == bool(preset.question)
    assert not any(preset.answer in text.value for text in at.markdown if preset.answer), "that comes afterwards"


def test_a_lesson_is_answered_once_the_run_is_over(app):
    at = app()
    at.selectbox(key="cartpole.preset").set_value("listing").run()
    at.session_state["cartpole.max_steps"] = 2000
    at = train_to_the_end(at.run())
    assert any(text.value == CARTPOLE["listing"].answer for text in at.markdown)
    assert not any("Predict what happens" in info.value for info in at.info)


def test_step_makes_one_update_and_another_of_the_same_run(app):
    at = app(**LONG)
    at.button(key="cartpole.step").click().run()
    run = wait_until(at, lambda run: run.status == "paused")
    assert run.updates == 1
    at.run()
    at.button(key="cartpole.step").click().run()
    assert wait_until(at, lambda run: run.status == "paused" and run.updates > 1).updates == 2
    assert len(server.store().runs()) == 1
    stop(at)


def test_pause_and_resume_is_one_button(app):
    at = app(**LONG)
    at.button(key="cartpole.train").click().run()
    wait_until(at, lambda run: run.updates > 0)
    assert at.button(key="cartpole.pause").label == "Pause"
    at.button(key="cartpole.pause").click().run()
    paused = wait_until(at, lambda run: run.status == "paused")
    at.run()
    assert at.button(key="cartpole.pause").label == "Resume"
    at.button(key="cartpole.pause").click().run()
    wait_until(at, lambda run: run.status == "running" and run.updates > paused.updates)
    stop(at)


def test_the_pace_is_told_to_the_run_that_goes_on_and_to_the_next(app):
    at = app(**LONG)
    at.selectbox(key="cartpole.pace").set_value(5.0).run()
    at.button(key="cartpole.train").click().run()
    assert run_of(at).pace == 5.0
    assert at.query_params["pace"] == "5"
    assert value(app(pace="4.6"), "pace") == 5.0, "the nearest there is"
    at.selectbox(key="cartpole.pace").set_value(PACES[0]).run()
    assert run_of(at).pace is None
    stop(at)


def test_reset_stops_the_run_clears_the_page_and_keeps_the_settings(app):
    at = app(learning_rate="0.0034", **LONG)
    at.button(key="cartpole.train").click().run()
    run = run_of(at)
    at.button(key="cartpole.reset").click().run()
    assert not at.exception
    assert "run" not in at.query_params
    assert at.session_state["cartpole.run"] is None
    assert "Press Train" in board(at, "cartpole.board")
    assert value(at, "learning_rate") == 0.0034
    for _ in range(300):
        if server.store().run(run.id).is_over:
            break
        time.sleep(0.1)
    assert server.store().run(run.id).status == "stopped"


def test_several_seeds_are_one_chart_with_a_band_and_their_number(app, monkeypatch):
    monkeypatch.setattr(server, "LEAST_BETWEEN_READS_S", 1e9)  # the last word of a run is read for all that
    at = app(estimator="a2c", max_steps="4000", seeds="3")
    at = train_to_the_end(at)
    runs = server.store().runs()
    assert sorted(run.config.seed for run in runs) == [0, 1, 2]
    assert len({run.group for run in runs}) == 1
    shown = board(at, "cartpole.board")
    assert "3 of 3 runs done" in shown
    assert "interquartile mean, n = 3" in shown
    assert "95 % interval" in shown
    (other,) = (run for run in runs if run.config.seed == 2)
    at.button_group(key="cartpole.member").set_value(other.id).run()
    assert f'"actions-{other.id}"' in board(at, "cartpole.board")


def test_the_run_that_a_link_names_is_the_one_that_is_shown(app):
    at = app(estimator="a2c", max_steps="4000", seeds="3")
    train_to_the_end(at)
    (last,) = (run for run in server.store().runs() if run.config.seed == 2)
    at = app(run=last.id)
    assert at.session_state["cartpole.member"] == last.id
    assert "seed 2 \\u00b7 done" in board(at, "cartpole.board")


def test_a_lesson_is_not_answered_by_the_run_before_it(app):
    at = train_to_the_end(app(max_steps="2000"))
    at.selectbox(key="cartpole.preset").set_value("unstable").run()
    assert any("Predict what happens" in info.value for info in at.info)
    assert not any(CARTPOLE["unstable"].answer in text.value for text in at.markdown)


def test_a_lesson_is_still_asked_after_a_look_at_another_page(app):
    at = app()
    at.selectbox(key="cartpole.preset").set_value("unstable").run()
    at.switch_page("runs.py").run()
    at.switch_page("cartpole.py").run()
    assert value(at, "preset") == "unstable"
    assert any(CARTPOLE["unstable"].question in info.value for info in at.info)


def test_a_link_leads_to_a_lesson_with_its_question(app):
    at = app()
    at.selectbox(key="cartpole.preset").set_value("unstable").run()
    link = {name: at.query_params[name] for name in at.query_params}
    other = app(**link)
    assert any(CARTPOLE["unstable"].question in info.value for info in other.info)
    assert value(other, "learning_rate") == CARTPOLE["unstable"].settings["learning_rate"]
    assert any("no preset" in warning.value for warning in app(preset="nonsense").warning)
    alone = app(preset="unstable")
    assert value(alone, "learning_rate") == CARTPOLE["unstable"].settings["learning_rate"]
    for name in SETTINGS:  # and back to what is usual
        alone.session_state[f"cartpole.{name}"] = getattr(TrainConfig(), name)
    alone.run()
    link = {name: alone.query_params[name] for name in alone.query_params}
    assert value(app(**link), "learning_rate") == TrainConfig().learning_rate


@pytest.mark.parametrize(("steps", "desired", "said"), [
    (99, "run", "learning"),
    (100, "run", "done learning, being judged"),
    (50, "stop", "stopping"),
])  # fmt: skip
def test_what_a_run_does_once_it_has_learned_is_told(app, steps, desired, said):
    from pages.ui import live

    store = server.store()
    run = store.run(store.create_run(TrainConfig(max_steps=100)))
    assert live._state(replace(run, status="running", desired=desired), steps) == said
    assert live._state(replace(run, status="finished", solved=True), steps) == "solved"


def test_how_far_judging_is_is_told(app):
    from pages.ui import live

    store = server.store()
    run = replace(store.run(store.create_run(TrainConfig(max_steps=100))), status="running")
    assert live._state(replace(run, judged=0.4), 100) == "done learning, being judged, 40 %"


def test_a_run_without_an_evaluation_says_how_to_come_by_one(app):
    def judge(*_, **__):
        raise RuntimeError

    app()
    store = server.store()
    run = train_run(store, store.create_run(TrainConfig(max_steps=100)), judge=judge)
    assert any(f"python -m pgcore evaluate {run.id}" in error.value for error in app(run=run.id).error)
    store.set_status(run.id, "stopped")
    assert any("Resume it" in info.value for info in app(run=run.id).info)


@pytest.mark.parametrize(("handles", "shares"), [
    ((50, 70), (0.5, 0.2)),
    ((0, 30), (0.1, 0.2)),
    ((100, 100), (0.9, 0.05)),
    ((20, 100), (0.2, 0.5)),
    ((70, 70), (0.7, 0.0)),
])  # fmt: skip
def test_the_handles_of_the_parts_go_as_far_as_the_shares_may(app, handles, shares):
    at = app("stocks.py")
    at.slider(key="stocks.parts").set_value(handles).run()
    assert (value(at, "train_share", "stocks"), value(at, "validation_share", "stocks")) == pytest.approx(shares)
    assert not at.error
    assert not at.button(key="stocks.train").disabled
