"""All runs: find, name, tag, compare, repeat, take away, delete."""

import streamlit as st

from pages.ui.compare import compare
from pages.ui.problems import tell, told
from pages.ui.runs_table import runs_table
from pages.ui.server import store

TICK_S = 2.0


def page() -> None:
    tell()
    selected = runs_table()
    if selected:
        compare(selected)


is_active = any(not run.is_over for run in store().runs(limit=50))
st.fragment(told(page), run_every=TICK_S if is_active else None)()
