"""What a trainer has to tell the store, kept until the store takes it: a store that fails costs the trainer nothing."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pgcore.record import UpdateRecord
from pgcore.runs.data import Snapshot
from pgcore.runs.database import StoreError
from pgcore.runs.process import this_process
from pgcore.runs.run import Control, Run, Status
from pgcore.runs.store import RunStore
from pgcore.runs.versions import versions

SYNC_EVERY_S = 0.15
STORE_SHARE = 0.015  # of the time, where the store is slow; a dead store gets as much
SLOWEST_SYNC_S = 1.0
LONGEST_WAIT_S = 10.0
CLAIM_PATIENCE_S = 30.0
LAST_PATIENCE_S = 30.0

LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


class Journal:
    """The trainer's end of the store. No method raises StoreError but those that say so; all raise Superseded.

    What the trainer cannot go on without it waits for as long as the store stays away: for `patience_s`, where that is given,
    and for half a minute once the process has been asked to end, as `is_ended` tells.

    `store` is at first any, after `claim` the trainer's own. What is put into `records`, `policies` (thinned to multiples
    of `keep_every`), `checkpoint`, `chosen` (the run's own policy) and `evaluation` waits for the next `sync`, `flush` or
    `conclude`. `judged` is the share of the evaluation that is done, told with each sign of life. `control` is what was
    wanted when last heard.
    """

    def __init__(self, store: RunStore, run_id: str, patience_s: float = math.inf) -> None:
        self.store = store
        self.run_id = run_id
        self.patience_s = patience_s
        self.is_ended: Callable[[], bool] = lambda: False
        self.status: Status = "running"
        self.update = self.committed = 0
        self.records: list[UpdateRecord] = []
        self.policies: list[Snapshot] = []
        self.keep_every = 1
        self.checkpoint: Snapshot | None = None
        self.chosen: Snapshot | None = None
        self.evaluation: dict[str, Any] | None = None
        self.judged: float | None = None
        self.control = Control("run", None, None)
        self.retries = 0
        self._in_vain = 0
        self.synced_at = 0.0
        self._due_at = 0.0
        self._wait_s = 0.0

    def claim(self) -> Run:
        """Claim the run for this process. Raises StoreError after half a minute in vain, BadInput where it is not to be had."""
        store, patience_s = self.store, min(self.patience_s, CLAIM_PATIENCE_S)
        self.store = self.insist(lambda: store.claim(self.run_id, this_process()), patience_s)
        run = self.insist(lambda: self.store.run(self.run_id), patience_s)
        self.run_id = run.id
        if run.updates:
            later = self.insist(lambda: self.store.records(run.id, after=run.updates - 1), patience_s)
            self.committed = int(later.update[-1]) if len(later) else 0
        self.insist(lambda: self.store.add_event(run.id, "attempt", versions()), patience_s)
        return run

    @property
    def is_behind(self) -> bool:
        """Whether an earlier attempt has committed records of updates that this one is yet to make."""
        return self.update < self.committed

    def is_due(self) -> bool:
        """Whether it is time to talk to the store: now and then, at once with a checkpoint, seldom while it fails."""
        return time.monotonic() >= self._due_at or (self.checkpoint is not None and not self.is_failing)

    @property
    def is_failing(self) -> bool:
        """Whether the store would not have the last word."""
        return self._wait_s > 0

    def sync(self, expected_next_s: float) -> bool:
        """Write what waits, with a sign of life, and hear what is wanted; False where the store would not have it now."""
        return self._attempt(lambda: self._exchange(expected_next_s))

    def flush(self, expected_next_s: float) -> None:
        """A sync that what comes next builds on. Raises StoreError as `insist` does."""
        self.insist(lambda: self._exchange(expected_next_s))

    def listen(self) -> None:
        """Hear what is wanted. When to write next stays as it was, however often one listens."""

        def talk() -> None:
            self.control = self.store.control(self.run_id)

        due_at = self._due_at
        if self._attempt(talk):
            self._due_at = due_at

    def conclude(self, status: Status, *, error: str = "", solved: bool = False) -> None:
        """Write what waits and how the run ended, together. Raises StoreError as `insist` does."""

        def talk() -> None:
            with self.store.transaction(durable=True) as store:
                self._write(store)
                store.heartbeat(self.run_id, 0.0, status=self.status, store_retries=self.retries)
                if self.chosen is not None:
                    store.choose_policy(self.run_id, self.chosen)
                if self.evaluation is not None:
                    store.save_evaluation(self.run_id, "final", self.evaluation)
                if status == "stopped" and self.is_behind:
                    store.recount(self.run_id)
                elif status in ("finished", "stopped"):
                    store.drop_records(self.run_id, after=self.update)
                if status == "paused":
                    store.reach_pause(self.run_id, self.update)  # which no sync may have told the store
                    store.park(self.run_id)
                else:
                    store.set_status(self.run_id, status, error=error, solved=solved)

        self.insist(talk)
        self._forget()

    def insist(self, operation: Callable[[], Result], patience_s: float | None = None) -> Result:
        """Do what the trainer cannot go on without. Raises StoreError where its patience is at an end."""
        give_up_at = time.monotonic() + (self.patience_s if patience_s is None else patience_s)
        wait_s = 0.1
        while True:
            try:
                result = operation()
            except StoreError as error:
                self._refused(error)
                now = time.monotonic()
                if self.is_ended():
                    give_up_at = min(give_up_at, now + LAST_PATIENCE_S)
                if now >= give_up_at:
                    raise
            else:
                self._taken()
                return result
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _exchange(self, expected_next_s: float) -> None:
        with self.store.transaction(durable=self.checkpoint is not None) as store:
            self._write(store)
            store.heartbeat(self.run_id, expected_next_s, status=self.status, store_retries=self.retries, judged=self.judged)
            pause_at = self.control.pause_at
            if pause_at is not None and self.update >= pause_at:
                store.reach_pause(self.run_id, self.update)
            self.control = store.control(self.run_id)
        self._forget()
        self.synced_at = time.monotonic()

    def _attempt(self, talk: Callable[[], None]) -> bool:
        started = time.monotonic()
        try:
            talk()
        except StoreError as error:
            self._refused(error)
            took = time.monotonic() - started
            self._wait_s = min(max(2 * self._wait_s, took / STORE_SHARE, 0.5), LONGEST_WAIT_S)
            self._due_at = time.monotonic() + self._wait_s
            return False
        self._taken()
        now = time.monotonic()
        self._wait_s = 0.0
        self._due_at = now + min(max(SYNC_EVERY_S, (now - started) / STORE_SHARE), SLOWEST_SYNC_S)
        return True

    def _refused(self, error: StoreError) -> None:
        if self._in_vain == 0:
            LOG.warning("Run %s: %s What is to be written waits, and is tried again.", self.run_id, error)
        self._in_vain += 1
        self.retries += 1

    def _taken(self) -> None:
        if self._in_vain > 0:
            LOG.warning("Run %s: the run store answers again, after %d tries in vain.", self.run_id, self._in_vain)
        self._in_vain = 0

    def _write(self, store: RunStore) -> None:
        store.append_records(self.run_id, self.records)
        if self.policies or self.keep_every > 1:
            store.save_policies(self.run_id, self.policies, keep_every=self.keep_every)
        if self.checkpoint is not None:
            store.save_checkpoint(self.run_id, self.checkpoint.update, self.checkpoint.env_steps, self.checkpoint.state)

    def _forget(self) -> None:
        self.records, self.policies, self.keep_every, self.checkpoint = [], [], 1, None
