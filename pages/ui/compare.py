"""Several runs in one chart: by step, time or episode, smoothed, grouped by a setting; what differs; what to take away."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.ui.board import Chart, Frame, as_json, board
from pages.ui.runs_table import COLUMNS, four_figures, name_of, setting_of
from pages.ui.server import tail
from pages.ui.text import plain
from pgcore import charts
from pgcore.comparison_charts import Curve, Line, group_look, overlay_chart, parallel_chart, run_looks, said
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
BY_RUN, TOGETHER = "run", "all"
NOT_USED = "–"
GROUPS: Mapping[str, str] = {BY_RUN: "run", TOGETHER: "all together"} | {
    name: setting.label for name, setting in SETTINGS.items() if name != "seed"
}
MOST_SMOOTH = 200
MOST_PARALLEL = 10
MOST_NAMED = 5
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Runs compared</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 14px; }}
th, td {{ text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid #d5dae0; white-space: nowrap; }}
</style>
<h1>Runs compared</h1>
{}
</html>
"""


def compare(runs: Sequence[Run]) -> None:
    """Overlay the selected runs and say how they differ."""
    st.subheader("Compare")
    matter = _matter(runs)
    cells = {name: {spell(cell) for run in runs if (cell := _cell(run, name)) is not None} for name in matter}
    differing = [name for name in matter if len(cells[name]) > 1]
    measure, axis, smooth, group = _choices([*differing, *(name for name in matter if name not in differing)])
    curves = {run.id: curve for run in runs if len((curve := _curve(run, measure, axis, smooth)).x)}
    lines = _lines(runs, curves, group)
    figures = []
    if lines:
        overlay = overlay_chart(lines, MEASURES[measure], AXES[axis])
        alt = f"{MEASURES[measure]} over {AXES[axis]} of {len(curves)} runs."
        height = 380 + 14 * max(0, len(lines) - 6)  # the legend needs room
        overlay.update_layout(height=height)
        board(Frame([Chart(as_json(overlay), f"compare-{measure}-{axis}-{group}", alt, height=height)]), key="compare.chart")
        figures.append(overlay)
    remarks = [_missing([run for run in runs if run.id not in curves], measure), _ends(lines, axis)]
    for remark in filter(None, remarks):
        st.caption(plain(remark))
    table = _table(runs, differing)
    if differing:
        _tabulate(table, differing)
    if differing and len(runs) > 2:
        figure, left_out = _parallel(table, differing)
        figures.append(figure)
        remarks.append(left_out)
    with st.container(horizontal=True):
        st.download_button(
            "Download lines as CSV",
            lambda: _csv(lines, AXES[axis], MEASURES[measure]),
            "comparison.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/table:",
            key="compare.csv",
            help="The lines as they are drawn: each run's curve, smoothed, and the mean and interval of several.",
        )
        st.download_button(
            "Download all as HTML",
            lambda: _html(figures, table, remarks),
            "comparison.html",
            "text/html",
            on_click="ignore",
            icon=":material/code:",
            key="compare.html",
            help="Charts and table as a page of its own that needs no server.",
        )


