"""The stress benchmark in short: what it finds in two minutes must hold in seconds too, but for how fast it is."""

import pytest

from benchmarks.attack import fuzzing
from benchmarks.deaths import killing, restarting
from benchmarks.eyes import clicking, watching
from benchmarks.stress import rows


def test_people_who_watch_see_no_error() -> None:
    found = watching(sessions=4, runs=3, seconds=3.0, updates=1)
    assert found["polls"] >= 4
    assert found["errors"] == found["log"] == []
    assert found["training_at_once"] == 3


def test_clicks_at_once_start_a_run_each_and_no_more_at_once_than_there_are_cores() -> None:
    found = clicking(clicks=4)
    assert found["states"] == {"finished": 4}
    assert found["at_once"] <= found["cores"]
    (line,) = rows({"clicks": found})
    assert line.met


def test_runs_survive_their_trainers() -> None:
    found = killing(seconds=2.0, steps=80_000)
    assert found["kills"] > 0
    (line,) = rows({"kills": found})
    assert line.met, found


def test_runs_survive_their_server() -> None:
    (line,) = rows({"restart": restarting(steps=80_000)})
    assert line.met


def test_bad_links_and_files_are_refused_in_words() -> None:
    found = fuzzing(requests=32)
    assert (found["links"], found["uploads"]) == (16, 16)
    assert found["noted"] > 0, "what the server does is seen"
    assert found["refused"] > 10
    (line,) = rows({"fuzz": found})
    assert line.met, found


@pytest.mark.parametrize("bad", ["tracebacks", "hangs", "outside", "left_in_scratch"])
def test_what_went_wrong_is_not_called_met(bad: str) -> None:
    found = {"links": 1, "uploads": 1, "refused": 1, "median_ms": 1.0, "longest_ms": 1.0, "alive": True}
    found |= {what: [] for what in ("tracebacks", "hangs", "outside", "left_in_scratch")}
    assert rows({"fuzz": found})[0].met
    assert not rows({"fuzz": found | {bad: ["x"]}})[0].met
