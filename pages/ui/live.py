"""A run as it happens: the buttons that steer it, how far it is, what it does, and what came of it."""

from collections.abc import Callable

import numpy as np
import streamlit as st

from pages.ui.controls import write_link
from pages.ui.live_chart import live_chart
from pages.ui.server import pool, store, tail
from pgcore import charts
from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.runs.packing import Records
from pgcore.runs.run import Desired, Run
from pgcore.tasks import find_task

TICK_S = 0.25
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
ShowResult = Callable[[Run], None]


def run_panel(page: str, config: TrainConfig | None, window: int, show_result: ShowResult) -> None:
    """The right side of a training page: steer and watch the run that the link names, or say how to begin."""
    run = _attached(page)
    is_active = run is not None and not run.is_over
    st.fragment(_live, run_every=TICK_S if is_active else None)(page, config, window, is_active)
    run_id = st.session_state.get(f"{page}.run")
    if config is not None:
        write_link(page, config, run_id)
    if run is not None and run.is_over:
        show_result(run)


def _attached(page: str) -> Run | None:
    """The run this page shows: the one the link names."""
    named = st.query_params.get("run") or st.session_state.get(f"{page}.run")
    if not named:
        return None
    try:
        run = store().run(named)
    except BadInput as error:
        st.session_state[f"{page}.run"] = None
        st.warning(f"{error} The page shows no run; press Train to begin one.", icon=":material/search_off:")
        return None
    st.session_state[f"{page}.run"] = run.id
    return run


def _live(page: str, config: TrainConfig | None, window: int, was_active: bool) -> None:
    run_id = st.session_state.get(f"{page}.run")
    run = store().run(run_id) if run_id else None
    is_active = run is not None and not run.is_over
    if is_active != was_active:  # ticks have to begin or to end
        st.rerun()
    _toolbar(page, config, run, is_active)
    if problem := st.session_state.pop(f"{page}.problem", None):
        st.error(problem)
    if run is None:
        st.info("Press **Train**. It takes about a second.", icon=":material/play_arrow:")
        return
    records = tail(run.id).read(now=run.is_over)
    _progress(run, records)
    _numbers(run, records)
    _charts(page, run, records, window)


def _toolbar(page: str, config: TrainConfig | None, run: Run | None, is_active: bool) -> None:
    """The buttons act in callbacks: a tick that comes in between cannot swallow a click."""
    is_paused = is_active and run is not None and "pause" in (run.desired, run.status.removesuffix("d"))
    with st.container(horizontal=True, vertical_alignment="center"):
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
            key=f"{page}.pause",
            disabled=not is_active,
            on_click=_ask,
            args=(page, "run" if is_paused else "pause"),
            width=120,
        )
        st.button(
            "Stop", icon=":material/stop:", key=f"{page}.stop", disabled=not is_active, on_click=_ask, args=(page, "stop")
        )
        st.button(
            "Reset",
            icon=":material/restart_alt:",
            key=f"{page}.reset",
            disabled=run is None,
            on_click=_reset,
            args=(page,),
            help="Clear the page. A run that is going on is stopped; it stays in the list of runs.",
        )


def _train(page: str, config: TrainConfig) -> None:
    try:
        run_id = store().create_run(config)
    except BadInput as error:
        st.session_state[f"{page}.problem"] = str(error)
        return
    pool().wake()
    st.session_state[f"{page}.run"] = run_id
    st.query_params["run"] = run_id


def _ask(page: str, desired: Desired) -> None:
    run = store().run(st.session_state[f"{page}.run"])
    if desired == "run" and run.status == "paused":
        store().resume(run.id)
        pool().wake()
    elif not run.is_over:
        store().request(run.id, desired=desired)


def _reset(page: str) -> None:
    _ask(page, "stop")
    st.session_state[f"{page}.run"] = None
    st.query_params.pop("run", None)


def _progress(run: Run, records: Records) -> None:
    config = run.config
    settings = [run.estimator, config.policy, f"α {config.learning_rate:g}", f"γ {config.discount:g}", f"seed {config.seed}"]
    st.caption(" · ".join([find_task(run.task).title, *settings]))
    steps = int(records.env_steps[-1]) if len(records) else 0
    share = min(1.0, steps / config.max_steps)
    if run.solved:
        share = 1.0
    parts = [f"{steps:,} steps"]
    if steps:
        rate = steps / records.wall_s[-1]
        parts += [f"{_short(rate)} steps/s"]
        if run.is_over:
            parts += [f"{records.wall_s[-1]:.1f} s"]
        else:
            parts += [f"at most {_duration((config.max_steps - steps) / rate)} left"]
    if run.status == "queued" and run.position:
        parts = [f"place {run.position} in the queue"]
    st.progress(share, text=" · ".join([_state(run), *parts]))
    if run.error:
        st.error(run.error.strip().splitlines()[-1], title="The run failed")
    if pool().problem and run.status == "queued":
        st.warning(pool().problem)


def _state(run: Run) -> str:
    if not run.solved:
        return STATUS_WORDS[run.status]
    return "solved" if run.status == "finished" else f"{STATUS_WORDS[run.status]}, solved"


def _numbers(run: Run, records: Records) -> None:
    known = len(records) > 0 and len(records.episode_returns) > 0
    mean = f"{records.return_mean[-1]:.4g}" if known else "–"
    best = f"{records.episode_returns.max():.4g}" if known else "–"
    episodes = f"{int(records.episodes[-1]):,}" if len(records) else "–"
    entropy = f"{records.entropy[-1]:.3f}" if len(records) else "–"
    cells = st.columns(5)
    cells[0].metric("Return, last 100", mean, help="Mean return of the last 100 finished training episodes (sampled actions).")
    cells[1].metric("Best episode", best)
    cells[2].metric("Episodes", episodes)
    cells[3].metric("Entropy (nats)", entropy, help="How undecided the policy is: 0 when it always picks the same action.")
    cells[4].metric("Status", _state(run))


def _charts(page: str, run: Run, records: Records, window: int) -> None:
    task = find_task(run.task)
    left, right = st.columns([3, 2])
    mean = f"{records.return_mean[-1]:.1f}" if len(records) and np.isfinite(records.return_mean[-1]) else "not yet known"
    with left:
        live_chart(
            charts.returns_chart(records, window, run.config.solved_at),
            key=f"{page}.returns",
            identity=f"returns-{run.id}",
            alt=f"Return of every episode over environment steps; mean of the last 100 is {mean}.",
        )
    with right:
        live_chart(
            charts.actions_chart(records, task.actions),
            key=f"{page}.actions",
            identity=f"actions-{run.id}",
            alt="Share of each action over training.",
        )
    with st.expander("Diagnostics: entropy, KL, gradient norm, critic", on_change="rerun", key=f"{page}.diagnostics") as fold:
        if fold.open:
            live_chart(
                charts.diagnostics_chart(records),
                key=f"{page}.diagnostics.chart",
                identity=f"diagnostics-{run.id}",
                alt="Entropy, KL divergence, gradient norm and critic measures over training.",
                height=320,
            )


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
