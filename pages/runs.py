"""All runs: find, name, tag, compare, repeat, take away, delete. The address says what is shown."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from pages.ui.compare import AXES, BY_RUN, GROUPS, MEASURES, MOST_SMOOTH, compare
from pages.ui.problems import tell, told
from pages.ui.runs_table import CHOSEN, FILTERS, MOST_RUNS, MOST_TEXT, TABLE, choices, runs_table
from pages.ui.server import store
from pages.ui.text import plain
from pgcore.runs.run import Run

TICK_S = 2.0
MOST_LINKED = 100  # runs, as many as an address has room for
LINK = "runs.link"
# What the address says, under which name it is kept, and what it is where the address does not say it.
SAID: dict[str, tuple[str, Any]] = {
    "find": ("runs.find", ""),
    **{field: (f"runs.{field}", []) for field in FILTERS},
    "measure": ("compare.measure", "return"),
    "over": ("compare.axis", "steps"),
    "smooth": ("compare.smooth", 50),
    "group": ("compare.group", BY_RUN),
}


def page() -> None:
    tell()
    for complaint in st.session_state.get("runs.complaints", ()):
        st.warning(plain(complaint), icon=":material/link_off:")
    selected = runs_table()
    if selected:
        compare(selected)
    write_link()


def read_link() -> None:
    """Do as the address says, where it is not this page that wrote it. Only with the whole page: while a person clicks, the
    browser may yet be one click behind."""
    known = (*SAID, "run")
    said = {name: text for name, text in st.query_params.to_dict().items() if name in known}
    written = st.session_state.get(LINK)
    before, now = st.session_state.get("pages", ("", ""))
    if written is not None and (said == written or (before != now and not said)):
        return
    runs = store().runs(limit=MOST_RUNS)
    unknown: list[str] = []
    for name, (key, default) in SAID.items():
        st.session_state[key] = default
        if name in said:
            st.session_state[key] = _read(name, said[name], runs, unknown) or default
    ids = [part for part in said.get("run", "").split(",") if part]
    st.session_state[CHOSEN] = {run.id for run in runs if any(run.id.startswith(part) for part in ids if len(part) >= 8)}
    st.session_state.pop(TABLE, None)  # what was selected there before
    unknown += [f"run {part}" for part in ids if not any(found.startswith(part) for found in st.session_state[CHOSEN])]
    shown = ", ".join(part[:40] for part in unknown[:5]) + (f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else "")
    st.session_state["runs.complaints"] = (
        [f"The link asks for what is not here, which was left out: {shown}."] if unknown else []
    )


def _read(name: str, text: str, runs: Sequence[Run], unknown: list[str]) -> Any:
    """The value that a part of the link spells, None for one that cannot be, which is added to the `unknown`."""
    if name == "find":
        return text[:MOST_TEXT]
    if name in FILTERS:
        wanted, there = text.split(","), choices(runs, name)
        unknown += [f"{name} {value}" for value in wanted if value not in there]
        return [value for value in there if value in wanted]
    if name == "smooth":
        value: Any = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
        is_possible = 1 <= value <= MOST_SMOOTH
    else:
        value = text
        is_possible = value in {"measure": MEASURES, "over": AXES, "group": GROUPS}[name]
    if not is_possible:
        unknown.append(f"{name} {text}")
    return value if is_possible else None


def write_link() -> None:
    """Make the address say what is shown, so that a link reproduces the comparison and a reload keeps it."""
    values = {name: st.session_state.get(key, default) for name, (key, default) in SAID.items()}
    said = {
        name: ",".join(value) if isinstance(value, list) else str(value)
        for name, value in values.items()
        if value != SAID[name][1]
    }
    if chosen := sorted(st.session_state.get(CHOSEN, ())):
        said["run"] = ",".join(run_id[:8] for run_id in chosen[:MOST_LINKED])
    if len(chosen) > MOST_LINKED:
        st.caption(f"The address of this page holds {MOST_LINKED} of the selected runs.")
    st.session_state[LINK] = said
    if st.query_params.to_dict() != said:
        st.query_params.from_dict(said)


read_link()
is_active = any(not run.is_over for run in store().runs(limit=50))
st.fragment(told(page), run_every=TICK_S if is_active else None)()
