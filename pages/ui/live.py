"""A run as it happens: how far it is, what it does, and what came of it."""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from pages.ui.board import Chart, Frame, Look, Number, board, drawn, look_at
from pages.ui.controls import VIEW, nearest_pace, write_link
from pages.ui.problems import readable, tell, told
from pages.ui.server import Tail, store, tail
from pages.ui.steering import Mode, members, mode_of, toolbar
from pages.ui.stream import watchers
from pages.ui.text import plain
from pages.ui.theatre import theatre
from pages.ui.validation import validation_chart
from pgcore import charts
from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.runs.packing import Records
from pgcore.runs.pool import cores
from pgcore.runs.run import Run
from pgcore.tasks import TASKS, find_task

TICK_S = 0.25
SLOW_TICK_S = 1.0
APART_S = 0.5  # of the looks of a crowd
DETAILS_EVERY = 4  # ticks
FIRST_POINT_WITHIN_S = 0.5
HEAD_START_S = 0.15  # in which the browser draws that point, rather than what the script sends
CHART_HEIGHT = 235
COLUMNS = "3fr 2fr"
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
ShowResult = Callable[[Run, dict[str, Any], list[Run]], None]


def run_panel(page: str, config: TrainConfig | None, show_result: ShowResult, *, can_train: bool = True) -> Run | None:
    """The right side of a training page: steer and watch the run that the link names, or say how to begin.

    Without a config, or where it cannot be trained on what the page shows, a sentence above says why.
    All but the result is a fragment: a button, or a run that pauses, has no more of the page drawn anew.
    """
    outcome = f"{page}.outcome"
    st.session_state.pop(outcome, None)
    shown, runs = st.fragment(told(_panel))(page, config, outcome, can_train and config is not None) or (None, [])
    st.session_state[outcome] = _outcome(shown, runs)
    if shown is not None and shown.is_over:
        st.fragment(readable(_result, shown.id))(show_result, shown, runs)
    return shown


def _result(show_result: ShowResult, run: Run, runs: list[Run]) -> None:
    result = store().evaluation(run.id, "final")
    if result is not None:
        show_result(run, result, runs)
    elif run.status == "finished":
        st.error(f"This run could not be judged. Try again with `python -m pgcore evaluate {run.id}`, which says why.")
    elif run.updates:
        st.info("There is no evaluation of this run: it ended before it was judged. Resume it, or train again.")


def _panel(page: str, config: TrainConfig | None, outcome: str, can_train: bool) -> tuple[Run | None, list[Run]]:
    runs = _attached(page)
    if st.session_state.get(outcome, now := _outcome(_shown(page, runs), runs)) != now:
        st.rerun()
    tell()
    just_pressed = st.session_state.pop(f"{page}.just_pressed", False)
    mode = Mode() if just_pressed else mode_of(runs)
    toolbar(page, can_train, runs, mode, begun=partial(_show_first_point, page))
    if mode.problem:
        st.error(plain(mode.problem))
    shown = _choose(page, runs)
    look = _look_at(shown, runs) if shown is not None else _look_at_nothing(page, config, can_train)
    slider = f"{page}.smooth"
    at = st.session_state[slider]
    frame = look(str(at))
    if shown is not None and frame.turn != str(mode):  # it has gone on since, may be over, and is to be looked at again
        frame = replace(frame, wait=frame.wait or TICK_S)
    board(
        replace(frame, turn=str(mode)),
        key=f"{page}.board",
        columns=COLUMNS,
        look=look,
        slider=slider,
        at=at,
        button=f"{page}.train",
    )
    if shown is not None and shown.error:
        st.error(plain(shown.error.strip().splitlines()[-1]), title="The run failed")
    details_from = time.monotonic() + FIRST_POINT_WITHIN_S if just_pressed else 0.0  # the first point is what is waited for
    st.fragment(told(_details))(page, details_from)
    if config is not None:
        write_link(page, config, st.session_state.get(f"{page}.run"))
    return shown, runs


def _outcome(shown: Run | None, runs: list[Run]) -> str:
    """What the page around the panel depends on: the runs that are over, once the one that is shown is."""
    return f"{shown.id} {sum(run.is_over for run in runs)}" if shown is not None and shown.is_over else ""


