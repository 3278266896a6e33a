"""A run as it happens: the buttons that steer it, how far it is, what it does, and what came of it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import streamlit as st

from pages.ui.board import Chart, Number, board, drawn
from pages.ui.controls import write_link
from pages.ui.server import pool, store, tail, watchers
from pages.ui.text import plain
from pages.ui.theatre import theatre
from pages.ui.validation import validation_chart
from pgcore import charts
from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.runs.group import create_group, family
from pgcore.runs.packing import Records
from pgcore.runs.pool import cores
from pgcore.runs.run import Desired, Run
from pgcore.tasks import TASKS, find_task

TICK_S = 0.25
LONGEST_TICK_S = 2.0
SLOW_TICK_S = 1.0
FIRST_POINT_WITHIN_S = 0.5
CHART_HEIGHT = 250
PACES = (0.0, 20.0, 10.0, 5.0, 2.0, 1.0)
STATUS_WORDS = {
    "queued": "waiting for a free core",
    "starting": "starting",
    "running": "learning",
    "paused": "paused",
    "finished": "done",
    "stopped": "stopped",
    "failed": "failed",
    "crashed": "its process is gone",
    "stale": "no sign of life",
}
ShowResult = Callable[[Run, list[Run]], None]


def run_panel(page: str, config: TrainConfig | None, show_result: ShowResult) -> Run | None:
    """The right side of a training page: steer and watch the run that the link names, or say how to begin."""
    runs = _attached(page)
    just_pressed = st.session_state.pop(f"{page}.just_pressed", False)
    mode = Mode(_tick(), is_active=True, is_paused=False) if just_pressed else _mode(runs)
    _toolbar(page, config, runs, mode)
    if problem := st.session_state.pop(f"{page}.problem", None):
        st.error(plain(problem))
    if just_pressed and runs:
        _await_first_point(runs[0].id)
    st.fragment(_live, run_every=mode.tick)(page, config, mode)
    details_from = time.monotonic() + FIRST_POINT_WITHIN_S if just_pressed else 0.0  # the first point is what is waited for
    st.fragment(_details, run_every=max(SLOW_TICK_S, mode.tick) if mode.tick else None)(page, details_from)
    shown = _shown(page, runs)
    if config is not None:
        write_link(page, config, st.session_state.get(f"{page}.run"))
    if shown is not None and shown.is_over:
        _show(show_result, shown, runs)
    return shown


def _show(show_result: ShowResult, run: Run, runs: list[Run]) -> None:
    """A result may come from another version of this program, or in an imported file from anywhere."""
    try:
        show_result(run, runs)
    except BadInput as error:
        st.error(plain(error))
    except (LookupError, TypeError, ValueError):
        logging.getLogger(__name__).exception("The result of run %s cannot be shown", run.id)
        st.error(f"The result of this run cannot be shown. Work it out anew with `python -m pgcore evaluate {run.id}`.")


def _await_first_point(run_id: str) -> None:
    """A warm worker has something to show in a fraction of a second: sooner than an empty chart and the tick after it.

    Meanwhile the browser draws what it has been sent so far.
    """
    give_up_at = time.monotonic() + FIRST_POINT_WITHIN_S
    while not len(tail(run_id).read(now=True)) and time.monotonic() < give_up_at:
        time.sleep(0.01)


def _attached(page: str) -> list[Run]:
    """The runs this page shows: the one the link names, and those that were started with it."""
    named = st.query_params.get("run") or st.session_state.get(f"{page}.run")
    st.session_state[f"{page}.run"] = None
    if not named:
        return []
    try:
        run = store().run(named)
    except BadInput as error:
        st.warning(f"{plain(error)} The page shows no run; press Train to begin one.", icon=":material/search_off:")
        return []
    if run.task not in TASKS:
        st.warning(f"{plain(run.task)} is a task of another package: its runs are seen with the command line only.")
        return []
    if (run.task == "stocks") != (page == "stocks"):
        st.warning("The run in the link belongs to another page: open it from the list of runs.", icon=":material/search_off:")
        return []
    st.session_state[f"{page}.run"] = run.id
    return _members(run)


def _members(run: Run) -> list[Run]:
    """A run and those that were started with it: other seeds, or other folds of a walk-forward."""
    if not run.group:
        return [run]
    return sorted(store().runs(group=run.group), key=lambda member: (member.config.seed, member.config.fold)) or [run]


def _shown(page: str, runs: list[Run]) -> Run | None:
    """The one of several runs that is shown in detail."""
    chosen = st.session_state.get(f"{page}.member")
    return next((run for run in runs if run.id == chosen), runs[0] if runs else None)


def _member_name(run: Run) -> str:
    return f"seed {run.config.seed}" + (f", fold {run.config.fold + 1}" if run.config.folds else "")


@dataclass(frozen=True)
class Mode:
    """What can be done with the runs of a page, and the seconds between two looks at them: None once nothing more will come."""

    tick: float | None
    is_active: bool
    is_paused: bool


def _mode(runs: list[Run]) -> Mode:
    is_active = any(not run.is_over for run in runs)
    is_paused = is_active and any("pause" in (run.desired, run.status.removesuffix("d")) for run in runs)
    if any(run.status in ("starting", "running") for run in runs):
        return Mode(_tick(), is_active, is_paused)
    return Mode(SLOW_TICK_S if is_active else None, is_active, is_paused)


def _tick() -> float:
    """Seconds between two looks: twice, four times, … as long with more watchers than cores, which the trainers need too."""
    crowd = -(-watchers() // cores())
    return min(LONGEST_TICK_S, TICK_S * 2 ** (crowd - 1).bit_length())


def _live(page: str, config: TrainConfig | None, mode: Mode) -> None:
    """What changes while a run goes on; all else of the page is drawn anew only when that takes another turn."""
    run_id = st.session_state.get(f"{page}.run")
    runs = _members(store().run(run_id)) if run_id else []
    if _mode(runs) != mode:
        st.rerun()
    run = _shown(page, runs)
    if run is None:
        _board(page, "Press Train. It takes about a second.", 0.0, charts.NOTHING, _charts(page, None, [], config))
        return
    if len(runs) > 1:
        names = {member.id: _member_name(member) for member in runs}
        st.session_state[f"{page}.member"] = run.id
        st.segmented_control("Shown", list(names), format_func=names.__getitem__, required=True, key=f"{page}.member")
    records = tail(run.id).read(now=run.is_over)
    steps = int(records.env_steps[-1]) if len(records) else 0
    share = 1.0 if run.solved else min(1.0, steps / run.config.max_steps)
    _board(page, _said(run, records, runs), share, records, _charts(page, run, runs, config))
    if run.error:
        st.error(plain(run.error.strip().splitlines()[-1]), title="The run failed")
    if pool().problem and run.status == "queued":
        st.warning(plain(pool().problem))


def _board(page: str, said: str, share: float, records: Records, shown: list[Chart]) -> None:
    board(shown, key=f"{page}.board", said=said, share=share, numbers=_numbers(records), columns="3fr 2fr")


def _details(page: str, begin: float) -> None:
    """What is looked at for longer, and costs the browser more: the agent or the validation, and the diagnostics."""
    if time.monotonic() < begin:
        return
    run_id = st.session_state.get(f"{page}.run")
    run = _shown(page, _members(store().run(run_id))) if run_id else None
    if run is None:
        return
    if run.task == "stocks":
        validation_chart(page, run)
    else:
        theatre(page, run)
    with st.expander("Diagnostics: entropy, KL, gradient norm, critic", on_change="rerun", key=f"{page}.diagnostics") as fold:
        if fold.open:
            figure = drawn(charts.diagnostics_chart, tail(run.id).read(now=run.is_over))
            alt = "Entropy, KL divergence, gradient norm and critic measures over training."
            shown = Chart(figure, f"diagnostics-{run.id}", alt, height=320, growing=not run.is_over)
            board([shown], key=f"{page}.diagnostics.chart")


# ---- steering


def _toolbar(page: str, config: TrainConfig | None, runs: list[Run], mode: Mode) -> None:
    """The buttons act in callbacks and keep their places: a tick that comes in between cannot swallow a click."""
    is_active, is_paused = mode.is_active, mode.is_paused
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Train",
            type="primary",
            icon=":material/play_arrow:",
            shortcut="Ctrl+Enter",
            key=f"{page}.train",
            disabled=config is None or is_active,
            on_click=_train,
            args=(page, config),
        )
        st.button(
            "Resume" if is_paused else "Pause",
            icon=":material/resume:" if is_paused else ":material/pause:",
            width=112,
            key=f"{page}.pause",
            disabled=not is_active,
            on_click=_ask,
            args=(page, "run" if is_paused else "pause"),
        )
        st.button(
            "Step",
            icon=":material/skip_next:",
            key=f"{page}.step",
            disabled=config is None or (is_active and not is_paused),
            on_click=_step,
            args=(page, config),
            help="One update, then pause.",
        )
        st.button(
            "Stop", icon=":material/stop:", key=f"{page}.stop", disabled=not is_active, on_click=_ask, args=(page, "stop")
        )
        st.button(
            "Reset",
            icon=":material/restart_alt:",
            key=f"{page}.reset",
            disabled=not runs,
            on_click=_reset,
            args=(page,),
            help="Clear the page. A run that is going on is stopped; it stays in the list of runs.",
        )
        if runs and (pace := runs[0].pace or PACES[0]) in PACES:
            st.session_state.setdefault(f"{page}.pace", pace)  # of a run that was slowed down on another page
        st.selectbox(
            "Pace",
            PACES,
            format_func=lambda pace: f"{pace:.0f} updates/s" if pace else "full speed",
            key=f"{page}.pace",
            label_visibility="collapsed",
            on_change=_set_pace,
            args=(page,),
            width=150,
            persist_state="session",
            help="How fast to go: slow down to watch what would be over in half a second.",
        )


def _train(page: str, config: TrainConfig, pause_at: int | None = None) -> None:
    configs = family(config, st.session_state[f"{page}.seeds"])
    try:
        with store().transaction() as together:
            run_ids = create_group(together, configs)
            for run_id in run_ids:
                together.request(run_id, pace=_pace(page), pause_at=pause_at)
    except BadInput as error:
        st.session_state[f"{page}.problem"] = str(error)
        return
    pool().wake()
    st.session_state[f"{page}.run"] = run_ids[0]
    st.session_state[f"{page}.member"] = run_ids[0]
    st.session_state[f"{page}.just_pressed"] = True
    st.query_params["run"] = run_ids[0]


def _step(page: str, config: TrainConfig) -> None:
    """One update of a paused run, or the first of a new one."""
    run_id = st.session_state.get(f"{page}.run")
    runs = _members(store().run(run_id)) if run_id else []
    if all(run.is_over for run in runs):
        _train(page, config, pause_at=1)
    for run in runs:
        if not run.is_over:
            store().request(run.id, desired="run", pause_at=run.updates + 1)
    pool().wake()


def _ask(page: str, desired: Desired) -> None:
    for run in _members(store().run(st.session_state[f"{page}.run"])):
        if desired == "run" and run.status == "paused":
            store().resume(run.id)
        elif not run.is_over:
            store().request(run.id, desired=desired)
    pool().wake()


def _pace(page: str) -> float | None:
    return st.session_state.get(f"{page}.pace") or None


def _set_pace(page: str) -> None:
    run_id = st.session_state.get(f"{page}.run")
    for run in _members(store().run(run_id)) if run_id else []:
        if not run.is_over:
            store().request(run.id, pace=_pace(page))


def _reset(page: str) -> None:
    _ask(page, "stop")
    st.session_state[f"{page}.run"] = None
    st.query_params.pop("run", None)


# ---- showing


def _said(run: Run, records: Records, runs: list[Run]) -> str:
    """How far a run is, in a line."""
    if run.status == "queued" and run.position:
        return f"place {run.position} in the queue"
    steps = int(records.env_steps[-1]) if len(records) else 0
    parts = [_state(run), f"{steps:,} steps"]
    if steps:
        rate = steps / records.wall_s[-1]
        parts.append(f"{_short(rate)} steps/s")
        if run.is_over:
            parts.append(f"{records.wall_s[-1]:.2f} s")
        elif run.pace is None:
            parts.append(f"at most {_duration((run.config.max_steps - steps) / rate)} left")
    if len(runs) > 1:
        parts.append(f"{sum(member.is_over for member in runs)} of {len(runs)} runs done")
    return " · ".join(parts)


def _state(run: Run) -> str:
    if not run.solved:
        return STATUS_WORDS[run.status]
    return "solved" if run.status == "finished" else f"{STATUS_WORDS[run.status]}, solved"


def _numbers(records: Records) -> list[Number]:
    known = len(records) > 0 and len(records.episode_returns) > 0
    mean = f"{records.return_mean[-1]:.4g}" if known else "–"
    best = f"{records.episode_returns.max():.4g}" if known else "–"
    episodes = f"{int(records.episodes[-1]):,}" if len(records) else "–"
    entropy = f"{records.entropy[-1]:.3f}" if len(records) and np.isfinite(records.entropy[-1]) else "–"
    return [
        Number("Return, last 100", mean, "Mean return of the last 100 finished training episodes (sampled actions)."),
        Number("Best episode", best),
        Number("Episodes", episodes),
        Number("Entropy (nats)", entropy, "How undecided the policy is: 0 when it always picks the same action."),
    ]


def _charts(page: str, run: Run | None, runs: list[Run], config: TrainConfig | None) -> list[Chart]:
    """Returns and actions; empty frames before there is a run, so that nothing moves when one begins."""
    smooth = st.session_state[f"{page}.smooth"]
    shown = run.config if run is not None else config
    task = find_task(shown.task if shown is not None else "CartPole-v1")
    solved_at = shown.solved_at if shown is not None else None
    identity = run.id if run is not None else "empty"
    growing = run is not None and not run.is_over
    records = tail(run.id).read() if run is not None else charts.NOTHING
    if len(runs) > 1:
        returns = drawn(charts.seeds_chart, tuple(tail(member.id).read() for member in runs), smooth, solved_at)
    else:
        returns = drawn(charts.returns_chart, records, smooth, solved_at)
    mean = f"{records.return_mean[-1]:.1f}" if len(records) and np.isfinite(records.return_mean[-1]) else "not yet known"
    said = f"Return of every episode over environment steps; mean of the last 100 is {mean}."
    actions = drawn(charts.actions_chart, records, task.actions)
    return [
        Chart(returns, f"returns-{identity}", said, CHART_HEIGHT, growing),
        Chart(actions, f"actions-{identity}", "Share of each action over training.", CHART_HEIGHT, growing),
    ]


def _short(number: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
