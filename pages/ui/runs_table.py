"""The table of runs with what can be done to those that are selected."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.controls import take
from pages.ui.login import who
from pages.ui.problems import told_later
from pages.ui.server import store
from pgcore.config import relevant
from pgcore.errors import BadInput
from pgcore.runs.files import export_zip
from pgcore.runs.formats import neutral
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore
from pgcore.tasks import TASKS

MOST_RUNS = 1_000
MOST_TEXT = 200
UNDO_S = 60.0
TABLE, CHOSEN = "runs.table", "runs.chosen"
FILTERS = ("task", "estimator", "status")
COLUMNS: dict[str, Any] = {
    "name": st.column_config.TextColumn("Name", width="medium"),
    "status": st.column_config.TextColumn("Status"),
    "task": st.column_config.TextColumn("Task"),
    "estimator": st.column_config.TextColumn("Estimator"),
    "return": st.column_config.NumberColumn(
        "Return", format="localized", help="Mean return of the last 100 training episodes."
    ),
    "steps": st.column_config.NumberColumn("Steps", format="localized"),
    "learning_rate": st.column_config.NumberColumn("Learning rate", format="%.3g"),
    "discount": st.column_config.NumberColumn("γ", format="%.3g"),
    "seed": st.column_config.NumberColumn("Seed", format="%d"),
    "tags": st.column_config.ListColumn("Tags"),
    "created": st.column_config.DatetimeColumn("Created", format="distance"),
}


def name_of(run: Run) -> str:
    """What a run is called wherever it is shown beside others."""
    return run.name or f"{run.estimator} · {run.id[:8]}"


def setting_of(run: Run, name: str) -> Any:
    """What a run was trained with; None where that makes no difference to its task and estimator."""
    return run.settings.get(name) if run.task not in TASKS or name in _relevant(run.task, run.estimator) else None


@cache
def _relevant(task: str, estimator: str) -> frozenset[str]:
    return frozenset(setting.name for setting in relevant(task, estimator))


def four_figures(numbers: pd.Series) -> pd.Series:
    """Numbers as one reads them, still numbers: the browser sets the separators."""
    return numbers.map(lambda number: float(f"{number:.4g}"))


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
    if len(runs) == MOST_RUNS and (unlisted := _count(store(), who()) - MOST_RUNS) > 0:
        st.caption(f"The newest {MOST_RUNS:,} runs are listed and looked through, {unlisted:,} older ones are not.")
    if not shown:
        st.info("No run passes these filters: take some of them back.", icon=":material/filter_alt_off:")
        return []
    selected = _table(shown)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _actions(selected)
    return selected


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _count(_of: RunStore, owner: str) -> int:  # noqa: ARG001 - the owner is a part of the key: nobody is told of another's
    """How many runs there are in all. They are read to be counted, so not every time that the page looks."""
    return len(_of.runs(limit=sys.maxsize))


def _filtered(runs: Sequence[Run]) -> list[Run]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            "Find",
            placeholder="name, estimator, tag …",
            key="runs.find",
            width=240,
            max_chars=MOST_TEXT,
            persist_state="session",
        )
        wanted = {
            field: st.multiselect(
                field.capitalize(), choices(runs, field), key=f"runs.{field}", width=220, persist_state="session"
            )
            for field in FILTERS
        }
    words = text.lower().split()

    def passes(run: Run) -> bool:
        said = " ".join([run.id, name_of(run), run.task, run.estimator, run.status, *run.tags]).lower()
        return all(word in said for word in words) and all(
            not values or getattr(run, field) in values for field, values in wanted.items()
        )

    return [run for run in runs if passes(run)]


def choices(runs: Sequence[Run], field: str) -> list[str]:
    """What to filter by: what there is, and what was chosen, as the last run in a state may just have left it."""
    return sorted({getattr(run, field) for run in runs} | set(st.session_state.get(f"runs.{field}", ())))


def _table(runs: Sequence[Run]) -> list[Run]:
    """The selection is kept by run, not by row: rows move as runs come and go."""
    chosen = _chosen()
    order = [run.id for run in runs]
    if order != st.session_state.get("runs.order") or TABLE not in st.session_state:
        st.session_state[TABLE] = {"selection": {"rows": [i for i, run_id in enumerate(order) if run_id in chosen]}}
        st.session_state["runs.order"] = order
    table = pd.DataFrame([_row(run) for run in runs])
    st.dataframe(
        table.assign(**{"return": four_figures(table["return"])}),
        column_config=COLUMNS,
        hide_index=True,
        height=min(420, 35 * (len(runs) + 1) + 2),
        key=TABLE,
        on_select="rerun",
        selection_mode="multi-row",
        placeholder="–",
        alt="All runs with their settings and results; select rows to compare them.",
    )
    chosen = st.session_state[CHOSEN] = _chosen()
    return [run for run in runs if run.id in chosen]


def _chosen() -> set[str]:
    """The selected runs: as the table has them now or, where it is yet to be drawn, as a link or an earlier visit left them."""
    if TABLE not in st.session_state:
        return st.session_state.get(CHOSEN, set())
    order = st.session_state.get("runs.order", [])
    return {order[row] for row in st.session_state[TABLE].get("selection", {}).get("rows", []) if row < len(order)}


def _row(run: Run) -> dict[str, Any]:
    return {
        "name": neutral(name_of(run)),
        "status": "solved" if run.solved and run.status == "finished" else run.status,
        "task": TASKS[run.task].title if run.task in TASKS else run.task,
        "estimator": run.estimator,
        "return": run.return_mean,
        "steps": run.env_steps,
        "learning_rate": setting_of(run, "learning_rate"),
        "discount": setting_of(run, "discount"),
        "seed": setting_of(run, "seed"),
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
        key="runs.open",
        help="Show the run on its page, with its settings on the knobs: change some and train again.",
    )
    if (to := st.session_state.pop("runs.go", None)) is not None:
        page, run_id = to
        st.switch_page(f"{page}.py", query_params={"run": run_id})
    with st.popover("Name and tags", icon=":material/edit:", disabled=not selected), st.form("runs.edit", border=False):
        which = selected[0].id if selected else ""
        st.text_input("Name", one.name if one else "", key=f"runs.name.{one.id if one else 'several'}", disabled=one is None)
        st.text_input(
            "Tags",
            " ".join(selected[0].tags) if selected else "",
            key=f"runs.tags.{which}",
            help="Words apart; they replace the tags of all selected runs.",
        )
        st.form_submit_button(
            "Save", on_click=told_later(_save), args=([run.id for run in selected],), key="runs.save", disabled=not selected
        )
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
        key="runs.delete",
    )


def _export(of: RunStore, selected: Sequence[Run]) -> bytes:
    """Streamlit asks for it outside the script, where nobody is logged in: `of` is the store of who was."""
    return export_zip(of, selected[0].id)


def _page_of(run: Run) -> str:
    return "stocks" if run.task == "stocks" else "cartpole"


# What a person does goes for what is selected and typed as they do it: the script may not have come that far.


def _open() -> None:
    chosen = _chosen()
    if len(chosen) != 1:
        return
    run = store().run(chosen.pop())
    page = _page_of(run)
    take(page, run.config)
    st.session_state.update({f"{page}.run": run.id, f"{page}.preset": None, f"{page}.complaints": []})
    st.session_state["runs.go"] = page, run.id


def _save(run_ids: Sequence[str]) -> None:
    tags = st.session_state[f"runs.tags.{run_ids[0]}"].split()
    if len(run_ids) == 1:
        store().rename(run_ids[0], st.session_state[f"runs.name.{run_ids[0]}"])
    for run_id in run_ids:
        store().tag(run_id, tags)


def _delete() -> None:
    chosen = sorted(_chosen())
    with store().transaction() as together:
        for run_id in chosen:
            together.delete(run_id)
    st.session_state.setdefault("runs.deleted", []).append((chosen, datetime.now(UTC)))


def _undo() -> None:
    """For a while after a deletion, a way back: the last one first."""
    deletions = st.session_state.get("runs.deleted", [])
    deletions[:] = [each for each in deletions if (datetime.now(UTC) - each[1]).total_seconds() <= UNDO_S]
    if not deletions:
        return
    run_ids, _ = deletions[-1]

    def restore() -> None:
        for run_id in run_ids:
            try:
                store().restore(run_id)
            except BadInput:
                continue  # somebody has removed it for good meanwhile
        deletions.pop()

    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Deleted {len(run_ids)} run{'s' if len(run_ids) != 1 else ''}.")
        st.button("Undo", icon=":material/undo:", on_click=told_later(restore), key="runs.undo")