def _show_first_point(page: str, run: Run) -> None:
    """Let the board show the first point of a run that was just begun, and only then the script run.

    A warm worker has one in less time than it takes the browser to draw the page anew.
    """
    records, give_up_at = tail(run.id), time.monotonic() + FIRST_POINT_WITHIN_S
    while not len(records.read(now=True)) and time.monotonic() < give_up_at:
        time.sleep(0.005)
    look = _look_at(run, members(store(), run))
    look(str(st.session_state[f"{page}.smooth"]))  # the board is not kept waiting for a drawing that is made by now
    look_at(f"{page}.board", look)
    time.sleep(HEAD_START_S)


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
    if st.session_state.get(f"{page}.named") != run.id:
        st.session_state[f"{page}.named"] = st.session_state[f"{page}.member"] = run.id
        if not run.is_over:  # it may have been slowed down in another tab
            st.session_state[f"{page}.pace"] = nearest_pace(run.pace)
    return members(store(), run)


def _choose(page: str, runs: list[Run]) -> Run | None:
    """The one of several runs that is shown in detail."""
    if len(runs) > 1:
        names = {run.id: _member_name(run) for run in runs}
        if st.session_state.get(f"{page}.member") not in names:
            st.session_state[f"{page}.member"] = runs[0].id
        st.segmented_control(
            "Run shown in detail",
            list(names),
            format_func=names.__getitem__,
            required=True,
            key=f"{page}.member",
            label_visibility="collapsed",
        )
    return _shown(page, runs)


def _shown(page: str, runs: list[Run]) -> Run | None:
    chosen = st.session_state.get(f"{page}.member")
    return next((run for run in runs if run.id == chosen), runs[0] if runs else None)


def _member_name(run: Run) -> str:
    return f"seed {run.config.seed}" + (f", fold {run.config.fold + 1}" if run.config.folds else "")


def _look_at_nothing(page: str, config: TrainConfig | None, can_train: bool) -> Look:
    """Empty frames before there is a run, so that nothing moves when one begins."""
    task, solved_at = (config.task, config.solved_at) if config is not None else (st.session_state[f"{page}.task"], None)
    then = "Press Train: the first points are there within a second."
    nothing = charts.NOTHING

    def look(at: str) -> Frame:
        returns = drawn(charts.returns_chart, nothing, _smooth(at), solved_at)
        return Frame(
            _charts("empty", returns, nothing, task, growing=False),
            said=then if can_train else "Once what is said above is mended, press Train.",
            share=0.0,
            numbers=_numbers(nothing),
            turn=str(Mode(is_active=False)),
        )

    return look


def _smooth(at: str) -> int:
    return VIEW["smooth"].check(VIEW["smooth"].parse(at))


def _look_at(shown: Run, runs: list[Run]) -> Look:
    """How to look at a run and those that were started with it, at a window of the moving average: with the eyes of this
    person, but outside the script."""
    mine = store()
    tails = {run.id: tail(run.id) for run in runs}

    def look(at: str) -> Frame:
        now = members(mine, mine.run(shown.id))
        if {run.id for run in now} != tails.keys():
            raise BadInput("Some of these runs were deleted or restored: the page is drawn anew.")
        return _frame(next(run for run in now if run.id == shown.id), now, tails, _smooth(at))

    return look


def _frame(run: Run, runs: list[Run], tails: Mapping[str, Tail], smooth: int) -> Frame:
    records = _records_of(run, tails[run.id])
    seeds = [each for each in runs if each.config.fold == run.config.fold]
    if len(seeds) > 1:
        known = tuple(_records_of(each, tails[each.id]) for each in seeds)
        returns = drawn(charts.seeds_chart, known, smooth, run.config.solved_at)
    else:
        returns = drawn(charts.returns_chart, records, smooth, run.config.solved_at)
    mode = mode_of(runs)
    wait = _tick(run, records) if any(each.status in ("starting", "running") for each in runs) else _in_turn(SLOW_TICK_S)
    steps = int(records.env_steps[-1]) if len(records) else 0
    return Frame(
        _charts(run.id, returns, records, run.task, growing=not run.is_over),
        said=_said(run, records, runs),
        share=1.0 if run.solved else min(1.0, steps / run.config.max_steps),
        numbers=_numbers(records),
        turn=str(mode),
        wait=wait if mode.is_active else None,
    )


def _records_of(run: Run, records: Tail) -> Records:
    """What is known of a run: its last word once it rests, when there may be no further look."""
    return records.read(now=run.is_over or run.status == "paused")


def _tick(run: Run, records: Records) -> float:
    """Seconds until the next look: a tenth of how long a run has trained, so that each shows something new, up to a second.

    Of a run that is slowed down each update is to be seen.
    """
    trained = records.wall_s[-1] if len(records) and run.pace is None else 0.0
    return _in_turn(min(max(TICK_S, trained / 10), SLOW_TICK_S))


def _in_turn(tick: float) -> float:
    """That, or longer: more browsers on this machine than cores, which the trainers need too, look one after the other."""
    crowd = watchers()
    return tick if crowd <= cores() else max(tick, crowd * APART_S * random.uniform(0.8, 1.2))  # noqa: S311 - no secret


