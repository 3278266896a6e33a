"""Every page by Streamlit's own test harness: no browser, no live ticks, no component's JavaScript."""

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pgcore.config import TrainConfig
from pgcore.market.prices import PriceSeries
from pgcore.market.synthetic import MARKETS
from pgcore.runs.store import RunStore

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.name for path in (ROOT / "pages").glob("*.py") if path.stem not in ("navigation", "__init__"))


def value(at, name, page="cartpole"):
    return at.session_state[f"{page}.{name}"]


def board(at, key):
    """The data of a board as JSON, "" where there is none."""
    boards = [element.proto for element in at.get("bidi_component") if element.proto.id.endswith(f"-{key}")]
    return boards[0].json if boards else ""


def drawn(at, key):
    """The first figure of a board."""
    return json.loads(json.loads(board(at, key))["frame"]["charts"][0]["figure"])


def train_to_the_end(at, page="cartpole"):
    at.button(key=f"{page}.train").click().run()
    for _ in range(300):
        if not at.button(key=f"{page}.train").disabled and at.session_state[f"{page}.run"]:
            return at
        time.sleep(0.2)
        at.run()
    pytest.fail("the run did not end")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_without_an_exception(app, page):
    at = app(page)
    assert not at.exception
    assert not at.error


def test_knobs_are_drawn_from_the_settings(app):
    at = app()
    at.session_state["cartpole.fold.more"] = True
    at.run()
    labels = {widget.label for kind in ("slider", "select_slider", "number_input", "toggle") for widget in at.get(kind)}
    assert {"Learning rate", "Discount factor γ", "Seed", "Stop when solved"} <= labels
    assert any("Moving-average window" in label for label in labels)


def test_a_link_sets_the_knobs_and_the_knobs_set_the_link(app):
    at = app(learning_rate="0.0034", estimator="reinforce", seed="7")
    assert (value(at, "learning_rate"), value(at, "estimator"), value(at, "seed")) == (0.0034, "reinforce", 7)
    at.number_input(key="cartpole.seed").set_value(8).run()
    assert at.query_params["seed"] == "8"
    assert at.query_params["learning_rate"] == "0.0034"
    assert not at.warning


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"learning_rate": "7"}, "between 1e-05 and 1"),
        ({"learning_rate": "<b>x</b>"}, "a number between"),
        ({"estimator": "magic"}, "one of"),
        ({"seed": "-1"}, "Seed"),
        ({"run": "nothing-like-it"}, "no run"),
        ({"num_envs": "9" * 400}, "a whole number"),
    ],
)
def test_a_link_that_asks_for_the_impossible_is_answered_in_a_sentence(app, link, said):
    at = app(**link)
    assert not at.exception
    assert len(at.warning) == 1
    assert said in at.warning[0].value
    assert not at.button(key="cartpole.train").disabled


@pytest.mark.parametrize("key", ["synthetic:sine,seed", "synthetic:sine,rows=nan", "synthetic:sine,kind=3", "synthetic:x"])
def test_a_link_to_a_market_that_cannot_be_is_answered_in_a_sentence(app, key):
    at = app("stocks.py")
    at.query_params["prices"] = key
    at.run()
    assert not at.exception
    assert len(at.warning) == 1
    assert "was left out" in at.warning[0].value
    assert value(at, "prices", "stocks") == "sp500"


@pytest.mark.parametrize("kind", MARKETS)
def test_a_synthetic_market_is_chosen_by_a_link(app, kind):
    at = app("stocks.py")
    at.query_params["prices"] = f"synthetic:{kind},seed=3,rows=500"
    at.run()
    assert not at.exception
    assert value(at, "prices", "stocks").startswith(f"synthetic:{kind},")
    assert "seed 3" in board(at, "stocks.price")
    assert any("At your costs" in caption.value for caption in at.caption)


def test_every_test_piece_of_a_walk_forward_is_shown_before_it_is_walked(app):
    at = app("stocks.py", folds="4")
    names = [note["text"] for note in drawn(at, "stocks.price")["layout"]["annotations"]]
    assert names == ["train", "validation", "4 tests", "", "", ""]


def test_what_is_folded_away_keeps_its_value(app):
    at = app()
    at.session_state["cartpole.fold.more"] = True
    at.run()
    at.toggle(key="cartpole.stop_when_solved").set_value(False).run()
    at.session_state["cartpole.fold.more"] = False
    at.run()
    at.run()
    assert not [toggle for toggle in at.toggle if toggle.key == "cartpole.stop_when_solved"]
    assert at.query_params["stop_when_solved"] == "off"


