"""Work that may take many seconds, and a page that can be used meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from time import monotonic
from typing import TypeVar

import streamlit as st

AT_ONCE_S = 0.3
TICK_S = 0.2

Result = TypeVar("Result")


def wait_for(work: Callable[[], Result], said: str, *, has_button: bool = False) -> Result:
    """What `work` returns or raises, saying meanwhile what is done and for how long.

    It works in a thread of its own and must neither ask for the session nor draw. Whatever makes the page run again gives it
    up: the button need do nothing.
    """
    begun = monotonic()
    thread = ThreadPoolExecutor(max_workers=1)
    future = thread.submit(work)
    thread.shutdown(wait=False)
    place = st.empty()
    if not wait([future], AT_ONCE_S).done:
        with place.container(horizontal=True, vertical_alignment="center"):
            line = st.empty()
            if has_button:
                st.button("Cancel", icon=":material/close:")
        while not wait([future], TICK_S).done:
            line.markdown(f":material/hourglass_top: {said} {monotonic() - begun:.0f} s")
    place.empty()
    return future.result()
