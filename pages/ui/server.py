"""What all sessions of the server share: the run store, the pool of workers, and what was read of the runs they watch.

Store and pool are not kept by st.cache_resource: any browser may ask Streamlit to empty that.
"""

import threading
import time
from functools import cache

import numpy as np
import streamlit as st

from pages.ui.login import who
from pgcore.runs.packing import Records
from pgcore.runs.pool import Pool
from pgcore.runs.store import RunStore

LEAST_BETWEEN_READS_S = 0.2
MOST_ROWS = 4_000

_making = threading.RLock()


def store() -> RunStore:
    """The run store as the person of this session sees it. Raises NotLoggedIn."""
    with _making:
        whole = _store()
    return whole.as_user(who())


def pool() -> Pool:
    """The workers, which train for everybody."""
    with _making:
        return _pool()


def close() -> None:
    """End the idle workers and let go of the store; what trains goes on."""
    with _making:
        if _pool.cache_info().currsize:
            _pool().shutdown()
        if _store.cache_info().currsize:
            _store().close()
        _pool.cache_clear()
        _store.cache_clear()


@cache
def _store() -> RunStore:
    return RunStore()


@cache
def _pool() -> Pool:
    workers = Pool(_store())
    workers.start()
    return workers


class Tail:
    """The records of one run as far as they were read: ten tabs on a run read each row once.

    Of a long run every 2nd, 4th, 8th, … update is kept, and the newest: at most MOST_ROWS of them.
    """

    def __init__(self, store: RunStore, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self._lock = threading.Lock()
        self._read_at = time.monotonic()
        self._begin()

    def read(self, *, now: bool = False) -> Records:
        """All records so far; the store is asked for new ones at most every LEAST_BETWEEN_READS_S, or `now`."""
        with self._lock:
            if now or time.monotonic() - self._read_at >= LEAST_BETWEEN_READS_S:
                last = int(self.records.update[-1]) if len(self.records) else 0
                if now and self.store.run(self.run_id).updates < last:  # resumed from before that, and stopped again
                    self._begin()
                else:
                    self._keep(self.records.followed_by(self.store.records(self.run_id, after=last, every=self.every)))
                    self._read_at = time.monotonic()
            return self.records

    def _begin(self) -> None:
        self.every = 1
        while self.store.run(self.run_id).updates > MOST_ROWS * self.every:
            self.every *= 2
        self._keep(self.store.records(self.run_id, every=self.every))
        self._read_at = time.monotonic()

    def _keep(self, records: Records) -> None:
        kept = np.ones(len(records), dtype=bool)
        while self.every > 1 or len(records) > MOST_ROWS:
            kept[:-1] = records.update[:-1] % self.every == 0
            if np.count_nonzero(kept) <= MOST_ROWS:
                break
            self.every *= 2
        self.records = records if kept.all() else records.only(kept)


def tail(run_id: str) -> Tail:
    """What was read of a run of this person. Raises NotLoggedIn, and BadInput for a run that is not theirs."""
    return _tail(who(), run_id)


@st.cache_resource(max_entries=64, show_spinner=False)
def _tail(owner: str, run_id: str) -> Tail:  # noqa: ARG001 - the owner is a part of the key: nobody is given another's
    return Tail(store(), run_id)
