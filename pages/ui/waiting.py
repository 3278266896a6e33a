"""Work that may take many seconds, and a page that can be used meanwhile."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import Generic, TypeVar

import streamlit as st

AT_ONCE_S = 0.3
TICK_S = 0.5

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Job(Generic[Result]):
    """What is being worked out, since when, what comes of it, and whether nobody waits for that any more."""

    what: Hashable
    begun: float
    result: Future[Result | None]
    is_given_up: Event


def worked_out(
    key: str, what: Hashable, work: Callable[[], Result], said: str, cancel: Callable[[], object] | None = None
) -> Result | None:
    """What `work` returns or raises. None while it takes longer: the page then says so here, and is run again when it is there.

    It works in a thread of its own and must neither ask for the session nor draw. Of one `key` only the latest work, told
    apart by `what`, is waited for, and begins when the one before is done. With `cancel` there is a button that gives it up
    and calls that.
    """
    job: Job[Result] | None = st.session_state.get(key)
    if job is None or job.what != what:
        job = st.session_state[key] = _begun(what, work, job)
        wait([job.result], AT_ONCE_S)
    if job.result.done():
        if job.result.exception() is not None:  # which may be over by the next run: the store was busy
            del st.session_state[key]
        return job.result.result()
    st.fragment(_wait, run_every=TICK_S)(key, job, said, cancel)
    return None


def _begun(what: Hashable, work: Callable[[], Result], before: Job[Result] | None) -> Job[Result]:
    is_given_up, thread = Event(), ThreadPoolExecutor(max_workers=1)
    if before is not None:
        before.is_given_up.set()

    def in_turn() -> Result | None:
        if before is not None:
            wait([before.result])
        return None if is_given_up.is_set() else work()

    job = Job(what, monotonic(), thread.submit(in_turn), is_given_up)
    thread.shutdown(wait=False)
    return job


def _wait(key: str, job: Job[Result], said: str, cancel: Callable[[], object] | None) -> None:
    """A fragment: while the script waited, no button of another one would be heard."""
    if st.session_state.get(key) is not job or job.result.done():
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/hourglass_top: {said} {monotonic() - job.begun:.0f} s")
        if cancel is not None:
            st.button("Cancel", icon=":material/close:", key=f"{key}.cancel", on_click=_give_up, args=(key, cancel))


def _give_up(key: str, cancel: Callable[[], object]) -> None:
    if (job := st.session_state.pop(key, None)) is not None:
        job.is_given_up.set()
    cancel()
