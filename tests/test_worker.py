"""Training a run: all it yields reaches the store, it does as asked, and no kill and no failing store changes the result."""

import itertools
import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from pgcore.config import TrainConfig, estimators_for
from pgcore.errors import BadInput
from pgcore.estimators import ESTIMATORS
from pgcore.runs import attempt as attempt_module
from pgcore.runs import journal as journal_module
from pgcore.runs.attempt import Attempt, policy_stride
from pgcore.runs.data import Snapshot, Superseded
from pgcore.runs.database import StoreError
from pgcore.runs.journal import Journal
from pgcore.runs.pool import cores
from pgcore.runs.process import Process, this_process
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore
from pgcore.runs.worker import AUTOGROUP, EVALUATION_S, train_run, warm_up
from pgcore.trainer import Trainer
from tests.walker import Walker, alike, updates

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
VALIDATED = TrainConfig(task="stocks", estimator="reward-to-go", num_envs=4, episode_rows=30, max_steps=3000)


def judge(config: TrainConfig, policy: Any, prices: object, **_: object) -> dict[str, Any]:
    return {"of": policy.to_bytes().decode()}


def walk(store: RunStore, run_id: str, seconds: float = 0.0, **options: Any) -> Run:
    make = options.pop("make_trainer", lambda config, prices: Walker(config, prices, seconds))
    return train_run(store, run_id, make_trainer=make, judge=options.pop("judge", judge), **options)


