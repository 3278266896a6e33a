"""The command line as a script uses it: JSON lines on stdout, one sentence on stderr, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pgcore.__main__ import main
from pgcore.config import TrainConfig
from pgcore.runs.database import StoreError
from pgcore.runs.store import RunStore

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "pgcore/market/samples/sp500.csv"


@pytest.fixture
def run(tmp_path):
    def run(*arguments):
        environment = {**os.environ, "PGLAB_HOME": str(tmp_path / "home")}
        environment.pop("PGLAB_DATABASE_URL", None)
        command = [sys.executable, "-m", "pgcore", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def rows(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_training_prints_a_row_an_update_and_how_it_ended(run):
    done = run("train", "--task", "CartPole-v1", "--estimator", "reinforce", "--seed", 1, "--max-steps", 3000, "--json")
    assert done.returncode == 0
    *updates, end = rows(done)
    assert {"update", "env_steps", "episodes", "return_mean", "entropy", "kl", "grad_norm", "wall_s"} <= set(updates[0])
    assert [row["update"] for row in updates] == list(range(1, len(updates) + 1))
    assert end["event"] == "end"
    assert end["status"] == "finished"
    assert end["solved"] is False
    assert end["env_steps"] == updates[-1]["env_steps"] >= 3000
    assert end["wall_s"] == updates[-1]["wall_s"] > 0


def test_one_seed_one_result(run):
    asked = ("train", "--estimator", "ppo", "--max-steps", 6000, "--json", "--seed")
    first, again, other = (rows(run(*asked, seed)) for seed in (3, 3, 4))

    def without_time(table):
        return [{k: v for k, v in row.items() if k not in ("wall_s", "run")} for row in table]

    assert without_time(first) == without_time(again)
    assert without_time(first) != without_time(other)


def test_a_stocks_run_from_file_to_verdict(run, tmp_path):
    done = run(
        "train",
        "--task",
        "stocks",
        "--prices",
        SAMPLE,
        "--window",
        20,
        "--reward",
        "pnl",
        "--cost-bps",
        5,
        "--estimator",
        "ppo",
        "--max-steps",
        20000,
        "--json",
    )
    assert done.returncode == 0
    run_id = rows(done)[-1]["run"]

    *parts, verdict = rows(run("evaluate", run_id, "--json"))
    assert [part["part"] for part in parts] == ["train", "validation", "test"]
    for part in parts:
        assert {"total_return", "sharpe", "max_drawdown", "trades", "buy_and_hold", "moving_average_rule"} <= set(part)
        assert sum(part["actions"].values()) == pytest.approx(1)
        assert list(part["actions"]) == ["buy", "sell", "hold"]
    assert verdict["event"] == "verdict"
    assert isinstance(verdict["skill"], bool)
    assert 0 <= verdict["deflated_sharpe"] <= 1
    assert "buy-and-hold" in verdict["text"]

    (listed,) = rows(run("runs", "--json"))
    assert {"run": run_id, "status": "finished", "task": "stocks", "estimator": "ppo"}.items() <= listed.items()
    assert "created" in listed

    assert run("export", run_id, tmp_path / "out").returncode == 0
    assert {"config.json", "records.csv", "policy.safetensors"} <= {path.name for path in (tmp_path / "out").iterdir()}

    assert run("delete", run_id[:8]).returncode == 0
    assert rows(run("runs", "--json")) == []


def test_every_run_is_listed_however_many_there_are(run, tmp_path):
    with RunStore(f"sqlite:///{tmp_path / 'home' / 'runs.sqlite'}").transaction() as store:
        made = [store.create_run(TrainConfig(seed=seed)) for seed in range(203)]
    assert [row["run"] for row in rows(run("runs", "--json"))] == made[::-1]


def test_a_store_that_refused_for_a_while_is_told_of_as_it_happens_and_at_the_end(monkeypatch, tmp_path, capsys, caplog):
    monkeypatch.setenv("PGLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PGLAB_DATABASE_URL", raising=False)
    real, left = RunStore.transaction, [2]

    def transaction(self, durable=False):
        if left[0]:
            left[0] -= 1
            raise StoreError("The disk is full: free some space.")
        return real(self, durable)

    monkeypatch.setattr(RunStore, "transaction", transaction)
    assert main(["train", "--max-steps", "300"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" steps; retries of the run store: 2")
    began, recovered = caplog.messages
    assert began.endswith(": The disk is full: free some space. What is to be written waits, and is tried again.")
    assert recovered.endswith(": the run store answers again, after 2 tries in vain.")
    assert main(["train", "--max-steps", "300"]) == 0
    assert "retries" not in capsys.readouterr().out


def test_prices_are_reported_and_written_clean(run, tmp_path):
    done = run("prices", SAMPLE, "--out", tmp_path / "clean.csv")
    assert done.returncode == 0
    assert "5,031 rows from 1999-01-04 to 2018-12-31" in done.stdout
    header, first, *_ = (tmp_path / "clean.csv").read_text().splitlines()
    assert header == "date,open,high,low,close,volume"
    assert first.startswith("1999-01-04,1229.22998,")


def test_evaluation_says_how_actions_were_taken(run):
    run_id = rows(run("train", "--estimator", "ppo", "--max-steps", 3000, "--json"))[-1]["run"]
    (result,) = rows(run("evaluate", run_id, "--episodes", 10, "--json"))
    assert result["episodes"] == 10
    assert {"greedy", "sampled"} <= set(result)


def test_several_seeds_train_side_by_side(run):
    ends = [
        row for row in rows(run("train", "--estimator", "ppo", "--max-steps", 3000, "--seeds", 2, "--json")) if "event" in row
    ]
    assert len({row["run"] for row in ends}) == 2
    assert {row["status"] for row in ends} == {"finished"}


@pytest.mark.parametrize(("asked", "trained"), [((), [0, 1]), (("--fold", 0), [0]), (("--fold", 1), [1])])
def test_a_walk_forward_trains_every_fold_or_the_one_that_is_named(run, tmp_path, asked, trained):
    done = run("train", "--task", "stocks", "--folds", 2, *asked, "--max-steps", 500, "--json")
    ends, folds = [row for row in rows(done) if "event" in row], []
    assert [row["status"] for row in ends] == ["finished"] * len(trained)
    for row in ends:
        run("export", row["run"], tmp_path / row["run"])
        folds.append(json.loads((tmp_path / row["run"] / "config.json").read_text())["fold"])
    assert folds == trained


BAD = {
    "an unknown estimator": (["train", "--estimator", "pppo"], "did you mean ppo"),
    "an unknown task": (["train", "--task", "NoSuch-v9"], "CartPole-v1"),
    "a rate out of bounds": (["train", "--learning-rate", "7"], "between 1e-05 and 1"),
    "a rate that is no number": (["train", "--learning-rate", "fast"], "a number between"),
    "an infinite rate": (["train", "--learning-rate", "inf"], "a number between"),
    "an unknown flag": (["train", "--learning-rat", "0.1"], "unrecognized"),
    "continuous actions for dqn": (["train", "--task", "Pendulum-v1", "--estimator", "dqn"], "dqn needs discrete actions"),
    "continuous actions of a foreign task": (
        ["train", "--task", "tests.playgrounds:Reaching-v0", "--estimator", "dqn"],
        "dqn needs discrete actions, and those of tests.playgrounds:Reaching-v0 are continuous: choose one of reinforce",
    ),
    "observations that are no Box": (["train", "--task", "tests.playgrounds:Named-v0"], "Discrete observations"),
    "a task that cannot be built": (
        ["train", "--task", "tests.playgrounds:Unwilling-v0"],
        "cannot be built here (RuntimeError: no display is connected): install what it needs or choose another",
    ),
    "one episode to compare with itself": (["train", "--estimator", "mean-baseline", "--num-envs", "1"], "between 2 and 4096"),
    "a missing file": (["train", "--task", "stocks", "--prices", "no.csv"], "no.csv cannot be read"),
    "prices for CartPole": (["train", "--prices", "sp500"], "goes with --task stocks"),
    "an unknown run": (["evaluate", "deadbeef"], "no run"),
    "no command": ([], "COMMAND"),
    "a window longer than the history": (["train", "--task", "stocks", "--prices", "SHORT", "--window", "200"], "window"),
    "a file that is no table": (["prices", "GARBAGE"], ""),
    "an empty file": (["prices", "EMPTY"], "empty"),
    "a file without prices": (["prices", "NOPRICE"], ""),
    "negative prices": (["prices", "NEGATIVE"], ""),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_exit_code_2(run, tmp_path, case):
    arguments, said = BAD[case]
    days = np.arange("2024-01-01", "2024-04-10", dtype="datetime64[D]")
    files = {
        "SHORT": "Date,Close\n" + "".join(f"{day},{100 + i}\n" for i, day in enumerate(days)),
        "GARBAGE": "\x00\x01\x02\xff" * 100,
        "EMPTY": "",
        "NOPRICE": "Date,Weather\n" + "".join(f"{day},sunny\n" for day in days),
        "NEGATIVE": "Date,Close\n" + "".join(f"{day},{-1 - i}\n" for i, day in enumerate(days)),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run(*[tmp_path / argument if argument in files else argument for argument in arguments])
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert said in done.stderr
    assert json.loads("[" + ",".join(run("runs", "--json").stdout.splitlines()) + "]") == [], "nothing half-begun is left"