def test_untouched_settings_follow_the_estimator_and_touched_ones_stay(app):
    from pgcore.config import recommended

    at = app()
    at.number_input(key="cartpole.seed").set_value(5).run()
    at.button_group(key="cartpole.estimator").set_value("reinforce").run()
    assert value(at, "num_envs") == recommended("CartPole-v1", "reinforce")["num_envs"]
    assert value(at, "num_envs") != recommended("CartPole-v1", "ppo")["num_envs"]
    assert value(at, "seed") == 5


def test_training_on_cartpole_from_the_page(app):
    at = train_to_the_end(app(max_steps="4000"))
    assert not at.exception
    from pages.ui.server import store

    (run,) = store().runs()
    assert run.status == "finished"
    assert run.env_steps >= 4000
    assert at.query_params["run"] == run.id
    assert any("fresh episodes" in text.value for text in at.markdown)


def test_a_link_to_a_run_shows_it(app):
    from pages.ui.server import store

    train_to_the_end(app(max_steps="2000"))
    (run,) = store().runs()
    at = app(run=run.id)
    assert not at.exception
    assert f"done \\u00b7 {run.env_steps:,} steps" in board(at, "cartpole.board")
    assert not at.button(key="cartpole.reset").disabled
    at.button(key="cartpole.reset").click().run()
    assert "run" not in at.query_params


def test_knobs_that_stand_at_their_defaults_beside_a_run_are_in_the_link_too(app):
    from pages.ui.server import store

    train_to_the_end(app(max_steps="2000", learning_rate="0.0034"))
    (run,) = store().runs()
    at = app(run=run.id)
    assert value(at, "learning_rate") == 0.0034
    at.selectbox(key="cartpole.preset").set_value("fast").run()
    link = dict(at.query_params)
    assert link["run"] == run.id
    usual = value(at, "learning_rate")
    assert usual != 0.0034
    assert value(app(**link), "learning_rate") == usual


def test_a_complaint_about_a_link_is_forgotten_once_something_else_is_asked_for(app):
    at = app(learning_rate="99")
    assert at.warning
    assert at.run().warning
    at.slider(key="cartpole.smooth").set_value(60).run()
    assert not at.run().warning


def test_what_cannot_be_trained_on_is_in_the_link_and_nothing_invites_to_train(app):
    at = app("stocks.py", prices="synthetic:sine,rows=30", folds="20")
    assert at.error
    assert at.button(key="stocks.train").disabled
    assert "Press Train" not in board(at, "stocks.board")
    assert "once what is said above is mended" in board(at, "stocks.board").lower()
    assert "buy" in board(at, "stocks.board")
    at.number_input(key="stocks.market.seed").set_value(3).run()
    assert "seed=3" in at.query_params["prices"]


def test_another_number_of_folds_can_be_had_beside_a_later_fold(app):
    at = app("stocks.py", folds="4", fold="3")
    at.session_state["stocks.folds"] = 2
    at.run()
    assert not at.error
    assert not at.button(key="stocks.train").disabled


def test_the_market_that_was_just_typed_is_the_one_that_is_trained(app):
    from pages.ui.server import store

    at = app("stocks.py", prices=f"synthetic:{next(iter(MARKETS))}", max_steps="2000")
    at.number_input(key="stocks.market.seed").set_value(7)
    at.button(key="stocks.train").click().run()
    (run,) = store().runs()
    assert "seed=7" in run.prices
    assert run.prices == at.query_params["prices"]


def test_the_ticker_that_was_chosen_stays_after_a_look_elsewhere(app):
    from pages.ui.server import store

    at = app("stocks.py")
    days = np.datetime64("2020-01-01") + np.arange(300) * np.timedelta64(1, "D")
    keys = {
        ticker: store().save_prices(PriceSeries.from_close(days, start + np.sin(np.arange(300.0)), name=ticker))
        for ticker, start in (("AAPL", 10.0), ("MSFT", 20.0))
    }
    at.session_state["stocks.found"] = {ticker: (key, "") for ticker, key in keys.items()}
    at.button_group(key="stocks.source").set_value("Ticker").run()
    assert value(at, "prices", "stocks") == keys["AAPL"]
    at.button_group(key="stocks.ticker").set_value("MSFT").run()
    assert value(at, "prices", "stocks") == keys["MSFT"]
    at.switch_page("runs.py").run()
    at.switch_page("stocks.py").run()
    assert value(at, "prices", "stocks") == keys["MSFT"] == at.query_params["prices"]
    at.button_group(key="stocks.source").set_value("Sample").run()
    at.button_group(key="stocks.source").set_value("Ticker").run()
    assert value(at, "prices", "stocks") == keys["MSFT"]