def eventually(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen"
        time.sleep(0.005)


@pytest.fixture
def in_background() -> Iterator[Callable[..., threading.Thread]]:
    threads: list[threading.Thread] = []

    def start(*args: Any, **options: Any) -> threading.Thread:
        threads.append(threading.Thread(target=walk, args=args, kwargs=options))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


# ---- to the end


def test_all_that_is_trained_is_in_the_store(store: RunStore) -> None:
    config = updates(100)
    seen: list[Any] = []
    run = walk(store, store.create_run(config), on_record=seen.append)
    alone = Walker(config)
    records = list(alone)
    assert store.records(run.id).rows() == seen == records
    assert (run.status, run.solved, run.updates, run.env_steps, run.error) == ("finished", True, 100, 10_000, "")
    assert store.policy_bytes(run.id) == alone.to_bytes()
    assert store.checkpoint(run.id) == alone.state()
    assert store.evaluation(run.id, "final") == {"of": alone.to_bytes().decode()}
    (event,) = store.events(run.id)
    assert event.kind == "attempt"
    assert "torch" in event.message


def test_the_first_record_is_there_at_once(store: RunStore) -> None:
    there: list[int] = []
    run_id = store.create_run(updates(2))
    walk(store, run_id, on_record=lambda record: there.append(len(store.records(run_id))))
    assert there == [0, 1]


def test_policies_are_kept_evenly_from_the_first_to_the_last(store: RunStore) -> None:
    run = walk(store, store.create_run(updates(501)))
    kept = [update for update, _ in store.policies(run.id)]
    assert kept == [*range(0, 497, 8), 501]


@pytest.mark.parametrize("size", [1, 1000, 2_000_000, 10**9])
def test_policies_kept_are_bounded_in_number_and_size(size: int) -> None:
    for update in (1, 64, 65, 1000, 999_999):
        kept = update // policy_stride(update, size)
        assert kept <= 64
        assert kept <= 2 or kept * size <= 32_000_000


def test_the_policy_chosen_on_validation_takes_no_place_in_the_history(store: RunStore) -> None:
    made: list[Trainer] = []

    def make(config: TrainConfig, prices: Any) -> Trainer:
        made.append(Trainer(config, prices))
        return made[0]

    run = train_run(store, store.create_run(VALIDATED), make_trainer=make)
    chosen = store.evaluation(run.id, "final")["checkpoint"]["update"]
    last = store.policies(run.id)[-1][0]
    assert chosen < last == run.updates
    assert store.policy_bytes(run.id) == store.policy_bytes(run.id, chosen)
    assert store.policy_bytes(run.id, last) == made[0].policy.to_bytes() != store.policy_bytes(run.id)


def test_a_failed_evaluation_is_told_and_spoils_nothing(store: RunStore) -> None:
    def broken(*_: object, **__: object) -> dict[str, Any]:
        raise ZeroDivisionError("of all things")

    run = walk(store, store.create_run(updates(3)), judge=broken)
    assert run.status == "finished"
    assert store.evaluation(run.id, "final") is None
    assert "of all things" in store.events(run.id)[-1].message


def test_a_reader_that_leaves_does_not_stop_the_training(store: RunStore) -> None:
    def leave(_: object) -> None:
        raise BrokenPipeError

    run = walk(store, store.create_run(updates(3)), on_record=leave)
    assert (run.status, run.updates) == ("finished", 3)


def test_a_run_that_is_not_waiting_is_refused(store: RunStore) -> None:
    run = walk(store, store.create_run(updates(3)))
    with pytest.raises(BadInput, match="is finished, not waiting"):
        walk(store, run.id)


def test_a_run_made_for_this_process_is_trained_by_it(store: RunStore) -> None:
    run_id = store.create_run(updates(3), process=this_process())
    assert store.run(run_id).status == "starting"
    assert walk(store, run_id).status == "finished"


# ---- when the trainer fails


def test_divergence_keeps_its_message_and_the_last_good_policy(store: RunStore) -> None:
    error = BadInput("Update 6: the gradient is not finite.")
    run = walk(store, store.create_run(updates(9)), make_trainer=lambda config, prices: Walker(config, fails=error))
    assert (run.status, run.error, run.updates) == ("failed", "Update 6: the gradient is not finite.", 5)
    assert len(store.records(run.id)) == 5
    assert store.policy_bytes(run.id).startswith(b"5 ")
    assert store.evaluations(run.id) == []


def test_any_other_error_keeps_its_traceback(store: RunStore) -> None:
    run = walk(store, store.create_run(updates(9)), make_trainer=lambda config, prices: Walker(config, fails=KeyError("lost")))
    assert (run.status, run.updates) == ("failed", 5)
    assert "Traceback" in run.error
    assert "walker.py" in run.error
    assert "lost" in run.error


def test_a_trainer_that_cannot_be_made_fails_the_run(store: RunStore) -> None:
    def refuse(*_: object) -> Any:
        raise BadInput("A window of 20 needs more than 20 prices.")

    run = walk(store, store.create_run(updates(9)), make_trainer=refuse)
    assert (run.status, run.error) == ("failed", "A window of 20 needs more than 20 prices.")


# ---- doing as asked


def test_pause_step_and_go_on(store: RunStore, in_background: Callable[..., threading.Thread]) -> None:
    config = updates(60)
    run_id = store.create_run(config)
    store.request(run_id, pause_at=1)
    thread = in_background(store, run_id)
    for update in (1, 2, 3):
        eventually(lambda: store.run(run_id).status == "paused" and store.control(run_id).pause_at is None)
        assert store.records(run_id).update.tolist() == list(range(1, update + 1))
        assert store.control(run_id).desired == "pause"
        assert store.checkpoints(run_id)[-1] == (update, 100 * update)
        store.request(run_id, desired="run", pause_at=update + 1)
        eventually(lambda update=update: store.run(run_id).updates > update)
    eventually(lambda: store.run(run_id).status == "paused" and store.control(run_id).pause_at is None)
    store.request(run_id, desired="run")
    thread.join(PATIENCE_S)
    assert store.run(run_id).status == "finished"
    assert store.records(run_id).rows() == list(Walker(config))


def test_stop_ends_with_a_checkpoint_and_an_evaluation_and_can_be_resumed(
    store: RunStore, in_background: Callable[..., threading.Thread]
) -> None:
    config = updates(300)
    run_id = store.create_run(config)
    thread = in_background(store, run_id, seconds=0.01)
    eventually(lambda: store.run(run_id).updates > 0)
    store.request(run_id, desired="stop")
    thread.join(PATIENCE_S)
    stopped = store.run(run_id)
    assert stopped.status == "stopped"
    assert 0 < stopped.updates < 300
    assert store.checkpoints(run_id)[-1] == (stopped.updates, stopped.env_steps)
    assert store.evaluation(run_id, "final") == {"of": store.policy_bytes(run_id).decode()}
    store.resume(run_id)
    trained_again: list[int] = []
    assert walk(store, run_id, on_record=lambda record: trained_again.append(record.update)).status == "finished"
    assert trained_again == list(range(stopped.updates + 1, 301))
    assert store.records(run_id).rows() == list(Walker(config))


def test_a_run_asked_to_stop_before_its_first_update_trains_nothing(store: RunStore) -> None:
    run_id = store.create_run(updates(9), process=this_process())
    store.request(run_id, desired="stop")
    run = walk(store, run_id)
    assert (run.status, run.updates, store.evaluations(run_id)) == ("stopped", 0, [])


def test_a_pace_is_held_until_it_is_lifted(store: RunStore, in_background: Callable[..., threading.Thread]) -> None:
    run_id = store.create_run(updates(20))
    store.request(run_id, pace=0.001)
    thread = in_background(store, run_id)
    eventually(lambda: store.run(run_id).heartbeat is not None and store.run(run_id).status == "running")
    store.request(run_id, pace=None)
    thread.join(PATIENCE_S)
    assert store.run(run_id).updates == 20


def test_a_pace_makes_the_trainer_wait_between_updates(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    """On a clock of its own: 20 updates at 4 a second take five seconds."""
    clock = SimpleNamespace(now=100.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=lambda s: setattr(clock, "now", clock.now + s))
    monkeypatch.setattr(attempt_module, "time", fake)
    run_id = store.create_run(updates(20))
    store.request(run_id, pace=4.0)
    walk(store, run_id)
    assert clock.now == pytest.approx(105.0, abs=0.3)


def test_a_long_pause_gives_the_process_up_and_loses_nothing(store: RunStore) -> None:
    config = updates(40)
    run_id = store.create_run(config)
    store.request(run_id, pause_at=10)
    parked = walk(store, run_id, park_after_s=0.0)
    assert (parked.status, parked.updates, parked.process) == ("paused", 10, None)
    store.request(run_id, desired="run")
    assert walk(store, run_id).status == "finished"
    assert store.records(run_id).rows() == list(Walker(config))


@pytest.mark.parametrize(
    ("asked", "then"),
    [({"desired": "run"}, "queued"), ({"desired": "run", "pause_at": 11}, "queued"), ({"desired": "stop"}, "stopped")],
)
def test_what_is_asked_of_a_trainer_that_gives_its_process_up_is_done_though_it_listens_no_more(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], then: str
) -> None:
    config = updates(40)
    run_id = store.create_run(config)
    store.request(run_id, pause_at=10)
    conclude = Journal.conclude

    def asked_meanwhile(journal: Journal, *args: Any, **about: Any) -> None:
        store.request(run_id, **asked)
        conclude(journal, *args, **about)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "conclude", asked_meanwhile)
        left = walk(store, run_id, park_after_s=0.0)
    assert (left.status, left.updates, left.process) == (then, 10, None)
    store.resume(run_id)
    store.request(run_id, pause_at=None)
    assert walk(store, run_id).status == "finished"
    assert store.records(run_id).rows() == list(Walker(config))


