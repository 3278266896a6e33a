"""What all sessions of the server share: the run store, the pool of workers, and what was read of the runs they watch."""

import threading
import time

import streamlit as st

from pgcore.runs.packing import Records
from pgcore.runs.pool import Pool
from pgcore.runs.store import RunStore

LEAST_BETWEEN_READS_S = 0.1


@st.cache_resource
def store() -> RunStore:
    return RunStore()


@st.cache_resource
def pool() -> Pool:
    workers = Pool(store())
    workers.start()
    return workers


class Tail:
    """The records of one run as far as they were read: ten tabs on a run read each row once."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.records: Records = store().records(run_id)
        self._read_at = time.monotonic()
        self._lock = threading.Lock()

    def read(self, *, now: bool = False) -> Records:
        """All records so far; the store is asked for new ones at most every LEAST_BETWEEN_READS_S, or `now`."""
        with self._lock:
            if now or time.monotonic() - self._read_at >= LEAST_BETWEEN_READS_S:
                last = int(self.records.update[-1]) if len(self.records) else 0
                self.records = self.records.followed_by(store().records(self.run_id, after=last))
                self._read_at = time.monotonic()
            return self.records


@st.cache_resource(max_entries=64)
def tail(run_id: str) -> Tail:
    return Tail(run_id)
