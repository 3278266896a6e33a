"""The pool: what is queued gets trained, not too much at once, by processes that outlive it and leave no corpses."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.runs import pool as pool_module
from pgcore.runs.database import StoreError
from pgcore.runs.group import train_group
from pgcore.runs.pool import Pool, cores
from pgcore.runs.process import Process, this_process
from pgcore.runs.store import RunStore

ROOT = Path(__file__).parents[1]
WALKER = [sys.executable, "-m", "tests.walker"]
PATIENCE_S = 60.0
MakePool = Callable[..., Pool]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """On SQLite: of what a pool does, only handing out runs differs by database, and that is tested on both."""
    return RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")


def eventually(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen"
        time.sleep(0.01)


@pytest.fixture
def make_pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MakePool]:
    monkeypatch.setenv("PGLAB_HOME", str(tmp_path))
    monkeypatch.setattr(pool_module, "LOOK_EVERY_S", 0.02)
    pools: list[Pool] = []

    def make(store: RunStore, **options: object) -> Pool:
        pools.append(Pool(store, **{"command": WALKER, "warm": 1, "cap": 2} | options))
        pools[-1].start()
        return pools[-1]

    yield make
    for pool in pools:
        pool.shutdown()


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """The ids of the processes this one has started since and not yet buried, zombies included."""
    before = {child.pid for child in psutil.Process().children()}
    return lambda: {child.pid for child in psutil.Process().children()} - before


def status_of(store: RunStore, *run_ids: str) -> list[str]:
    return [store.run(run_id).status for run_id in run_ids]


def test_queued_runs_are_trained_each_by_a_process_of_its_own(store: RunStore, make_pool: MakePool) -> None:
    pool = make_pool(store, warm=2)
    eventually(lambda: pool.ready == 2)
    ids = [store.create_run(TrainConfig()) for _ in range(3)]
    pool.wake()
    eventually(lambda: status_of(store, *ids) == ["finished"] * 3)
    assert len({store.run(run_id).process for run_id in ids}) == 3
    eventually(lambda: pool.ready == 2)
    assert pool.problem == ""


def test_workers_get_warm_one_after_the_other(store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[pool_module.Worker] = []
    others_getting_warm: list[int] = []
    begin = pool_module.Worker.__init__

    def noted(worker: pool_module.Worker, *args: object) -> None:
        others_getting_warm.append(sum(not other.is_ready for other in started))
        begin(worker, *args)
        started.append(worker)

    monkeypatch.setattr(pool_module.Worker, "__init__", noted)
    pool = make_pool(store, warm=3, cap=3)
    eventually(lambda: pool.ready == 3)
    assert others_getting_warm == [0, 0, 0]


def test_a_pool_that_keeps_none_ready_starts_as_many_as_there_are_runs(
    store: RunStore, make_pool: MakePool, children: Callable[[], set[int]]
) -> None:
    ids = [store.create_run(TrainConfig(), name="until told") for _ in range(2)]
    make_pool(store, warm=0, cap=3)
    eventually(lambda: status_of(store, *ids) == ["running"] * 2)
    assert children() == {store.run(run_id).process.pid for run_id in ids}
    for run_id in ids:
        store.request(run_id, desired="stop")
    eventually(lambda: status_of(store, *ids) == ["finished"] * 2)


def test_no_more_than_the_cap_is_trained_at_once_and_the_others_keep_their_place(store: RunStore, make_pool: MakePool) -> None:
    ids = [store.create_run(TrainConfig(), name="until told") for _ in range(4)]
    make_pool(store, warm=2, cap=2)
    eventually(lambda: status_of(store, *ids) == ["running", "running", "queued", "queued"])
    assert [store.run(run_id).position for run_id in ids] == [None, None, 1, 2]
    store.request(ids[1], desired="stop")
    eventually(lambda: status_of(store, *ids) == ["running", "finished", "running", "queued"])
    assert store.run(ids[3]).position == 1
    for run_id in ids:
        store.request(run_id, desired="stop")
    eventually(lambda: status_of(store, *ids) == ["finished", "finished", "finished", "stopped"])


@pytest.mark.parametrize(("asked", "cap"), [("1", 1), (" 37 ", 37), ("", cores()), (None, cores())])
def test_the_cap_is_that_of_the_environment_or_one_a_core(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, asked: str | None, cap: int
) -> None:
    monkeypatch.delenv("PGLAB_TRAINERS", raising=False)
    if asked is not None:
        monkeypatch.setenv("PGLAB_TRAINERS", asked)
    assert Pool(store).cap == cap
    assert Pool(store, cap=2).cap == 2


@pytest.mark.parametrize("asked", ["0", "-1", "two", "1.5", "9" * 5000, "१"])
def test_a_cap_that_is_no_number_of_trainers_is_refused_before_anything_is_queued(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("PGLAB_TRAINERS", asked)
    with pytest.raises(BadInput, match=r"PGLAB_TRAINERS cannot be .*: give a whole number from 1 to 9999"):
        train_group(store, [TrainConfig(), TrainConfig(seed=1)])
    assert store.runs() == []


def test_what_trains_outlives_the_pool_and_what_waits_is_taken_up_by_the_next(
    store: RunStore, make_pool: MakePool, children: Callable[[], set[int]]
) -> None:
    training, waiting = (store.create_run(TrainConfig(), name="until told") for _ in range(2))
    first = make_pool(store, cap=1)
    eventually(lambda: store.run(training).status == "running" and first.ready == 1)
    first.shutdown()
    assert children() == {store.run(training).process.pid}
    assert status_of(store, training, waiting) == ["running", "queued"]
    make_pool(store, cap=1)
    store.request(training, desired="stop")
    eventually(lambda: status_of(store, training, waiting) == ["finished", "running"])
    store.request(waiting, desired="stop")
    eventually(lambda: store.run(waiting).status == "finished")


def test_pools_that_share_a_store_train_each_run_once(store_url: str, make_pool: MakePool) -> None:
    stores = [RunStore(store_url), RunStore(store_url)]
    for store in stores:
        make_pool(store, warm=2, cap=4)
    ids = [stores[0].create_run(TrainConfig()) for _ in range(6)]
    eventually(lambda: status_of(stores[0], *ids) == ["finished"] * 6)
    assert [len(stores[0].events(run_id)) for run_id in ids] == [1] * 6


def test_a_killed_trainer_is_known_to_be_dead_and_buried(
    store: RunStore, make_pool: MakePool, children: Callable[[], set[int]]
) -> None:
    pool = make_pool(store)
    run_id = store.create_run(TrainConfig(), name="until told")
    pool.wake()
    eventually(lambda: store.run(run_id).status == "running")
    pid = store.run(run_id).process.pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: store.run(run_id).status == "crashed")
    eventually(lambda: pid not in children())
    eventually(lambda: "Its process ended with code -9" in store.events(run_id)[-1].message)


def test_a_worker_that_died_waiting_loses_no_run(
    store: RunStore, make_pool: MakePool, children: Callable[[], set[int]]
) -> None:
    pool = make_pool(store)
    eventually(lambda: pool.ready == 1)
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    run_id = store.create_run(TrainConfig())
    pool.wake()  # which may still take it for alive
    eventually(lambda: store.run(run_id).status == "finished")
    assert store.run(run_id).process.pid != pid


def test_workers_that_cannot_start_are_said_so_and_not_started_over_and_over(store: RunStore, make_pool: MakePool) -> None:
    pool = make_pool(store, command=[sys.executable, "-c", "import sys; print('no torch here', file=sys.stderr); sys.exit(3)"])
    eventually(lambda: "ended with code 3 before it was ready" in pool.problem)
    log = pool_module.data_directory() / "worker.log"
    assert str(log) in pool.problem
    time.sleep(0.3)  # fifteen looks
    assert log.read_text() == "no torch here\n"


def test_a_trainer_deaf_to_stop_and_silent_is_killed(
    store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KILL_AFTER_S", 0.1)
    pool = make_pool(store)
    run_id = store.create_run(TrainConfig(), name="deaf")
    pool.wake()
    eventually(lambda: store.run(run_id).status == "running")
    store.request(run_id, desired="stop")
    eventually(lambda: store.run(run_id).status == "crashed")


@pytest.mark.skipif(not this_process().boot, reason="no boot is told from another here: the name has to tell")
def test_a_machine_that_was_renamed_since_the_pool_began_trains_and_ends_what_is_deaf(
    store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_of = pool_module.process_of
    monkeypatch.setattr(pool_module, "process_of", lambda pid: replace(process_of(pid), host="its old name"))
    monkeypatch.setattr(pool_module, "KILL_AFTER_S", 0.1)
    pool = make_pool(store)
    run_id, deaf = store.create_run(TrainConfig()), store.create_run(TrainConfig(), name="deaf")
    pool.wake()
    eventually(lambda: status_of(store, run_id, deaf) == ["finished", "running"])
    assert len(store.events(run_id)) == 1
    monkeypatch.setattr("pgcore.runs.process.socket.gethostname", lambda: "its new name")
    store.request(deaf, desired="stop")
    eventually(lambda: store.run(deaf).status == "crashed")


def test_a_run_that_was_told_to_stop_and_whose_trainer_elsewhere_fell_silent_is_stopped(
    store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "KILL_AFTER_S", 0.1)
    run_id = store.create_run(TrainConfig())
    lost = store.claim(run_id, Process("another-machine", "boot", 1, 0.0))
    store.request(run_id, desired="stop")
    lost.heartbeat(run_id, -3600.0)
    make_pool(store)
    eventually(lambda: store.run(run_id).status == "stopped")


def test_wake_never_fails_for_a_store_that_is_away(
    store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(store)
    eventually(lambda: pool.ready == 1)

    def away(*_: object) -> None:
        raise pool_module.StoreError("The disk is full.")

    monkeypatch.setattr(RunStore, "assign", away)
    pool.wake()
    eventually(lambda: pool.problem == "The disk is full.")


def test_a_run_removed_for_good_before_its_trainer_is_buried_stops_nothing(
    store: RunStore, make_pool: MakePool, children: Callable[[], set[int]]
) -> None:
    pool = make_pool(store)
    run_id = store.create_run(TrainConfig(), name="until told")
    pool.wake()
    eventually(lambda: store.run(run_id).status == "running")
    pid = store.run(run_id).process.pid
    with pool._lock:  # the pool does not look before the run is gone
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: store.run(run_id).status == "crashed")
        store.purge(run_id)
    eventually(lambda: pid not in children())
    ids = [store.create_run(TrainConfig()) for _ in range(2)]  # one more than wait for a run
    eventually(lambda: status_of(store, *ids) == ["finished"] * 2)
    assert pool.problem == ""


@pytest.mark.parametrize(
    "trouble", [psutil.NoSuchProcess(1), psutil.AccessDenied(1), BadInput("No such run."), OSError("Full.")]
)
def test_the_pool_goes_on_after_what_it_could_not_do(
    store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(pool_module, "RESTART_AFTER_S", 0.2)
    troubles = [trouble]
    process_of = pool_module.process_of

    def once_in_trouble(pid: int) -> Process:
        if troubles:
            raise troubles.pop()
        return process_of(pid)

    monkeypatch.setattr(pool_module, "process_of", once_in_trouble)
    pool = make_pool(store)
    eventually(lambda: pool.problem == str(trouble))
    eventually(lambda: pool.ready == 1 and pool.problem == "")


def test_a_trainer_that_may_not_be_killed_keeps_no_other_run_waiting(
    store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(process: Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(pool_module, "KILL_AFTER_S", 0.1)
    pool = make_pool(store)
    deaf = store.create_run(TrainConfig(), name="deaf")
    pool.wake()
    eventually(lambda: store.run(deaf).status == "running")
    with monkeypatch.context() as patched:
        patched.setattr(Process, "kill", denied)
        store.request(deaf, desired="stop")
        eventually(lambda: store.unheeded_stops(pool_module.KILL_AFTER_S) != [])
        ids = [store.create_run(TrainConfig()) for _ in range(2)]  # one more than wait for a run
        eventually(lambda: status_of(store, *ids) == ["finished"] * 2)
    eventually(lambda: store.run(deaf).status == "crashed")


def test_a_data_directory_that_cannot_be_made_is_said_in_a_sentence(
    store: RunStore, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PGLAB_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(StoreError, match=r"data directory .*below cannot be made \(Not a directory\): choose another one"):
        make_pool(store)


SERVER = """
import sys, time
from pgcore.runs import pool
from pgcore.runs.store import RunStore
served = pool.Pool(RunStore(), warm=1, cap=1, command=[sys.executable, "-m", "tests.walker"])
served.start()
time.sleep(600)
"""


def test_a_killed_server_leaves_its_training_run_alone_and_no_idle_worker(tmp_path: Path) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_id = store.create_run(TrainConfig(), name="until told")
    environment = os.environ | {"PGLAB_HOME": str(tmp_path), "PGLAB_DATABASE_URL": store.url, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, "-c", SERVER], env=environment)
    eventually(lambda: store.run(run_id).status == "running")
    eventually(lambda: len(psutil.Process(server.pid).children()) == 2)
    trainer = psutil.Process(store.run(run_id).process.pid)
    (idle,) = (child for child in psutil.Process(server.pid).children() if child != trainer)
    server.kill()
    server.wait()
    eventually(lambda: not idle.is_running() or idle.status() == psutil.STATUS_ZOMBIE)
    assert store.run(run_id).status == "running"
    store.request(run_id, desired="stop")
    eventually(lambda: store.run(run_id).status == "finished")