def test_a_pause_at_an_update_that_the_store_did_not_hear_of_is_kept_by_who_gives_its_process_up(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.create_run(updates(40))
    store.request(run_id, pause_at=10)

    def away(*_: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(Journal, "_exchange", away)
    parked = walk(store, run_id, park_after_s=0.0)
    assert (parked.status, parked.updates, parked.desired, parked.process) == ("paused", 10, "pause", None)


def test_a_trainer_that_lost_its_run_ends_and_leaves_it_alone(store: RunStore) -> None:
    run_id = store.create_run(updates(10_000))
    taken: list[Run] = []

    def take_over(record: Any) -> None:
        if record.update == 3:
            store.set_status(run_id, "crashed")
            store.resume(run_id)
            store.claim(run_id, Process("elsewhere", "", 1, 0.0))
            taken.append(store.run(run_id))

    with pytest.raises(Superseded):
        walk(store, run_id, seconds=0.001, on_record=take_over)
    assert store.run(run_id) == taken[0]


def test_a_trainer_that_lost_its_run_while_it_is_judged_ends_too(store: RunStore) -> None:
    def lose(*_: object, **__: object) -> dict[str, Any]:
        raise Superseded("Another process trains this run now.")

    run_id = store.create_run(updates(3))
    with pytest.raises(Superseded):
        walk(store, run_id, judge=lose)
    assert (store.run(run_id).status, [event.kind for event in store.events(run_id)]) == ("running", ["attempt"])


def test_how_far_judging_is_is_told_until_it_is_over(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SYNC_EVERY_S", 0.0)
    monkeypatch.setattr(journal_module, "STORE_SHARE", math.inf)
    run_id = store.create_run(VALIDATED)
    told: list[float | None] = []
    exchange = Journal._exchange

    def listen(journal: Journal, expected_next_s: float) -> None:
        exchange(journal, expected_next_s)
        told.append(store.run(run_id).judged)

    monkeypatch.setattr(Journal, "_exchange", listen)
    run = train_run(store, run_id)
    shares = [share for share in told if share is not None]
    assert told == [None] * (len(told) - len(shares)) + sorted(shares)
    kept = len(store.policies(run_id))
    assert shares == pytest.approx([*(k / kept / 2 for k in range(kept)), 1 / 2, 2 / 3, 5 / 6])
    assert run.judged is None


# ---- when the store fails


def test_a_locked_store_costs_retries_and_no_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path / 'runs.sqlite'}"
    store, hasty = RunStore(url), RunStore(url, patience_s=0.01)
    config = updates(100_000)
    run_id = store.create_run(config)
    other = sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None, check_same_thread=False)
    reached: list[int] = []

    def lock_until_it_is_felt(record: Any) -> None:
        reached.append(record.update)
        if record.update == 5:
            other.execute("BEGIN IMMEDIATE")
        elif other.in_transaction and caplog.messages:
            assert store.run(run_id).updates < record.update
            other.execute("ROLLBACK")
            store.request(run_id, desired="stop")

    run = walk(hasty, run_id, seconds=0.005, on_record=lock_until_it_is_felt)
    assert reached == list(range(1, run.updates + 1))
    assert run.status == "stopped"
    assert run.store_retries >= 1
    assert store.records(run_id).rows() == list(itertools.islice(Walker(config), run.updates))


def test_a_disk_that_is_full_for_a_while_is_said_once_and_once_more_when_it_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    config = updates(100_000)
    run_id = store.create_run(config)
    pages = [100_000]
    sa.event.listen(
        store._database.engine, "checkout", lambda connection, *_: connection.execute(f"PRAGMA max_page_count = {pages[0]}")
    )

    def fill_and_free(record: Any) -> None:
        if record.update == 5:
            pages[0] = 1  # as many as there are
        elif len(caplog.messages) == 1:
            pages[0] = 100_000
        elif len(caplog.messages) > 1:
            store.request(run_id, desired="stop")

    run = walk(store, run_id, seconds=0.002, on_record=fill_and_free)
    full, free = caplog.messages
    assert f"Run {run_id}: The disk is full: nothing was saved to {tmp_path / 'runs.sqlite'}; free some space" in full
    assert free == f"Run {run_id}: the run store answers again, after {run.store_retries} tries in vain."
    assert run.status == "stopped"
    assert store.records(run_id).rows() == list(Walker(updates(run.updates)))


def test_a_store_that_is_away_at_the_end_is_waited_for(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.create_run(updates(5))
    real, left = RunStore.transaction, [3]

    def transaction(self: RunStore, durable: bool = False) -> Any:
        if left[0]:
            left[0] -= 1
            raise StoreError("The disk is full.")
        return real(self, durable)

    monkeypatch.setattr(RunStore, "transaction", transaction)
    run = walk(store, run_id)
    assert (run.status, run.updates, run.store_retries) == ("finished", 5, 3)


def test_a_store_that_stays_away_is_given_up_in_the_end(store: RunStore) -> None:
    journal = Journal(store, store.create_run(updates(5)))

    def away() -> None:
        raise StoreError("The disk is full.")

    with pytest.raises(StoreError, match="disk is full"):
        journal.insist(away, patience_s=0.0)


class HoursAway:
    """A clock for the journal, which only its waiting moves, and a store that refuses what a trainer writes until some hour."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, until: float = math.inf) -> None:
        self.now, self.until, self.waits = 0.0, until, []
        monkeypatch.setattr(journal_module, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep))
        real = RunStore.transaction

        def transaction(store: RunStore, durable: bool = False) -> Any:
            if self.now < self.until:
                raise StoreError("The disk is full.")
            return real(store, durable)

        monkeypatch.setattr(RunStore, "transaction", transaction)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


def test_a_store_that_stays_away_for_hours_costs_a_run_that_has_ended_nothing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = updates(5)
    run_id = store.create_run(config)
    clock = HoursAway(monkeypatch, until=6 * 3600.0)

    def judge_and_lose_the_store(*args: Any, **about: Any) -> dict[str, Any]:
        clock.until = clock.now + 6 * 3600.0
        return judge(*args, **about)

    run = walk(store, run_id, judge=judge_and_lose_the_store)
    assert clock.now >= 12 * 3600.0
    assert (run.status, run.updates) == ("finished", 5)
    assert run.store_retries >= len(clock.waits)
    assert max(clock.waits) <= journal_module.LONGEST_WAIT_S
    alone = Walker(config)
    assert store.records(run_id).rows() == list(alone)
    assert store.policy_bytes(run_id) == alone.to_bytes()
    assert store.checkpoint(run_id) == alone.state()
    assert store.evaluation(run_id, "final") == {"of": alone.to_bytes().decode()}


def test_a_run_is_not_waited_for_by_who_cannot_claim_it(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HoursAway(monkeypatch)
    run_id = store.create_run(updates(5))

    def away(*_: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(RunStore, "claim", away)
    with pytest.raises(StoreError, match="disk is full"):
        walk(store, run_id)
    assert clock.now <= journal_module.CLAIM_PATIENCE_S + journal_module.LONGEST_WAIT_S


TOLD_AT_S = 3600.0


def train_with_a_store_that_stays_away(url: str, run_id: str, told: str) -> None:
    """Exits with code 3 where the store is given up soon after a signal."""
    with pytest.MonkeyPatch.context() as patched:
        clock = HoursAway(patched, until=math.inf if told == "waiting" else 0.0)
        wait = clock.sleep

        def wait_and_be_told(seconds: float) -> None:
            wait(seconds)
            if told == "waiting" and clock.now >= TOLD_AT_S:
                signal.raise_signal(signal.SIGTERM)

        def judge_and_be_told(*_: object, **__: object) -> dict[str, Any]:
            clock.now, clock.until = TOLD_AT_S, math.inf
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError

        journal_module.time.sleep = wait_and_be_told
        try:
            walk(RunStore(url), run_id, judge=judge_and_be_told)
        except StoreError:
            patience_s = journal_module.LAST_PATIENCE_S + journal_module.LONGEST_WAIT_S
            sys.exit(3 if TOLD_AT_S <= clock.now <= TOLD_AT_S + patience_s else 1)


@pytest.mark.parametrize("told", ["waiting", "judged"])
def test_a_store_that_stays_away_is_given_up_once_the_process_is_told_to_end(tmp_path: Path, told: str) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    process = CONTEXT.Process(target=train_with_a_store_that_stays_away, args=(store.url, store.create_run(updates(5)), told))
    process.start()
    process.join(PATIENCE_S)
    process.kill()
    assert process.exitcode == 3


def test_getting_ready_waits_for_no_store(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold the store up for all others meanwhile."""

    def away(*_: object) -> None:
        raise StoreError("The disk is full.")

    clock = HoursAway(monkeypatch, until=0.0)
    monkeypatch.setattr(RunStore, "append_records", away)
    warm_up(store)
    assert clock.waits == []
    assert store.runs() == []


def test_a_store_that_is_away_before_the_evaluation_does_not_change_what_is_chosen(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = train_run(store, store.create_run(VALIDATED))
    real, refusals = RunStore.transaction, [0]

    def transaction(self: RunStore, durable: bool = False) -> Any:
        if refusals[0]:
            refusals[0] -= 1
            raise StoreError("The disk is full.")
        return real(self, durable)

    def go_away(record: Any) -> None:
        """Before any policy is stored, and until it has refused twice after the last update."""
        refusals[0] = 3 if record.update == undisturbed.updates else 1000

    monkeypatch.setattr(RunStore, "transaction", transaction)
    run = train_run(store, store.create_run(VALIDATED), go_away)
    assert run.store_retries >= 3
    assert store.policies(run.id) == store.policies(undisturbed.id)
    assert store.policy_bytes(run.id) == store.policy_bytes(undisturbed.id)
    assert store.evaluation(run.id, "final") == store.evaluation(undisturbed.id, "final")


@pytest.mark.parametrize("refused", ["list", "first", "chosen"])
def test_a_policy_that_cannot_be_read_at_once_costs_no_evaluation(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    undisturbed = train_run(store, store.create_run(VALIDATED))
    kept = len(store.policies(undisturbed.id))
    refuse_at = {"list": 1, "first": 2, "chosen": 1 + kept + 1}[refused]
    reads: list[str] = []

    def reading(method: str) -> Callable[..., Any]:
        real = getattr(RunStore, method)

        def read(*args: Any) -> Any:
            reads.append(method)
            if len(reads) == refuse_at:
                raise StoreError("The run store is busy.")
            return real(*args)

        return read

    for method in ("policies", "policy_bytes"):
        monkeypatch.setattr(RunStore, method, reading(method))
    run = train_run(store, store.create_run(VALIDATED))
    assert len(reads) > refuse_at
    assert run.store_retries >= 1
    assert [event.kind for event in store.events(run.id)] == ["attempt"]
    assert store.evaluation(run.id, "final") == store.evaluation(undisturbed.id, "final")


def test_too_many_records_waiting_hold_the_training_up(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "RECORDS_WAITING", 7)
    monkeypatch.setattr(journal_module, "SYNC_EVERY_S", 3600.0)
    run_id = store.create_run(updates(20))
    journal = Journal(store, run_id)
    journal.claim()
    attempt = Attempt(journal, Walker(updates(20)), lambda: len(journal.records) > 7, None, 60.0)
    assert attempt.train() == "stopped"
    assert journal.update == 9  # the first went out at once, then eight waited


def test_listening_does_not_put_off_what_is_to_be_written(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    """Between two updates of a slow run it listens many times: the page must see each update all the same."""
    clock = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=lambda s: setattr(clock, "now", clock.now + s))
    monkeypatch.setattr(journal_module, "time", fake)
    journal = Journal(store, store.create_run(updates(3)))
    journal.claim()
    assert journal.sync(10.0)
    assert not journal.is_due()
    clock.now += journal_module.SLOWEST_SYNC_S
    journal.listen()
    assert journal.is_due()


# ---- killed


@pytest.mark.parametrize("seconds", [0.3, 1.7, 4.9])
def test_at_most_five_seconds_of_work_are_not_in_a_checkpoint(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """On a clock that only the trainer's work moves."""
    clock = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=lambda s: setattr(clock, "now", clock.now + s))
    monkeypatch.setattr(attempt_module, "time", fake)
    monkeypatch.setattr("tests.walker.time", fake)
    run_id = store.create_run(updates(30))
    at_risk: list[float] = []

    def look(record: Any) -> None:
        saved = max((update for update, _ in store.checkpoints(run_id)), default=0)
        at_risk.append((record.update - saved) * seconds)

    walk(store, run_id, seconds, on_record=look)
    assert len(at_risk) == 30
    assert max(at_risk) <= 5.0


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pgcore.runs.worker", "tests.walker"])
SMALL = {"num_envs": 4, "rollout_steps": 32, "hidden_sizes": (8,), "replay_start": 100, "gradient_steps": 8}
REAL = {
    f"{task}, {estimator}": TrainConfig(
        task=task,
        estimator=estimator,
        episode_rows=30,
        stop_when_solved=False,
        max_steps=900 if ESTIMATORS[estimator].loop == "listing" else 4000,  # one episode an update, not four
        **SMALL,
    )
    for task in ("CartPole-v1", "stocks")
    for estimator in estimators_for(task)
    if ESTIMATORS[estimator].repeatable
}
PACE = 40.0  # updates a second: slow enough to be hit on the way, whatever the estimator costs


def train_in_child(url: str, run_id: str, is_real: bool) -> None:
    attempt_module.CHECKPOINT_EVERY_S = 0.02
    store = RunStore(url)
    if is_real:
        train_run(store, run_id)
    else:
        walk(store, run_id, seconds=0.002)


def trained_through_kills(
    store: RunStore, run_id: str, kill_after: list[int], is_real: bool, number: int = signal.SIGKILL
) -> None:
    """Train in processes that are killed once so many updates are in the store, each time resumed, and then to the end."""
    for update in kill_after:
        process = CONTEXT.Process(target=train_in_child, args=(store.url, run_id, is_real))
        process.start()
        eventually(lambda update=update: store.run(run_id).updates >= update or store.run(run_id).is_over)
        os.kill(process.pid, number)
        process.join(PATIENCE_S)
        run = store.run(run_id)
        if run.status == "finished":
            return
        assert run.status == ("crashed" if number == signal.SIGKILL else "stopped")
        store.resume(run_id)
    process = CONTEXT.Process(target=train_in_child, args=(store.url, run_id, is_real))
    process.start()
    process.join(PATIENCE_S)


def test_killed_again_and_again_a_run_ends_as_if_nothing_had_been(store: RunStore) -> None:
    config = updates(400)
    run_id = store.create_run(config)
    trained_through_kills(store, run_id, [1, 30, 100, 200, 300], is_real=False)
    alone = Walker(config)
    assert store.run(run_id).status == "finished"
    assert store.records(run_id).rows() == list(alone)
    assert store.policy_bytes(run_id) == alone.to_bytes()


def judged_in_vain(*_: object, **__: object) -> dict[str, Any]:
    eventually(lambda: False)
    raise AssertionError


def train_until_judged(url: str, run_id: str) -> None:
    train_run(RunStore(url), run_id, judge=judged_in_vain)


@contextmanager
def killed_at_the_end(target: Callable[..., None], *arguments: object) -> Iterator[None]:
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join(PATIENCE_S)


def assert_goes_on_as_if_nothing_had_been(store: RunStore, run_id: str, ended: str = "crashed") -> None:
    assert store.run(run_id).status == ended
    store.request(run_id, pace=None)
    store.resume(run_id)
    resumed = train_run(store, run_id)
    whole = train_run(store, store.create_run(resumed.config))
    assert (resumed.status, resumed.updates) == (whole.status, whole.updates) == ("finished", whole.updates)
    assert _same_but_for_time(store, run_id, whole.id)
    assert store.policies(run_id) == store.policies(whole.id)
    for update in (None, *(update for update, _ in store.policies(run_id))):
        assert store.policy_bytes(run_id, update) == store.policy_bytes(whole.id, update)
    assert store.evaluation(run_id, "final") == store.evaluation(whole.id, "final")


END = {"CartPole-v1": REAL["CartPole-v1, a2c"], "stocks": VALIDATED}


def is_judged(run: Run) -> bool:
    return run.updates > 0 and run.expected.timestamp() - time.time() > EVALUATION_S / 2


@pytest.mark.parametrize("task", END)
def test_killed_while_it_is_judged_a_run_is_judged_the_same_when_resumed(tmp_path: Path, task: str) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(END[task])
    with killed_at_the_end(train_until_judged, store.url, run_id):
        eventually(lambda: is_judged(store.run(run_id)))
    assert_goes_on_as_if_nothing_had_been(store, run_id)


@pytest.mark.parametrize("how", ["stop", "signal", "second stop"])
def test_stopped_while_it_is_judged_a_run_ends_at_once_and_is_judged_the_same_when_resumed(tmp_path: Path, how: str) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(END["stocks"].replace(estimator="a2c"))
    if how == "second stop":
        store.request(run_id, pace=PACE)
    process = CONTEXT.Process(target=train_until_judged, args=(store.url, run_id))
    process.start()
    if how == "second stop":
        eventually(lambda: store.run(run_id).updates > 3)
        store.request(run_id, desired="stop")
    eventually(lambda: is_judged(store.run(run_id)))
    if how == "signal":
        os.kill(process.pid, signal.SIGTERM)
    else:
        store.request(run_id, desired="stop")
    process.join(PATIENCE_S / 2)
    assert process.exitcode == 0
    assert store.evaluation(run_id, "final") is None
    assert_goes_on_as_if_nothing_had_been(store, run_id, ended="stopped")


@pytest.mark.parametrize("task", END)
def test_killed_while_it_is_paused_a_run_goes_on_to_the_same_end(tmp_path: Path, task: str) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(END[task])
    store.request(run_id, pause_at=5)
    with killed_at_the_end(train_in_child, store.url, run_id, True):
        eventually(lambda: store.run(run_id).status == "paused")
    assert_goes_on_as_if_nothing_had_been(store, run_id)


@pytest.mark.parametrize("further", [0, 3])
def test_stopped_before_it_is_where_it_was_killed_a_run_keeps_what_it_had_committed(store: RunStore, further: int) -> None:
    config, alone = updates(30), Walker(updates(30))
    run_id = store.create_run(config, process=this_process())
    killed, walker = Journal(store, run_id), Walker(config)
    killed.claim()
    for record in itertools.islice(walker, 15):
        killed.update = record.update
        killed.records.append(record)
        if record.update == 5:
            killed.checkpoint = Snapshot(record.update, record.env_steps, walker.state())
        killed.flush(10.0)
    store.set_status(run_id, "crashed")
    store.resume(run_id, process=this_process())
    if further == 0:
        store.request(run_id, desired="stop")
    told: list[int] = []

    def ask(record: Any) -> None:
        told.append(record.update)
        if len(told) == further:
            store.request(run_id, desired="stop")

    run = walk(store, run_id, on_record=ask, seconds=0.5)
    assert told[:further] == list(range(6, 6 + further))
    assert run.status == "stopped"
    assert store.records(run_id).rows() == list(itertools.islice(Walker(config), 15))
    assert (run.updates, run.env_steps) == (15, 1_500)
    assert store.evaluation(run_id, "final") is None, "what was judged would be no policy of that run as it stands"
    store.resume(run_id)
    assert walk(store, run_id).status == "finished"
    assert store.records(run_id).rows() == list(alone)
    assert store.policy_bytes(run_id) == alone.to_bytes()


LONG = ["CartPole-v1, ppo", "CartPole-v1, trpo", "CartPole-v1, dqn", "CartPole-v1, article", "stocks, a2c"]


def asked_within(update: int, step: int, ask: Callable[[], None]) -> type[Trainer]:
    """Makes trainers that hear the question after so many steps of the update after that one."""

    class Asked(Trainer):
        def between_steps(self, act: Callable[[], object]) -> None:
            taken = itertools.count(1)

            def ask_and_act() -> None:
                if self.update == update and next(taken) == step:
                    ask()
                act()

            super().between_steps(ask_and_act)

    return Asked


def fingerprint(config: TrainConfig, policy: Any, prices: object, **_: object) -> dict[str, Any]:
    return {"of": policy.to_bytes().hex()}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("asked", ["stop", "pause"])
def test_told_within_an_update_a_run_leaves_it_there_and_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: str
) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(REAL[name])
    make = asked_within(2, 5, lambda: store.request(run_id, desired=asked))
    with monkeypatch.context() as patched:
        patched.setattr(attempt_module, "CHECKPOINT_EVERY_S", 0.0)
        left = train_run(store, run_id, make_trainer=make, judge=fingerprint, park_after_s=0.0)
    assert (left.status, left.updates) == ({"stop": "stopped", "pause": "paused"}[asked], 2)
    assert (left.process is None) == (asked == "pause")
    assert [update for update, _ in store.policies(run_id)] == [0, 1, 2]
    if asked == "stop":
        assert store.evaluation(run_id, "final")["of"] == store.policy_bytes(run_id).hex()
    assert_goes_on_as_if_nothing_had_been(store, run_id, ended=left.status)


def test_told_to_stop_within_its_first_update_a_run_has_learned_nothing_to_be_judged(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "CHECKPOINT_EVERY_S", 0.0)
    run_id = store.create_run(REAL["CartPole-v1, ppo"])
    run = train_run(store, run_id, make_trainer=asked_within(0, 3, lambda: store.delete(run_id)))
    assert (run.status, run.updates, store.evaluations(run_id)) == ("stopped", 0, [])
    assert [update for update, _ in store.policies(run_id)] == [0]


def test_resumed_within_an_update_and_stopped_before_its_next_step_a_run_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(REAL["CartPole-v1, ppo"])
    with monkeypatch.context() as patched:
        patched.setattr(attempt_module, "CHECKPOINT_EVERY_S", 0.0)
        train_run(store, run_id, make_trainer=asked_within(2, 5, lambda: store.request(run_id, desired="stop")))
    before = store.checkpoint(run_id), store.policy_bytes(run_id), store.evaluation(run_id, "final")
    store.resume(run_id, this_process())
    store.request(run_id, desired="stop")
    assert train_run(store, run_id).status == "stopped"
    assert (store.checkpoint(run_id), store.policy_bytes(run_id), store.evaluation(run_id, "final")) == before
    assert_goes_on_as_if_nothing_had_been(store, run_id, ended="stopped")


def test_paused_within_an_update_a_run_waits_there_and_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(REAL["CartPole-v1, ppo"])
    waited: list[tuple[str, int]] = []
    idle = Attempt._idle

    def go_on(attempt: Attempt, seconds: float) -> None:
        run = store.run(run_id)
        waited.append((run.status, run.updates))
        store.request(run_id, desired="run")
        idle(attempt, seconds)

    with monkeypatch.context() as patched:
        patched.setattr(attempt_module, "CHECKPOINT_EVERY_S", 0.0)
        patched.setattr(Attempt, "_idle", go_on)
        make = asked_within(2, 5, lambda: store.request(run_id, desired="pause"))
        run = train_run(store, run_id, make_trainer=make)
    assert waited == [("paused", 2)]
    whole = train_run(store, store.create_run(run.config))
    assert run.status == whole.status == "finished"
    assert _same_but_for_time(store, run_id, whole.id)
    assert store.policy_bytes(run_id) == store.policy_bytes(whole.id)


def test_told_to_end_by_a_signal_a_run_stops_in_order_and_can_go_on(store: RunStore) -> None:
    config = updates(400)
    run_id = store.create_run(config)
    trained_through_kills(store, run_id, [50], is_real=False, number=signal.SIGTERM)
    assert store.run(run_id).status == "finished"
    assert store.records(run_id).rows() == list(Walker(config))


@pytest.mark.parametrize("name", REAL)
def test_a_killed_and_resumed_run_is_bit_identical(tmp_path: Path, name: str) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(REAL[name])
    store.request(run_id, pace=PACE)
    trained_through_kills(store, run_id, [3, 12], is_real=True)
    whole = train_run(store, store.create_run(REAL[name]))
    assert store.run(run_id).status == whole.status == "finished"
    assert len(store.events(run_id)) > 1
    assert _same_but_for_time(store, run_id, whole.id)
    assert store.policy_bytes(run_id) == store.policy_bytes(whole.id)
    assert store.evaluation(run_id, "final") == store.evaluation(whole.id, "final")


def _same_but_for_time(store: RunStore, one: str, other: str) -> bool:
    return repr(alike(store.records(one).rows())) == repr(alike(store.records(other).rows()))


# ---- the process


def start_worker(url: str) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-m", "pgcore.runs.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PGLAB_DATABASE_URL": url},
        start_new_session=True,
    )
    assert worker.stdout.readline() == "ready\n"
    return worker


def test_a_worker_trains_the_run_it_is_given_though_nobody_listens_any_more(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(TrainConfig(max_steps=5000, num_envs=8))
    worker = start_worker(store.url)
    worker.stdin.write(f"{run_id}\n")
    worker.stdin.close()
    worker.stdout.close()
    worker.stderr.close()
    assert worker.wait(PATIENCE_S) == 0
    run = store.run(run_id)
    assert (run.status, run.process.pid) == ("finished", worker.pid)
    assert store.records(run_id).rows()[-1].env_steps == run.env_steps
    assert alike(store.records(run_id).rows())[0].update == alike(list(Trainer(run.config)))[0].update == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no niceness")
@pytest.mark.parametrize(("to_a_core", "more"), [(1, 5), (2, 10), (100, 19)])
def test_a_worker_gives_way_to_the_pages_and_so_does_its_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to_a_core: int, more: int
) -> None:
    monkeypatch.setenv("PGLAB_TRAINERS", str(to_a_core * cores()))
    worker = start_worker(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    niceness = psutil.Process(worker.pid).nice()
    assert niceness == min(19, psutil.Process().nice() + more)
    if AUTOGROUP.exists():
        assert Path(f"/proc/{worker.pid}/autogroup").read_text().strip().endswith(f"nice {niceness}")
    worker.communicate(timeout=PATIENCE_S)


def test_a_worker_whose_server_goes_away_ends_quietly(tmp_path: Path) -> None:
    worker = start_worker(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    _, errors = worker.communicate(timeout=PATIENCE_S)
    assert (worker.returncode, errors) == (0, "")
