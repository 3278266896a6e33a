"""The table of runs with what can be done to those that are selected."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.controls import take
from pages.ui.problems import told_later
from pages.ui.server import store
from pgcore.errors import BadInput
from pgcore.runs.files import export_zip
from pgcore.runs.formats import neutral
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore
from pgcore.tasks import TASKS

MOST_RUNS = 1_000
TABLE = "runs.table"
COLUMNS: dict[str, Any] = {
    "name": st.column_config.TextColumn("Name", width="medium"),
    "status": st.column_config.TextColumn("Status"),
    "task": st.column_config.TextColumn("Task"),
    "estimator": st.column_config.TextColumn("Estimator"),
    "return": st.column_config.NumberColumn("Return", format="%.4g", help="Mean return of the last 100 training episodes."),
    "steps": st.column_config.NumberColumn("Steps", format="localized"),
    "learning_rate": st.column_config.NumberColumn("Learning rate", format="%.3g"),
    "discount": st.column_config.NumberColumn("γ", format="%.3g"),
    "seed": st.column_config.NumberColumn("Seed", format="%d"),
    "tags": st.column_config.ListColumn("Tags"),
    "created": st.column_config.DatetimeColumn("Created", format="distance"),
}


def runs_table() -> list[Run]:
    """Show the runs that pass the filters; the selected ones, in the order of the table."""
    _undo()
    runs = store().runs(limit=MOST_RUNS)
    if not runs:
        st.info(
            "There are no runs yet. Train one on the CartPole or the Stocks page, or with `python -m pgcore train`.",
            icon=":material/rocket_launch:",
        )
        return []
    shown = _filtered(runs)
    if not shown:
        st.info("No run passes these filters: take some of them back.", icon=":material/filter_alt_off:")
        return []
    selected = _table(shown)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _actions(selected)
    return selected


def _filtered(runs: Sequence[Run]) -> list[Run]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("Find", placeholder="name, estimator, tag …", key="runs.find", width=240, persist_state="session")
        wanted = {
            "task": st.multiselect("Task", sorted({run.task for run in runs}), key="runs.task", width=220),
            "estimator": st.multiselect("Estimator", sorted({run.estimator for run in runs}), key="runs.estimator", width=220),
            "status": st.multiselect("Status", sorted({run.status for run in runs}), key="runs.status", width=220),
        }
    words = text.lower().split()

    def passes(run: Run) -> bool:
        said = " ".join([run.id, run.name, run.task, run.estimator, run.status, *run.tags]).lower()
        return all(word in said for word in words) and all(
            not values or getattr(run, field) in values for field, values in wanted.items()
        )

    return [run for run in runs if passes(run)]


def _table(runs: Sequence[Run]) -> list[Run]:
    """The selection is kept by run, not by row: rows move as runs come and go."""
    chosen = _chosen()
    order = [run.id for run in runs]
    if order != st.session_state.get("runs.order"):
        st.session_state[TABLE] = {"selection": {"rows": [i for i, run_id in enumerate(order) if run_id in chosen]}}
        st.session_state["runs.order"] = order
    st.dataframe(
        pd.DataFrame([_row(run) for run in runs]),
        column_config=COLUMNS,
        hide_index=True,
        height=min(420, 38 * (len(runs) + 1)),
        key=TABLE,
        on_select="rerun",
        selection_mode="multi-row",
        alt="All runs with their settings and results; select rows to compare them.",
    )
    chosen = _chosen()
    return [run for run in runs if run.id in chosen]


def _chosen() -> set[str]:
    rows = st.session_state.get(TABLE, {}).get("selection", {}).get("rows", [])
    order = st.session_state.get("runs.order", [])
    return {order[row] for row in rows if row < len(order)}


def _row(run: Run) -> dict[str, Any]:
    settings = run.settings
    return {
        "name": neutral(run.name) or run.id[:8],
        "status": "solved" if run.solved and run.status == "finished" else run.status,
        "task": TASKS[run.task].title if run.task in TASKS else run.task,
        "estimator": run.estimator,
        "return": run.return_mean,
        "steps": run.env_steps,
        "learning_rate": settings.get("learning_rate"),
        "discount": settings.get("discount"),
        "seed": settings.get("seed"),
        "tags": [neutral(tag) for tag in run.tags],
        "created": run.created,
    }


def _actions(selected: list[Run]) -> None:
    one = selected[0] if len(selected) == 1 else None
    has_page = one is not None and one.task in TASKS  # what a task of another package needs is not imported here
    st.caption(f"{len(selected)} selected" if selected else "Select rows to compare, name, repeat or delete runs.")
    st.button(
        "Open",
        icon=":material/open_in_new:",
        disabled=not has_page,
        on_click=told_later(_open),
        args=(one,),
        key="runs.open",
        help="Show the run on its page, with its settings on the knobs: change some and train again.",
    )
    if st.session_state.pop("runs.go", False) and one is not None:
        st.switch_page(f"{_page_of(one)}.py", query_params={"run": one.id})
    with st.popover("Name and tags", icon=":material/edit:", disabled=not selected):
        name = st.text_input("Name", one.name if one else "", key=f"runs.name.{one.id if one else ''}", disabled=one is None)
        tags = st.text_input(
            "Tags",
            " ".join(selected[0].tags) if selected else "",
            key=f"runs.tags.{selected[0].id if selected else ''}",
            help="Words apart; they replace the tags of all selected runs.",
        )
        st.button("Save", on_click=told_later(_save), args=(selected, name, tags), key="runs.save")
    with st.popover("Command", icon=":material/terminal:", disabled=not has_page):
        if one is not None and has_page:
            st.caption("Repeats this run exactly.")
            st.code(one.config.command(), language="bash", wrap_lines=True)
    st.download_button(
        "Export",
        partial(_export, store(), selected),
        f"run-{selected[0].id[:8]}.zip" if selected else "run.zip",
        "application/zip",
        disabled=one is None,
        on_click="ignore",
        icon=":material/download:",
        key="runs.export",
        help="Config, records, policy, evaluation, trades and prices of the run as a zip.",
    )
    st.button(
        "Delete",
        icon=":material/delete:",
        disabled=not selected,
        on_click=told_later(_delete),
        args=(selected,),
        key="runs.delete",
    )


def _export(of: RunStore, selected: Sequence[Run]) -> bytes:
    """Streamlit asks for it outside the script, where nobody is logged in: `of` is the store of who was."""
    return export_zip(of, selected[0].id)


def _page_of(run: Run) -> str:
    return "stocks" if run.task == "stocks" else "cartpole"


def _open(run: Run) -> None:
    page = _page_of(run)
    take(page, run.config)
    st.session_state[f"{page}.run"] = run.id
    st.session_state["runs.go"] = True


def _save(selected: Sequence[Run], name: str, tags: str) -> None:
    for run in selected:
        if len(selected) == 1:
            store().rename(run.id, name)
        store().tag(run.id, tags.split())


def _delete(selected: Sequence[Run]) -> None:
    with store().transaction() as together:
        for run in selected:
            together.delete(run.id)
    st.session_state["runs.deleted"] = ([run.id for run in selected], datetime.now(UTC))


def _undo() -> None:
    """For a while after a deletion, a way back."""
    run_ids, when = st.session_state.get("runs.deleted", ([], None))
    if when is None or (datetime.now(UTC) - when).total_seconds() > 60:
        return

    def restore() -> None:
        for run_id in run_ids:
            try:
                store().restore(run_id)
            except BadInput:
                continue  # somebody has removed it for good meanwhile
        st.session_state.pop("runs.deleted")

    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Deleted {len(run_ids)} run{'s' if len(run_ids) != 1 else ''}.")
        st.button("Undo", icon=":material/undo:", on_click=told_later(restore), key="runs.undo")