def _details(page: str, begin: float) -> None:
    """What is looked at for longer, and costs the browser more: the agent or the validation, and the diagnostics.

    It is drawn anew as a policy is kept that has learned for longer; the diagnostics go on by themselves.
    """
    run_id = st.session_state.get(f"{page}.run")
    run = _shown(page, members(store(), store().run(run_id))) if run_id else None
    if run is None:
        return
    has_begun = time.monotonic() >= begin
    if has_begun and run.task == "stocks":
        validation_chart(page, run)
    elif has_begun:
        theatre(page, run)
    with st.expander("Diagnostics: entropy, KL, gradient norm, critic", on_change="rerun", key=f"{page}.diagnostics") as fold:
        look = _look_into(run, has_diagnostics=bool(fold.open))
        board(look() if has_begun else Frame([], wait=FIRST_POINT_WITHIN_S), key=f"{page}.diagnostics.chart", look=look)


def _look_into(run: Run, *, has_diagnostics: bool) -> Look:
    """How to look at the diagnostics of a run, and whether it has kept another policy worth seeing: outside the script too."""
    mine, records = store(), tail(run.id)

    def look(_: str = "") -> Frame:
        now = mine.run(run.id)
        known = _records_of(now, records)
        kept = mine.policies(run.id)
        return Frame(
            [_diagnostics(now, known)] if has_diagnostics else [],
            turn=f"{run.id} {_milestone(kept[-1][0]) if kept else None}",
            wait=None if now.is_over else DETAILS_EVERY * _tick(now, known),
        )

    return look


def _milestone(update: int) -> int:
    """A number that goes up whenever a run has made a tenth more updates: so much more is worth another look at the agent."""
    return int(math.log(1 + update) / math.log(1.1))


# ---- showing


def _said(run: Run, records: Records, runs: list[Run]) -> str:
    """How far a run is, in a line."""
    if run.status == "queued" and run.position:
        return f"place {run.position} in the queue"
    steps = int(records.env_steps[-1]) if len(records) else 0
    state = _state(run, steps)
    parts = [f"{run.task}, {run.estimator}, seed {run.config.seed}", state, f"{steps:,} steps"]
    if steps and (run.is_over or run.pace is None):
        rate = steps / records.wall_s[-1]
        parts.append(f"{_short(rate)} steps/s")
        if run.is_over:
            parts.append(f"{records.wall_s[-1]:.2f} s")
        elif state.startswith(STATUS_WORDS["running"]):
            parts.append(f"at most {_duration((run.config.max_steps - steps) / rate)} left")
    if retries := sum(member.store_retries for member in runs):
        parts.append(f"store busy, tried again {retries:,} ×")
    if (silence := _silence(run)) is not None:
        parts.append(f"no sign of life for {_duration(silence)}, Stop ends it")
    if len(runs) > 1:
        parts.append(f"{sum(member.is_over for member in runs)} of {len(runs)} runs done")
    return " · ".join(parts)


def _state(run: Run, steps: int) -> str:
    word = STATUS_WORDS[run.status]
    if run.status == "running" and run.desired == "stop":
        word = "stopping"
    elif run.status == "running" and (steps >= run.config.max_steps or (run.solved and run.config.stop_when_solved)):
        word = "done learning, being judged"
        if run.judged is not None:
            word += f", {100 * run.judged:.0f} %"
    if not run.solved:
        return word
    return "solved" if run.status == "finished" else f"{word}, solved"


def _silence(run: Run) -> float | None:
    """Seconds since the last sign of life of a trainer that has promised one since; None while it keeps its word."""
    now = datetime.now(UTC)
    if run.status != "running" or run.heartbeat is None or run.expected is None or now < run.expected:
        return None
    return (now - run.heartbeat).total_seconds()


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


def _charts(identity: str, returns: str, records: Records, task: str, *, growing: bool) -> list[Chart]:
    mean = f"{records.return_mean[-1]:.1f}" if len(records) and np.isfinite(records.return_mean[-1]) else "not yet known"
    said = f"Return of every episode over environment steps; mean of the last 100 is {mean}."
    actions = drawn(charts.actions_chart, records, find_task(task).actions)
    return [
        Chart(returns, f"returns-{identity}", said, CHART_HEIGHT, growing),
        Chart(actions, f"actions-{identity}", "Share of each action over training.", CHART_HEIGHT, growing),
    ]


def _diagnostics(run: Run, records: Records) -> Chart:
    alt = "Entropy, KL divergence, gradient norm and critic measures over training."
    figure = drawn(charts.diagnostics_chart, records)
    return Chart(figure, f"diagnostics-{run.id}", alt, height=320, growing=not run.is_over)


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