def test_the_command_names_the_prices_that_were_just_chosen(app):
    at = app("stocks.py")
    at.session_state["stocks.fold.repeat"] = True
    at.run()
    at.button_group(key="stocks.sample").set_value("nasdaq").run()
    assert "--prices nasdaq" in at.code[0].value


def test_stocks_shows_prices_with_the_average_before_anything_is_trained(app):
    at = app("stocks.py")
    assert "mean of 20 before" in board(at, "stocks.price")


def test_a_window_longer_than_the_history_is_refused_beside_the_chart(app):
    at = app("stocks.py")
    days = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
    _upload(at, "short.csv", "Date,Close\n" + "".join(f"{day},{100 + i}\n" for i, day in enumerate(days)))
    at.slider(key="stocks.window").set_value(300).run()
    assert not at.exception
    assert any("window" in error.value for error in at.error)
    assert at.button(key="stocks.train").disabled


def _upload(at, name, content):
    at.button_group(key="stocks.source").set_value("Upload").run()
    at.file_uploader(key="stocks.file").upload(name, content.encode() if isinstance(content, str) else content, "text/csv")
    return at.run()


def prices_csv(rows=400):
    days = np.arange("2020-01-01", "2023-01-01", dtype="datetime64[D]")[:rows]
    price = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, rows)))
    lines = [f"{day},{p:.2f},{p:.2f},{p:.2f},{p:.2f},1000" for day, p in zip(days, price, strict=True)]
    return "Date,Open,High,Low,Close,Volume\n" + "\n".join(lines)


def test_training_on_an_uploaded_file_ends_in_a_verdict(app):
    at = _upload(app("stocks.py"), "mine.csv", prices_csv())
    assert not at.error
    at.session_state["stocks.max_steps"] = 5000
    at = train_to_the_end(at.run(), "stocks")
    assert not at.exception
    assert len(at.get("plotly_chart")) >= 2
    assert all(said in board(at, "stocks.equity") for said in ("vidence of skill", "buy-and-hold", "Sharpe ratio"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        b"\x00\x01\xff\xfe binary",
        "<html><body>Not found</body></html>",
        "Date,Weather\n2024-01-01,sunny\n2024-01-02,rain\n",
        "Date,Close\n2024-01-01,-5\n2024-01-02,-6\n2024-01-03,-7\n",
        "Date,Close\n2024-01-01,inf\n2024-01-02,nan\n",
    ],
    ids=["empty", "binary", "html", "no price", "negative", "not finite"],
)
def test_a_file_that_is_no_use_gets_one_sentence_and_loses_nothing(app, content):
    at = _upload(app("stocks.py"), "bad.csv", content)
    assert not at.exception
    assert len(at.error) == 1
    assert board(at, "stocks.price"), "the history that was there before still is"
    assert not at.button(key="stocks.train").disabled


def test_whoever_picks_the_listing_of_the_article_is_told_why_it_does_not_learn(app):
    assert any("does not learn" in warning.value for warning in app(estimator="article").sidebar.warning)


def test_every_row_of_the_table_is_told_and_shown_as_it_runs(app):
    import inspect

    from pgcore.estimators import ESTIMATORS

    at = app("estimators.py")
    assert [header.value for header in at.header] == [row.title for row in ESTIMATORS.values()]
    code = "\n".join(block.value for block in at.code)
    assert "policy.policy_gradient(trace, now" in code, "the helpers of an update are shown with it"
    equations = {equation.value.strip("$\n ") for equation in at.latex}
    for row in ESTIMATORS.values():
        assert inspect.getsource(row.weight).strip() in code
        assert row.equation in equations
        assert row.code == "" or f"def {row.code.split('.')[1]}(" in code
    assert "def _discounted_sum(" in code, "and what the weights are made of"


