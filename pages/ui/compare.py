"""Several runs in one chart: by step, time or episode, smoothed, grouped by a setting; what differs; what to take away."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.ui.board import Chart, Frame, as_json, board, still_chart
from pages.ui.runs_table import COLUMNS
from pages.ui.server import tail
from pgcore import charts
from pgcore.config import SETTINGS, relevant
from pgcore.market.prices import SAMPLES
from pgcore.market.synthetic import PREFIX
from pgcore.runs.formats import neutral
from pgcore.runs.run import Run
from pgcore.settings import spell
from pgcore.tasks import TASKS

MEASURES = {
    "return": "Episode return",
    "entropy": "Entropy (nats)",
    "kl": "KL an update (nats)",
    "grad_norm": "Gradient norm",
    "value_loss": "Critic loss",
    "explained_variance": "Explained variance",
}
AXES = {"steps": "environment steps", "time": "seconds of training", "episodes": "episodes"}
NO_GROUPS = "run"
MOST_PARALLEL = 10


def compare(runs: Sequence[Run]) -> None:
    """Overlay the selected runs and say how they differ."""
    st.subheader("Compare")
    differing = _differing(runs)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        measure = st.selectbox("Measure", list(MEASURES), format_func=MEASURES.__getitem__, key="compare.measure", width=200)
        axis = st.segmented_control("Over", list(AXES), default="steps", required=True, key="compare.axis")
        smooth = st.slider("Smoothing (points)", 1, 200, 50, key="compare.smooth", width=200)
        groups = [NO_GROUPS, *(name for name in differing if name != "seed")]
        group = st.selectbox(
            "One line for each",
            groups,
            format_func=lambda name: "run" if name == NO_GROUPS else SETTINGS[name].label,
            key="compare.group",
            width=220,
            help="Runs that agree in a setting become one: interquartile mean and 95 % interval.",
        )
    lines = _lines(runs, measure, axis, smooth, group)
    figure = charts.overlay_chart(lines, MEASURES[measure], AXES[axis])
    alt = f"{MEASURES[measure]} over {AXES[axis]} of {len(runs)} runs."
    board(Frame([Chart(as_json(figure), f"compare-{measure}-{axis}-{group}", alt, height=380)]), key="compare.chart")
    table = _table(runs, differing)
    if differing:
        st.markdown("**What differs**")
        st.dataframe(
            table,
            column_config={name: _column(name) for name in differing} | {name: COLUMNS[name] for name in ("steps", "return")},
            hide_index=True,
            alt="Settings in which the selected runs differ, and their results.",
        )
    if 1 < len(differing) <= MOST_PARALLEL and len(runs) > 2:
        still_chart(
            charts.parallel_chart(
                table.drop(columns="run").rename(columns=_title),
                "return",
                logarithmic=[_title(name) for name in differing if SETTINGS[name].scale == "log"],
            ),
            key="compare.parallel",
            alt="Parallel coordinates of the settings that differ, coloured by return.",
        )
    with st.container(horizontal=True):
        st.download_button(
            "Download as CSV",
            lambda: _csv(lines, AXES[axis], MEASURES[measure]),
            "comparison.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/table:",
            key="compare.csv",
        )
        st.download_button(
            "Download as HTML",
            lambda: figure.to_html(include_plotlyjs=True),
            "comparison.html",
            "text/html",
            on_click="ignore",
            icon=":material/code:",
            key="compare.html",
            help="A page of its own that needs no server.",
        )


def name_of(run: Run) -> str:
    return run.name or f"{run.estimator} · {run.id[:8]}"


def _differing(runs: Sequence[Run]) -> list[str]:
    """The settings that matter to these runs and in which they are not all alike."""
    matter = {setting.name for run in runs if run.task in TASKS for setting in relevant(run.task, run.estimator)}
    return [name for name in SETTINGS if name in matter and len({spell(run.settings.get(name)) for run in runs}) > 1]


def _lines(runs: Sequence[Run], measure: str, axis: str, smooth: int, group: str) -> list[charts.Line]:
    """One line a run, or one of several runs for each value of the grouping setting."""
    keys = {
        run.id: name_of(run) if group == NO_GROUPS else f"{SETTINGS[group].label} {spell(run.settings.get(group))}"
        for run in runs
    }
    lines = []
    for place, (title, members) in enumerate(
        itertools.groupby(sorted(runs, key=lambda run: keys[run.id]), lambda run: keys[run.id])
    ):
        members = list(members)
        curves = [curve for run in members if len((curve := _curve(run, measure, axis, smooth))[0])]
        colour = (
            charts.run_colour(members[0].id)
            if group == NO_GROUPS
            else charts.SERIES_COLOURS[place % len(charts.SERIES_COLOURS)]
        )
        if curves:
            lines.append(charts.Line(title, colour, curves))
    return lines


def _curve(run: Run, measure: str, axis: str, smooth: int) -> tuple[np.ndarray, np.ndarray]:
    records = tail(run.id).read()
    by_update = {"steps": records.env_steps, "time": records.wall_s, "episodes": records.episodes}[axis]
    if measure == "return":
        values = records.episode_returns
        x = np.arange(1, len(values) + 1) if axis == "episodes" else charts.spread(by_update, records.episode_of)
    else:
        values, x = getattr(records, measure), by_update
    known = np.isfinite(values)
    return x[known], charts.trailing_mean(values[known], smooth)


def _table(runs: Sequence[Run], differing: list[str]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for run in runs:
        settings = {name: _cell(name, run.settings.get(name)) for name in differing}
        rows.append({"run": neutral(name_of(run)), **settings, "steps": run.env_steps, "return": run.return_mean})
    return pd.DataFrame(rows)


def _title(name: str) -> str:
    """A setting as a column or an axis is headed; what is no setting as it is called."""
    setting = SETTINGS.get(name)
    return name if setting is None else f"{setting.label} ({setting.unit})" if setting.unit else setting.label


def _column(name: str) -> Any:
    kind = SETTINGS[name].kind
    if name == "seed" or kind not in (int, float):
        return COLUMNS.get(name, _title(name))
    return st.column_config.NumberColumn(_title(name), format="localized" if kind is int else "%.6g")


def _cell(name: str, value: Any) -> Any:
    if name == "prices":
        return SAMPLES.get(value, value.removeprefix(PREFIX)[:40])
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else spell(value)


def _csv(lines: Sequence[charts.Line], x: str, y: str) -> str:
    frames = [
        pd.DataFrame({"line": neutral(line.title), "curve": i, x: xs, y: ys})
        for line in lines
        for i, (xs, ys) in enumerate(line.curves)
    ]
    return pd.concat(frames).to_csv(index=False) if frames else f"line,curve,{x},{y}\n"
