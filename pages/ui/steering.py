"""The buttons that begin runs and steer them."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from pages.ui.controls import PACES, VIEW, chosen
from pages.ui.problems import told_later
from pages.ui.server import pool, store
from pgcore.runs.group import create_group, family
from pgcore.runs.run import Desired, Run
from pgcore.runs.store import RunStore

RESUMABLE = ("stopped", "failed", "crashed")


@dataclass(frozen=True)
class Mode:
    """What can be done with the runs of a page and said about them: while it stays, only what they have learned is new."""

    is_active: bool = True
    can_resume: bool = False
    over: int = 0
    problem: str = ""


def mode_of(runs: list[Run]) -> Mode:
    is_active = any(not run.is_over for run in runs)
    is_paused = is_active and any("pause" in (run.desired, run.status.removesuffix("d")) for run in runs)
    can_resume = is_paused or (not is_active and any(run.status in RESUMABLE for run in runs))
    problem = pool().problem if any(run.status == "queued" for run in runs) else ""
    return Mode(is_active, can_resume, sum(run.is_over for run in runs), problem or "")


def members(of: RunStore, run: Run) -> list[Run]:
    """A run and those that were started with it: other seeds, or other folds of a walk-forward."""
    if not run.group:
        return [run]
    return sorted(of.runs(group=run.group), key=lambda member: (member.config.seed, member.config.fold)) or [run]


def toolbar(page: str, can_train: bool, runs: list[Run], mode: Mode, begun: Callable[[Run], object]) -> None:
    """The buttons act in callbacks and keep their places: a tick that comes in between cannot swallow a click.

    `begun` is told of a run as soon as it is begun, before the script is.
    """
    is_active, can_resume = mode.is_active, mode.can_resume
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Train",
            type="primary",
            icon=":material/play_arrow:",
            shortcut="Ctrl+Enter",
            key=f"{page}.train",
            disabled=not can_train or is_active,
            on_click=told_later(_train),
            args=(page, begun),
        )
        st.button(
            "Resume" if can_resume else "Pause",
            icon=":material/resume:" if can_resume else ":material/pause:",
            width=112,
            key=f"{page}.pause",
            disabled=not is_active and not can_resume,
            on_click=told_later(_ask),
            args=(page, "run" if can_resume else "pause"),
        )
        st.button(
            "Step",
            icon=":material/skip_next:",
            key=f"{page}.step",
            disabled=not can_train or (is_active and not can_resume),
            on_click=told_later(_step),
            args=(page, begun),
            help="One update, then pause.",
        )
        st.button(
            "Stop",
            icon=":material/stop:",
            key=f"{page}.stop",
            disabled=not is_active,
            on_click=told_later(_ask),
            args=(page, "stop"),
        )
        st.button(
            "Reset",
            icon=":material/restart_alt:",
            key=f"{page}.reset",
            disabled=not runs,
            on_click=told_later(_reset),
            args=(page,),
            help="Clear the page. A run that is going on is stopped; it stays in the list of runs.",
        )
        pace = VIEW["pace"]
        st.selectbox(
            pace.label,
            PACES,
            format_func=lambda pace: f"{pace:.0f} update{'s' if pace > 1 else ''}/s" if pace else "full speed",
            key=f"{page}.pace",
            label_visibility="collapsed",
            on_change=told_later(_set_pace),
            args=(page,),
            width=150,
            persist_state="session",
            help=pace.help,
        )


def _train(page: str, begun: Callable[[Run], object], pause_at: int | None = None) -> None:
    configs = family(chosen(page), st.session_state[f"{page}.seeds"])
    with store().transaction() as together:
        run_ids = create_group(together, configs)
        for run_id in run_ids:
            together.request(run_id, pace=_pace(page), pause_at=pause_at)
    pool().wake()
    st.session_state[f"{page}.run"] = run_ids[0]
    st.session_state[f"{page}.just_pressed"] = True
    st.query_params["run"] = run_ids[0]
    begun(store().run(run_ids[0]))


def _step(page: str, begun: Callable[[Run], object]) -> None:
    """One update of a paused run, or the first of a new one."""
    runs = _runs(page)
    if all(run.is_over for run in runs):
        _train(page, begun, pause_at=1)
    for run in runs:
        if not run.is_over:
            store().request(run.id, desired="run", pause_at=run.updates + 1)
    pool().wake()


def _ask(page: str, desired: Desired) -> None:
    for run in _runs(page):
        if desired == "run" and (run.status == "paused" or run.status in RESUMABLE):
            store().resume(run.id)
        elif not run.is_over:
            store().request(run.id, desired=desired)
    pool().wake()


def _runs(page: str) -> list[Run]:
    """Those of the page as they stand now; none once it was reset."""
    run_id = st.session_state.get(f"{page}.run")
    return members(store(), store().run(run_id)) if run_id else []


def _pace(page: str) -> float | None:
    return st.session_state.get(f"{page}.pace") or None


def _set_pace(page: str) -> None:
    for run in _runs(page):
        if not run.is_over:
            store().request(run.id, pace=_pace(page))


def _reset(page: str) -> None:
    _ask(page, "stop")
    st.session_state[f"{page}.run"] = None
    st.query_params.pop("run", None)