def look(at, key, slider="50", have=""):
    """What the browser is answered when it looks again at a board whose slider stands there."""
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from pages.ui.stream import ROUTE, TICKET

    ticket = {TICKET: json.loads(board(at, key))["stream"]}
    return TestClient(Starlette(routes=[ROUTE])).get("/live", params={"at": slider, "have": have}, headers=ticket)


def test_the_browser_looks_at_a_run_without_the_script(app):
    at = app(stop_when_solved="off", max_steps="50000000")
    at.button(key="cartpole.train").click().run()
    first = look_until(at, lambda frame: frame["share"] > 0)
    second = look_until(at, lambda frame: frame["share"] > first["share"])
    assert second["turn"] == first["turn"], "nothing else of the page is to be drawn again"
    assert second["charts"][0]["version"] != first["charts"][0]["version"]

    at.button(key="cartpole.stop").click().run()
    over = look_until(at, lambda frame: frame["wait"] is None)
    assert over["turn"] != first["turn"], "the page is to be drawn again, with what came of the run"

    known = ",".join(chart["version"] for chart in over["charts"])
    assert all(chart["figure"] for chart in over["charts"])
    assert [chart["figure"] for chart in look(at, "cartpole.board", have=known).json()["charts"]] == [None, None]
    given = json.loads(board(at.run(), "cartpole.board"))["frame"]["charts"]
    assert [chart["figure"] for chart in given] == [None, None], "who has asked before has the figures, or asks for them"
    assert ",".join(chart["version"] for chart in given) == known


def test_a_run_that_is_over_before_the_page_is_drawn_is_looked_at_again(app, monkeypatch):
    from pages.ui import live, server

    monkeypatch.setattr(live, "_show_first_point", lambda page, run: until(lambda: server.store().run(run.id).is_over))
    at = app(max_steps="2000")
    at.button(key="cartpole.train").click().run()
    drawn = json.loads(board(at, "cartpole.board"))["frame"]
    assert "done" in drawn["said"]
    assert drawn["wait"] is not None
    assert look(at, "cartpole.board").json()["turn"] != drawn["turn"], "then what came of it is shown"


def test_how_often_the_store_was_asked_in_vain_is_shown(app):
    from pages.ui import server
    from pgcore.runs.process import this_process

    run_id = server.store().create_run(TrainConfig(stop_when_solved=False), process=this_process())
    at = app(run=run_id)
    assert "tried again" not in json.loads(board(at, "cartpole.board"))["frame"]["said"]
    server.store().claim(run_id, this_process()).heartbeat(run_id, 60.0, store_retries=3)
    assert "store busy, tried again 3 ×" in look(at, "cartpole.board").json()["said"]


def test_a_trainer_that_breaks_its_promise_of_a_sign_of_life_is_told(app):
    from pages.ui import server
    from pgcore.runs.process import this_process

    run_id = server.store().create_run(TrainConfig(stop_when_solved=False), process=this_process())
    mine = server.store().claim(run_id, this_process())
    mine.heartbeat(run_id, 60.0)
    at = app(run=run_id)
    assert "sign of life" not in json.loads(board(at, "cartpole.board"))["frame"]["said"]
    mine.heartbeat(run_id, -1.0)
    assert "no sign of life for 0." in look(at, "cartpole.board").json()["said"]


def look_until(at, holds):
    found = {}

    def holds_now():
        nonlocal found
        found = look(at, "cartpole.board").json()
        return holds(found)

    until(holds_now)
    return found


@pytest.mark.parametrize(
    ("page", "key", "name"), [("cartpole", "cartpole.board", "mean of 7"), ("stocks", "stocks.price", "mean of 7 before")]
)
def test_a_chart_follows_its_slider_without_the_script(app, page, key, name):
    at = app(f"{page}.py")
    if page == "cartpole":
        train_to_the_end(at)
    chart = look(at, key, slider="7").json()["charts"][0]
    assert name in [trace["name"] for trace in json.loads(chart["figure"])["data"]]
    assert look(at, key, slider="0").status_code == look(at, key, slider="<b>").status_code == 404


def test_a_run_that_was_deleted_is_not_looked_at(app):
    from pages.ui import server

    at = app(stop_when_solved="off", max_steps="50000000")
    at.button(key="cartpole.train").click().run()
    run_id = at.session_state["cartpole.run"]
    at.button(key="cartpole.stop").click().run()
    look_until(at, lambda frame: frame["wait"] is None)
    server.store().delete(run_id)
    server.store().purge(run_id)
    assert look(at, "cartpole.board").status_code == 404
    at.run()
    assert "no run" in at.warning[0].value


