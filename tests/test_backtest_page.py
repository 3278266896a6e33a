"""The result of a stocks run on its page: every number at the cost that the slider says, and at the run's own to begin with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pages.ui import server, validation, waiting
from pgcore.config import TrainConfig
from pgcore.market.prices import PriceSeries
from pgcore.market.statistics import measure
from pgcore.runs.files import export_zip, import_run
from pgcore.runs.judgement import compared_on, compared_walk, repriced
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore
from pgcore.runs.worker import train_run

ROUNDED = 5.1e-5  # a share in hundredths of a percent


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    monkeypatch.setenv("PGLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PGLAB_DATABASE_URL", raising=False)
    monkeypatch.setattr(waiting, "AT_ONCE_S", 60.0)  # no browser is there to look again
    server.close()
    yield server.store()
    server.close()


def trained(store: RunStore, **settings: object) -> Run:
    rng = np.random.default_rng(0)
    days = np.datetime64("2020-01-01") + np.arange(500) * np.timedelta64(1, "D")
    series = PriceSeries.from_close(days, 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 500))))
    config = TrainConfig(
        task="stocks", prices=store.save_prices(series), num_envs=4, episode_rows=50, max_steps=2000, **settings
    )
    return train_run(store, store.create_run(config))


def show() -> None:
    from pages.ui.backtest import show_results
    from pages.ui.server import store

    runs = store().runs()
    show_results("stocks", runs[-1], store().evaluation(runs[-1].id, "final"), runs)


def show_validation() -> None:
    from pages.ui.server import store
    from pages.ui.validation import validation_chart

    validation_chart("stocks", store().runs()[-1])


def page() -> AppTest:
    at = AppTest.from_function(show, default_timeout=60).run()
    assert not at.exception
    return at


def shown(at: AppTest, name: str = "equity") -> dict[str, Any]:
    """What stands on a board of the results."""
    (board,) = (each.proto.json for each in at.get("bidi_component") if each.proto.id.endswith(f"-stocks.{name}"))
    return json.loads(board)["frame"]


def total_returns(at: AppTest) -> dict[str, float]:
    table = shown(at)["table"]
    (cells,) = (cells for name, _, cells in table["rows"] if name == "Total return")
    names = [f"{part} · {strategy}" for part, strategy in table["columns"]]
    return {name: float(cell.replace("−", "-").rstrip("%")) / 100 for name, cell in zip(names, cells, strict=True)}


def test_a_run_opens_at_its_own_cost_however_high_and_opening_it_is_no_trial(store: RunStore) -> None:
    trained(store, cost_bps=200.0)
    at = page()
    assert at.slider[0].value == at.slider[0].max == 200.0
    assert "after 1 configuration tried" in shown(at)["notice"]["text"]
    at.slider[0].set_value(3.0).run()
    assert "after 1 configuration tried" in shown(at)["notice"]["text"]
    trained(store, cost_bps=201.0)
    store.delete(store.runs()[0].id)
    at.run()
    assert "after 2 configurations tried" in shown(at)["notice"]["text"], "by now, not when it was first looked at"


def test_at_another_cost_every_part_and_the_interval_are_worked_out_anew(store: RunStore) -> None:
    run = trained(store, cost_bps=5.0)
    result = store.evaluation(run.id, "final")
    at = page()
    assert total_returns(at)["train · agent"] == pytest.approx(result["parts"][0]["total_return"], abs=ROUNDED)
    before = shown(at)["notice"]["more"]
    at.slider[0].set_value(80.0).run()
    dear = repriced(run, 80.0)
    for part in ("train", "validation", "test"):
        compared = compared_on(store, dear, result, part)
        assert total_returns(at)[f"{part} · agent"] == pytest.approx(measure(compared.agent)["total_return"], abs=ROUNDED)
        assert total_returns(at)[f"{part} · buy-and-hold"] == pytest.approx(
            measure(compared.buy_and_hold)["total_return"], abs=5.1e-5
        )
    low, high = (f"{x:+.2f}".replace("-", "−") for x in compared.sharpe_interval(run.config.seed))
    after = shown(at)["notice"]["more"]
    assert f"interval {low} to {high}" in after[0]
    assert after != before
    assert "80 bp" in shown(at)["table"]["caption"]


def test_a_result_that_was_worked_out_anew_is_shown(store: RunStore) -> None:
    run = trained(store, cost_bps=5.0)
    at = page()
    before = total_returns(at)
    result = store.evaluation(run.id, "final")
    curve = result["curves"]["test"]
    curve["actions"] = [1 - action if action < 2 else action for action in curve["actions"]]
    store.save_evaluation(run.id, "final", result)
    at.run()
    after = total_returns(at)
    assert after["test · agent"] != before["test · agent"]
    assert after["train · agent"] == before["train · agent"]


def show_readable() -> None:
    from pages.ui.backtest import show_results
    from pages.ui.problems import readable
    from pages.ui.server import store

    run = store().runs()[-1]
    readable(show_results, run.id)("stocks", run, store().evaluation(run.id, "final"), [run])


@pytest.mark.parametrize("lost", ["curves", "parts"])
def test_a_result_of_which_something_is_lost_is_answered_in_a_sentence(store: RunStore, lost: str) -> None:
    run = trained(store)
    result = store.evaluation(run.id, "final")
    store.save_evaluation(run.id, "final", {name: value for name, value in result.items() if name != lost})
    at = AppTest.from_function(show_readable, default_timeout=60).run()
    assert not at.exception
    assert f"python -m pgcore evaluate {run.id}" in at.error[0].value


@pytest.mark.parametrize("curves", [[], {"test": {"actions": [10**400]}}, {"test": {"actions": []}}, {"other": {}}, 5])
def test_a_damaged_result_is_answered_in_a_sentence(store: RunStore, curves: object) -> None:
    run = trained(store)
    store.save_evaluation(run.id, "final", {"parts": [], "curves": curves})
    at = AppTest.from_function(show_readable, default_timeout=60).run()
    assert not at.exception
    assert f"python -m pgcore evaluate {run.id}" in at.error[0].value


def test_the_headline_of_a_walk_forward_follows_the_slider(store: RunStore) -> None:
    folds = [trained(store, folds=2, fold=fold, cost_bps=5.0) for fold in (0, 1)]
    results = [store.evaluation(run.id, "final") for run in folds]
    at = page()
    at.slider[0].set_value(90.0).run()
    assert at.subheader[0].value == "Walk-forward: 2 test pieces, one curve"
    dear = compared_walk(store, [repriced(run, 90.0) for run in folds], results)
    gain = f"{100 * measure(dear.agent)['total_return']:+.1f} %".replace("-", "−")
    walk = shown(at, "walk")
    assert gain in walk["notice"]["text"]
    assert walk["notice"]["more"] == ["At a trading cost of 90 bp, as set below."]
    assert len(walk["charts"]) == 1


def test_a_result_that_was_given_up_is_worked_out_when_wanted(store: RunStore) -> None:
    run = trained(store)
    at = AppTest.from_function(show, default_timeout=60)
    at.session_state["stocks.given_up"] = run.id
    at.run()
    assert "not worked out" in at.info[0].value
    assert not at.slider
    assert any(button.label == "Check for look-ahead" for button in at.button), "the rest is there"
    next(button for button in at.button if button.label == "Work it out").click().run()
    assert not at.info
    assert at.slider[0].value == run.config.cost_bps


def test_checkpoints_that_take_long_to_play_are_shown_as_far_as_they_were(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(store)
    kept = len(store.policies(run.id))
    chosen = shown(AppTest.from_function(show_validation, default_timeout=60).run(), "validation")
    forget_what_it_was_chosen_among(store, run)
    at = AppTest.from_function(show_validation, default_timeout=60)
    monkeypatch.setattr(validation, "LONGEST_LOOK_S", 0.0)
    for played in range(1, kept):
        frame = shown(at.run(), "validation")
        assert frame["said"] == f"{played} of {kept} checkpoints were played on the validation part."
        assert frame["share"] == played / kept
        assert frame["wait"] == validation.REST_S
    last = shown(at.run(), "validation")
    assert (last["said"], last["share"], last["wait"]) == ("", None, None)
    monkeypatch.setattr(validation, "LONGEST_LOOK_S", 60.0)
    validation._scores.cache_clear()
    at_once = shown(AppTest.from_function(show_validation, default_timeout=60).run(), "validation")
    assert at_once["charts"][0]["version"] == last["charts"][0]["version"] == chosen["charts"][0]["version"]


def test_playing_the_checkpoints_can_be_cancelled_and_gone_on_with(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(store)
    forget_what_it_was_chosen_among(store, run)
    kept = len(store.policies(run.id))
    at = AppTest.from_function(show_validation, default_timeout=60)
    monkeypatch.setattr(validation, "LONGEST_LOOK_S", 0.0)
    said = shown(at.run(), "validation")["said"]
    assert said.startswith(f"1 of {kept}")
    (cancel,) = at.button
    assert cancel.label == "Cancel"
    for _ in range(2):
        at = (cancel.click() if cancel else at).run()
        cancel = None
        frame = shown(at, "validation")
        assert (frame["said"], frame["wait"]) == (said, None)
    monkeypatch.setattr(validation, "LONGEST_LOOK_S", 60.0)
    (rest,) = at.button
    assert rest.label == "Play the rest"
    assert shown(rest.click().run(), "validation")["said"] == ""
    assert not at.button


def forget_what_it_was_chosen_among(store: RunStore, run: Run) -> None:
    """As an earlier version of the program left it."""
    result = store.evaluation(run.id, "final")
    del result["checkpoint"]["among"]
    store.save_evaluation(run.id, "final", result)
    validation._scores.cache_clear()


def test_what_a_result_was_chosen_among_is_not_played_again(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(store)
    there = shown(AppTest.from_function(show_validation, default_timeout=60).run(), "validation")
    copy = import_run(store, export_zip(store, run.id))
    assert len(store.policies(copy)) == 1
    monkeypatch.setattr(validation, "growth", None)
    here = shown(AppTest.from_function(show_validation, default_timeout=60).run(), "validation")
    assert here["charts"][0]["version"] == there["charts"][0]["version"]


def test_the_check_for_look_ahead_says_what_it_found_and_keeps_saying_it(store: RunStore) -> None:
    trained(store)
    at = page()
    next(button for button in at.button if button.label == "Check for look-ahead").click().run()
    assert at.success[0].value.startswith("No look-ahead")
    assert at.run().success[0].value.startswith("No look-ahead")
