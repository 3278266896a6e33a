"""Warm workers: processes that have torch loaded before anybody presses Train, and the queue behind them."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from pgcore.errors import BadInput
from pgcore.runs.database import StoreError, data_directory, make_directory
from pgcore.runs.process import Process, process_of
from pgcore.runs.store import RunStore

LOOK_EVERY_S = 0.5
RESTART_AFTER_S = 10.0
SETTLE_S = 2.0
KILL_AFTER_S = 30.0
LOG_BYTES = 1_000_000
ROOT = Path(__file__).parents[2]


def cores() -> int:
    """How many this process may use."""
    return len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX else os.cpu_count() or 1


def most_trainers() -> int:
    """How many runs may train at once on this machine: PGLAB_TRAINERS, else one a core. Raises BadInput."""
    asked = os.environ.get("PGLAB_TRAINERS", "").strip()
    if not asked:
        return cores()
    if not re.fullmatch("[1-9][0-9]{0,3}", asked):
        raise BadInput(f"PGLAB_TRAINERS cannot be {asked[:40]!r}: give a whole number from 1 to 9999, or none for one a core.")
    return int(asked)


class Worker:
    """A process that gets ready and waits for a run id. It ends when its pool does, but not once it trains."""

    def __init__(self, command: list[str], url: str, log: Path) -> None:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"PGLAB_DATABASE_URL": url, "PYTHONPATH": path},
                start_new_session=True,
            )
        self.process: Process = process_of(self._popen.pid)
        self.started_at = time.monotonic()
        self.is_ready = False
        threading.Thread(target=self._await_ready, daemon=True).start()

    def _await_ready(self) -> None:
        assert self._popen.stdout is not None
        self.is_ready = bool(self._popen.stdout.readline())
        self._popen.stdout.close()

    @property
    def exit_code(self) -> int | None:
        """None while it lives; asking also frees the process table of a dead one."""
        return self._popen.poll()

    def train(self, run_id: str) -> None:
        """Hand over a run. Where the process is gone, the run's row says so and `reconcile` queues it again."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.write(f"{run_id}\n".encode())
            self._popen.stdin.close()

    def dismiss(self) -> None:
        """End a process that has no run."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        self._popen.terminate()
        try:
            self._popen.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class Pool:
    """Trains the queued runs of a store, at most `cap` at once on this machine, keeping `warm` workers ready ahead of need.
    Without a `cap`, as `most_trainers` says. Raises BadInput.

    All methods may be called from any thread. Several pools may share a store: a run is handed out once. What trains goes
    on when the pool ends; what waits in the queue waits for the next pool. `problem` says, in one sentence, why nothing
    starts, where that is so.
    """

    def __init__(self, store: RunStore, *, warm: int = 2, cap: int | None = None, command: list[str] | None = None) -> None:
        self.store = store
        self.cap = cap or most_trainers()
        self.warm = min(warm, self.cap)
        self.problem = ""
        self._command = command or [sys.executable, "-m", "pgcore.runs.worker"]
        self._log = data_directory() / "worker.log"
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._training: dict[Worker, str] = {}
        self._spawn_at = 0.0
        self._settled_at = 0.0
        self._stir = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._keep_looking, name="pool", daemon=True)

    @property
    def ready(self) -> int:
        """How many workers could begin to train at once."""
        return sum(worker.is_ready for worker in self._idle)

    def start(self) -> None:
        """Raises StoreError where the data directory, which holds the workers' log, cannot be made."""
        make_directory(self._log.parent)
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            with contextlib.suppress(OSError):  # held open elsewhere: then it grows on
                self._log.unlink()
        self._thread.start()

    def wake(self) -> None:
        """A run has been queued: hand it over now rather than at the next look."""
        with self._lock, contextlib.suppress(StoreError):  # then the next look tries again, and says so
            self._promote()
        self._stir.set()

    def shutdown(self) -> None:
        """End the idle workers and hand out no more; what trains goes on."""
        self._is_closing = True
        self._stir.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for worker in self._idle:
                worker.dismiss()
            self._idle.clear()

    def _keep_looking(self) -> None:
        while not self._is_closing:
            try:
                self._look()
            except (BadInput, OSError, psutil.Error) as error:
                self.problem = str(error)
                self._spawn_at = time.monotonic() + RESTART_AFTER_S
            self._stir.wait(LOOK_EVERY_S)
            self._stir.clear()

    def _look(self) -> None:
        with self._lock:
            self._reap()
        self.store.reconcile()
        with self._lock:
            self._promote()
        self._fill()
        for run in self.store.unheeded_stops(KILL_AFTER_S):
            assert run.process is not None
            with contextlib.suppress(psutil.AccessDenied, BadInput):  # somebody else's process, which their own pool ends;
                run.process.kill()  # a run removed for good
                if run.status == "stale":
                    self.store.request(run.id, desired="stop")
        if self.ready:
            self.problem = ""

    def _reap(self) -> None:
        dead = [worker for worker in (*self._idle, *self._training) if worker.exit_code is not None]
        for worker in dead:
            if not worker.is_ready:
                self.problem = f"A worker ended with code {worker.exit_code} before it was ready: {self._log} says why."
                self._spawn_at = time.monotonic() + RESTART_AFTER_S
            if worker in self._idle:
                self._idle.remove(worker)
            elif (run_id := self._training.pop(worker)) and worker.exit_code:
                with contextlib.suppress(BadInput):  # the run is removed for good; a store that is away says so right after
                    self.store.add_event(run_id, "process", f"Its process ended with code {worker.exit_code}.")

    def _fill(self) -> None:
        while (
            len(self._idle) < max(self._warming(), self._wanted())
            and time.monotonic() >= self._spawn_at
            and not self._is_closing
        ):
            worker = Worker(self._command, self.store.url, self._log)
            with self._lock:
                self._idle.append(worker)
                self._promote()

    def _warming(self) -> int:
        """One worker at a time gets warm, and none just when a run begins: loading torch keeps a core busy, which somebody who
        opens the first page, or waits for the first point, can use better."""
        return 0 if time.monotonic() < self._settled_at else min(self.warm, self.ready + 1)

    def _wanted(self) -> int:
        """How many more could be put to work at once."""
        return min(self.store.queue_length(), self.cap - len(self._training))

    def _promote(self) -> None:
        while self._idle and not self._is_closing:
            worker = min(self._idle, key=lambda worker: (not worker.is_ready, worker.started_at))
            run_id = self.store.assign(worker.process, self.cap)
            if run_id is None:
                return
            self._idle.remove(worker)
            self._training[worker] = run_id
            self._settled_at = time.monotonic() + SETTLE_S
            worker.train(run_id)