def test_where_a_run_of_several_is_deleted_or_restored_the_page_is_drawn_anew(app):
    from pages.ui import server

    at = app(stop_when_solved="off", max_steps="2000")
    at.session_state["cartpole.seeds"] = 2
    at.run()
    train_to_the_end(at)
    for other in (at.session_state["cartpole.run"], server.store().runs()[0].id):
        assert look(at, "cartpole.board").status_code == 200
        server.store().delete(other)
        assert look(at, "cartpole.board").status_code == 404
        server.store().restore(other)


@pytest.mark.parametrize("how", ["stopped", "crashed"])
def test_a_run_that_ended_early_is_resumed_from_its_page(app, how):
    from pages.ui import server

    at = app(stop_when_solved="off", max_steps="50000000")
    at.button(key="cartpole.train").click().run()
    run_id = at.session_state["cartpole.run"]
    until(lambda: server.store().run(run_id).updates > 0)
    if how == "stopped":
        at.button(key="cartpole.stop").click().run()
    else:
        server.store().run(run_id).process.kill()
    until(lambda: server.store().run(run_id).status == how)
    updates = server.store().run(run_id).updates
    at.run()
    assert at.button(key="cartpole.pause").label == "Resume"
    at.button(key="cartpole.pause").click().run()
    until(lambda: server.store().run(run_id).updates > updates)
    assert not at.error
    at.run()
    assert at.button(key="cartpole.pause").label == "Pause"
    at.button(key="cartpole.stop").click().run()


def until(holds):
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    pytest.fail("it did not come to that")


@pytest.mark.parametrize(
    ("trained_s", "pace", "watchers", "seconds"),
    [
        (0.5, None, 0, 0.25),
        (5.0, None, 1, 0.5),
        (600.0, None, 1, 1.0),
        (600.0, 8.0, 1, 0.25),
        (0.5, None, 2, 0.25),
        (0.5, None, 3, 1.5),
        (600.0, 8.0, 10, 5.0),
    ],
)
def test_the_longer_a_run_goes_on_and_the_more_watch_the_less_often_each_looks(monkeypatch, trained_s, pace, watchers, seconds):
    from types import SimpleNamespace

    from pages.ui import live

    class Trained:
        wall_s = (trained_s,)

        def __len__(self):
            return 1

    monkeypatch.setattr(live, "watchers", lambda: watchers)
    monkeypatch.setattr(live, "cores", lambda: 2)
    waits = [live._tick(SimpleNamespace(pace=pace), Trained()) for _ in range(100)]
    assert np.mean(waits) == pytest.approx(seconds, rel=0.1)
    assert (len(set(waits)) > 1) == (watchers > 2), "a crowd does not look all at once"


@pytest.fixture
def held(tmp_path, monkeypatch):
    """Another program holds the store of the app, which does not wait long for it."""
    from pages.ui import server

    monkeypatch.setattr(server, "RunStore", partial(RunStore, patience_s=0.05))

    @contextmanager
    def hold(how):
        with closing(sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None)) as other:
            other.execute(f"BEGIN {how}")
            yield

    return hold


def test_what_a_button_could_not_do_is_said_once_and_nothing_is_lost(app, held):
    at = app(seed="7")
    with held("IMMEDIATE"):
        at.button(key="cartpole.train").click().run()
        assert "another program has held it" in at.error[0].value
    assert not at.exception
    assert value(at, "seed") == 7
    at.run()
    assert not at.error
    train_to_the_end(at)


@pytest.mark.parametrize("page", ["stocks.py", "runs.py"])
def test_a_page_whose_store_cannot_be_read_says_why_and_comes_back(app, tmp_path, page):
    at = app(page)
    whole = (tmp_path / "runs.sqlite").read_bytes()
    from pages.ui import server

    server.close()
    for file in tmp_path.glob("runs.sqlite*"):
        file.unlink()
    (tmp_path / "runs.sqlite").write_bytes(b"no store at all, " * 1_000)
    at.run()
    assert not at.exception
    assert any("is damaged or no run store" in error.value for error in at.error)
    server.close()
    (tmp_path / "runs.sqlite").write_bytes(whole)
    at.run()
    assert not at.exception
    assert not at.error