def _choices(matter: Sequence[str]) -> tuple[str, str, int, str]:
    """What is drawn, over what, how smooth, and what becomes one line; the page has said where they stand."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        measure = st.selectbox(
            "Measure",
            list(MEASURES),
            format_func=MEASURES.__getitem__,
            key="compare.measure",
            width=200,
            persist_state="session",
        )
        axis = st.segmented_control("Over", list(AXES), required=True, key="compare.axis", persist_state="session")
        smooth = st.slider("Smoothing (points)", 1, MOST_SMOOTH, key="compare.smooth", width=200, persist_state="session")
        group = st.selectbox(
            "One line for each",
            [BY_RUN, TOGETHER, *(name for name in matter if name in GROUPS)],
            format_func=GROUPS.__getitem__,
            key="compare.group",
            width=220,
            help="Runs that agree in a setting become one line: interquartile mean and 95 % interval.",
            persist_state="session",
        )
    return measure, axis, smooth, group


def _matter(runs: Sequence[Run]) -> list[str]:
    """The settings that make a difference to some of these runs."""
    matter = {setting.name for run in runs if run.task in TASKS for setting in relevant(run.task, run.estimator)}
    return [name for name in SETTINGS if name in matter]


def _lines(runs: Sequence[Run], curves: Mapping[str, Curve], group: str) -> list[Line]:
    """One line a run, or one of several runs for each value of the grouping setting; of runs that have a curve."""
    if group == BY_RUN:
        looks = run_looks([run.id for run in runs])
        return [Line(name_of(run), looks[run.id], [curves[run.id]]) for run in runs if run.id in curves]
    groups: dict[Any, list[Curve]] = {}
    for run in runs:
        value = "" if group == TOGETHER else _cell(run, group)
        value = NOT_USED if value is None else value
        groups.setdefault(value, []).extend([curves[run.id]] if run.id in curves else [])
    title = "all together" if group == TOGETHER else SETTINGS[group].label
    return [
        Line(f"{title} {said(value)}".strip(), group_look(place), members)
        for place, (value, members) in enumerate(sorted(groups.items(), key=lambda item: (isinstance(item[0], str), item[0])))
        if members
    ]


def _curve(run: Run, measure: str, axis: str, smooth: int) -> Curve:
    records = tail(run.id).read()
    by_update = {"steps": records.env_steps, "time": records.wall_s, "episodes": records.episodes}[axis]
    if measure == "return":
        values = records.episode_returns
        x = np.arange(1, len(values) + 1) if axis == "episodes" else charts.spread(by_update, records.episode_of)
    else:
        values, x = getattr(records, measure), by_update
    known = np.isfinite(values)
    return Curve(name_of(run), x[known], charts.trailing_mean(values[known], smooth))


def _missing(runs: Sequence[Run], measure: str) -> str:
    """Which runs have nothing to draw, and why."""
    if not runs:
        return ""
    why = (
        "no episode has ended"
        if measure == "return"
        else "an estimator without a critic has none, nor has a run before its first update"
        if measure in ("value_loss", "explained_variance")
        else "their estimator does not say it, or they had no update yet"
    )
    return f"No {MEASURES[measure].lower()} to show of {_named([name_of(run) for run in runs])}: {why}."


def _ends(lines: Sequence[Line], axis: str) -> str:
    """How far the means of several runs go."""
    ends = []
    for line in lines:
        if line.band is None:
            continue
        first = min(line.curves, key=lambda curve: curve.x[-1])
        if max(curve.x[-1] for curve in line.curves) > 1.02 * first.x[-1]:
            ends.append(f"{line.title} to {said(first.x[-1])} {AXES[axis]}, where {first.run} ends")
    if not any(line.band for line in lines):
        return ""
    far = f": {_named(ends, '; ')}" if ends else ""
    return f"The faint lines are the runs. Their interquartile mean and its 95 % interval go as far as all n of them do{far}."


def _named(names: Sequence[str], between: str = ", ") -> str:
    """So many of the names as one reads, and how many more there are."""
    more = len(names) - MOST_NAMED
    return between.join(names[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _table(runs: Sequence[Run], differing: Sequence[str]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for run in runs:
        settings = {name: _cell(run, name) for name in differing}
        rows.append({"run": name_of(run), **settings, "steps": run.env_steps, "return": run.return_mean})
    table = pd.DataFrame(rows)
    return table.assign(**{"return": four_figures(table["return"])})


def _tabulate(table: pd.DataFrame, differing: Sequence[str]) -> None:
    numbers = [name for name in differing if SETTINGS[name].kind in (int, float)]
    shown = table.assign(run=table["run"].map(neutral), **table[numbers].apply(pd.to_numeric, errors="coerce"))
    st.markdown("**What differs**")
    st.dataframe(
        shown,
        column_config={"run": "Run"}
        | {name: _column(name) for name in differing}
        | {name: COLUMNS[name] for name in ("steps", "return")},
        hide_index=True,
        placeholder="–",
        alt="Settings in which the selected runs differ, and their results.",
    )


def _parallel(table: pd.DataFrame, differing: Sequence[str]) -> tuple[go.Figure, str]:
    """The settings with most different values side by side, and a word on those that are left out."""
    kept = sorted(differing, key=lambda name: table[name].nunique(), reverse=True)[:MOST_PARALLEL]
    left_out = [name for name in differing if name not in kept]
    logarithmic = [_title(name) for name in kept if SETTINGS[name].scale == "log"]
    figure = parallel_chart(
        table.set_index("run").drop(columns=left_out).rename(columns=_title), logarithmic=[*logarithmic, _title("steps")]
    )
    alt = "Parallel coordinates of the settings that differ, coloured by return."
    board(Frame([Chart(as_json(figure), "compare-parallel", alt, height=figure.layout.height)]), key="compare.parallel")
    if not left_out:
        return figure, ""
    remark = f"Left out of the chart are the settings that differ least: {', '.join(map(_title, left_out))}."
    st.caption(plain(remark))
    return figure, remark


def _title(name: str) -> str:
    """A setting as a column or an axis is headed, or a result."""
    setting = SETTINGS.get(name)
    return name.capitalize() if setting is None else f"{setting.label} ({setting.unit})" if setting.unit else setting.label


def _column(name: str) -> Any:
    kind = SETTINGS[name].kind
    if name == "seed" or kind not in (int, float):
        return COLUMNS.get(name, _title(name))
    return st.column_config.NumberColumn(_title(name), format="localized" if kind is int else "%.6g")


def _cell(run: Run, name: str) -> Any:
    """A setting of a run in a table; None where the run has none of it."""
    value = setting_of(run, name)
    if value is None and run.settings.get(name) is not None:
        return None
    if name == "prices":
        return value.removeprefix(PREFIX) if value.startswith(PREFIX) else SAMPLES.get(value, value[:40])
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else spell(value)


def _csv(lines: Sequence[Line], x: str, y: str) -> str:
    """A row a point: of the curve of each run and, where several are one line, of their mean with its interval and number."""
    frames = []
    for line in lines:
        title = neutral(line.title)
        frames += [pd.DataFrame({"line": title, "curve": neutral(curve.run), x: curve.x, y: curve.y}) for curve in line.curves]
        if (band := line.band) is not None:
            mean = {"line": title, "curve": "interquartile mean", x: band.x, y: band.mean}
            frames.append(pd.DataFrame(mean | {"95 % from": band.low, "95 % to": band.high, "n": band.n}))
    table = pd.concat(frames) if frames else pd.DataFrame(columns=["line", "curve", x, y])
    return table.astype({"n": "Int64"} if "n" in table else {}).to_csv(index=False)


def _html(figures: Sequence[go.Figure], table: pd.DataFrame, remarks: Sequence[str]) -> str:
    """Charts, remarks and table as one page that asks for nothing from anywhere."""
    drawn = [
        go.Figure(figure.to_dict()).to_html(
            full_html=False, include_plotlyjs=i == 0, config={"displaylogo": False, "responsive": True}
        )
        for i, figure in enumerate(figures)
    ]
    paragraphs = [f"<p>{escape(remark)}</p>" for remark in remarks if remark]
    rows = table.map(said).rename(columns=_title).to_html(index=False, border=0)
    return PAGE.format("\n".join([*drawn[:1], *paragraphs, "<h2>What differs</h2>", f"<div>{rows}</div>", *drawn[1:]]))
