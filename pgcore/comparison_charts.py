"""Charts of runs beside each other: data in, plotly figure out.

Names that people gave are escaped: plotly reads some HTML in texts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from pgcore.aggregate import Band, band
from pgcore.charts import BLUE, GREY, MOST_POINTS, SERIES_COLOURS, VERMILION, figure_of, framed, thin

DASHES = ("solid", "dash", "dot", "dashdot")
# From little to much: told apart by colour-blind eyes, and all of it seen on white as well as on black.
RESULT_COLOURS = (BLUE, GREY, VERMILION)
MOST_TICKS = 6
CHARACTERS = 36  # of the ticks of one of parallel axes, side by side on a narrow screen
ROW_HEIGHT = 62
AXIS: Mapping[str, Any] = {
    "showgrid": False,
    "zeroline": False,
    "showline": True,
    "linecolor": GREY,
    "ticks": "outside",
    "ticklen": 4,
    "tickangle": 0,
    "tickfont": {"size": 11},
    "fixedrange": True,
}
COLOUR_BAR: Mapping[str, Any] = {
    "orientation": "h",
    "thickness": 8,
    "y": 0,
    "yanchor": "top",
    "ypad": 36,
    "nticks": 4,
    "tickformat": ",.4~r",
    "outlinewidth": 0,
}


@dataclass(frozen=True)
class Curve:
    """How something of one run went: y over x."""

    run: str
    x: NDArray[Any]
    y: NDArray[np.floating]


@dataclass(frozen=True)
class Line:
    """One line of a comparison, of a colour and a dash: the curve of a run, or those of several as their mean and interval."""

    title: str
    look: tuple[str, str]
    curves: Sequence[Curve]

    @cached_property
    def band(self) -> Band | None:
        """What several curves are together; None for one."""
        return band([curve.x for curve in self.curves], [curve.y for curve in self.curves]) if len(self.curves) > 1 else None


def run_colour(run_id: str) -> str:
    """The colour of a run wherever it is shown."""
    return SERIES_COLOURS[int(run_id[:8], 16) % len(SERIES_COLOURS)]


def run_looks(run_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of runs side by side, in whatever order they come: each has its own colour, runs of one colour differ in
    their dashes. Up to 28 no two look the same: to a run for which no dash of its colour is left another colour lends one."""
    looks: dict[str, tuple[str, str]] = {}
    for run_id in sorted(run_ids):
        own = SERIES_COLOURS.index(run_colour(run_id))
        taken = set(looks.values())
        possible = ((colour, dash) for colour in (*SERIES_COLOURS[own:], *SERIES_COLOURS[:own]) for dash in DASHES)
        looks[run_id] = next((look for look in possible if look not in taken), (SERIES_COLOURS[own], DASHES[0]))
    return looks


def group_look(place: int) -> tuple[str, str]:
    """Colour and dash of the first group, the second, …"""
    return SERIES_COLOURS[place % len(SERIES_COLOURS)], DASHES[place // len(SERIES_COLOURS) % len(DASHES)]


def overlay_chart(lines: Sequence[Line], title: str, x: str) -> go.Figure:
    """Lines to compare. Several curves are drawn faintly; as far as all of them go, so do their mean and its 95 % interval."""
    # The name is not written into the template: one that a person gave may look like a part of it.
    longest = max((curve.x[-1] for line in lines for curve in line.curves), default=0)
    point = f"%{{fullData.name}}<br>%{{x:{',.0f' if longest >= 100 else ',.3~r'}}} {x}<br>"
    traces = []
    for line in lines:
        traces += [_alone(line, point)] if line.band is None else _together(line, line.band, point)
    figure = framed(go.Figure(traces), title, x, "")
    figure.update_xaxes(automargin=True, title_standoff=8)
    # The legend is below: where it is narrow it takes lines.
    return figure.update_layout(margin={"t": 40}, legend={"yref": "container", "y": 0, "x": 0, "xanchor": "left"})


def _alone(line: Line, point: str) -> dict[str, Any]:
    (curve,), (colour, dash) = line.curves, line.look
    rows = thin(len(curve.x))
    return {
        "type": "scatter",
        "x": curve.x[rows],
        "y": curve.y[rows],
        "mode": "lines",
        "name": _name(line),
        "line": {"color": colour, "width": 2.2, "dash": dash},
        "hovertemplate": f"{point}%{{y:,.4~r}}<extra></extra>",
    }


def _together(line: Line, mean: Band, point: str) -> list[dict[str, Any]]:
    (colour, dash), name, (x, y) = line.look, _name(line), _end_to_end(line.curves)
    scatter = {"type": "scatter", "mode": "lines", "name": name}
    interval = "95 % interval %{customdata[0]:,.4~r} to %{customdata[1]:,.4~r}"
    return [
        scatter
        | {
            "x": x,
            "y": y,
            "line": {"color": colour, "width": 1},
            "opacity": 0.4,
            "hoverinfo": "skip",
            "showlegend": not len(mean.x),
        },
        scatter
        | {
            "x": np.concatenate([mean.x, mean.x[::-1]]),
            "y": np.concatenate([mean.low, mean.high[::-1]]),
            "fill": "toself",
            "fillcolor": colour,
            "opacity": 0.25,
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
        },
        scatter
        | {
            "x": mean.x,
            "y": mean.mean,
            "customdata": np.stack([mean.low, mean.high], axis=1),
            "line": {"color": colour, "width": 3, "dash": dash},
            "hovertemplate": f"{point}interquartile mean %{{y:,.4~r}}<br>{interval}<extra></extra>",
        },
    ]


def _name(line: Line) -> str:
    """A line in the legend: the run, or the group and of how many runs it is."""
    name = escape(_cut(line.title, 40))
    return name if line.title == line.curves[0].run else f"{name} (n = {len(line.curves)})"


def _end_to_end(curves: Sequence[Curve]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Curves as one with gaps, which is one trace to draw instead of many."""
    xs: list[NDArray[Any]] = []
    ys: list[NDArray[Any]] = []
    gap = np.array([np.nan])
    for curve in curves:
        rows = thin(len(curve.x), max(50, MOST_POINTS // len(curves)))
        xs += [curve.x[rows], gap]
        ys += [curve.y[rows], gap]
    return np.concatenate(xs), np.concatenate(ys)


def _cut(text: str, most: int) -> str:
    """In the middle: names that begin alike end differently."""
    head = most // 3
    return text if len(text) <= most else f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"


@dataclass(frozen=True)
class Axis:
    """One of parallel axes: where each run is along it (NaN: nowhere), as its layout counts, and that layout."""

    values: NDArray[np.float64]
    layout: Mapping[str, Any]

    def share(self) -> NDArray[np.float64]:
        """Where each run is, from 0 at the beginning to 1 at the end."""
        low, high = self.layout["range"]
        return (self._scaled() - low) / (high - low)

    def _scaled(self) -> NDArray[np.float64]:
        return np.log10(self.values) if self.layout.get("type") == "log" else self.values


def parallel_chart(table: pd.DataFrame, logarithmic: Collection[str] = ()) -> go.Figure:
    """Parallel coordinates: an axis for each column, one below the other so that their labels have room on any screen, and a
    line for each run, as the index calls it, coloured by its result, the last column."""
    axes = [_axis(table[column], is_log=column in logarithmic) for column in table.columns]
    names, result = [escape(_cut(str(name), 40)) for name in table.index], table.iloc[:, -1].to_numpy(dtype=float)
    known = np.isfinite(result)
    low, high = (float(result[known].min()), float(result[known].max())) if known.any() else (0.0, 1.0)
    colours = [_between((value - low) / (high - low or 1.0)) if np.isfinite(value) else GREY for value in result]
    rows = np.arange(len(axes))
    lines = [
        {
            "type": "scatter",
            "x": places,
            "y": rows,
            "mode": "lines",
            "line": {"color": colour, "width": 1.8, "dash": "solid" if is_known else "dot"},
            "hoverinfo": "skip",
        }
        for places, colour, is_known in zip(np.stack([axis.share() for axis in axes], axis=1), colours, known, strict=True)
    ]
    points: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "x": axis.values,
            "y": np.full(len(table), i),
            "xaxis": f"x{i + 2}",
            "mode": "markers",
            "marker": {"color": colours, "size": 7},
            "text": [
                f"{name}<br>{escape(column)}: {escape(said(value))}" for name, value in zip(names, table[column], strict=True)
            ],
            "hovertemplate": "%{text}<extra></extra>",
        }
        for i, (column, axis) in enumerate(zip(table.columns, axes, strict=True))
    ]
    scale = [[place, colour] for place, colour in zip((0, 0.5, 1), RESULT_COLOURS, strict=True)]
    bar = {**COLOUR_BAR, "title": {"text": escape(table.columns[-1]), "side": "top"}}
    points[-1]["marker"] |= {"color": result, "cmin": low, "cmax": high, "colorscale": scale, "colorbar": bar}
    return figure_of([*lines, *points], _below_each_other(list(table.columns), axes))


def _below_each_other(titles: Sequence[str], axes: Sequence[Axis]) -> dict[str, Any]:
    """The layout of parallel axes, each with its title to its left. Their x axes lie over a hidden one, from 0 to 1."""
    top, bottom = -0.35, len(axes) - 0.65
    layout: dict[str, Any] = {
        "title": {"text": "Settings and results", "x": 0, "xref": "paper", "font": {"size": 15}},
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 118, "r": 24, "t": 44, "b": 80},
        "height": 124 + ROW_HEIGHT * len(axes),
        "xaxis": {"range": [0, 1], "visible": False, "fixedrange": True},
        "yaxis": {
            "range": [bottom, top],
            "tickvals": np.arange(len(axes)),
            "ticktext": ["<br>".join(escape(part) for part in wrap(title, 17)) for title in titles],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "tickfont": {"size": 12},
        },
    }
    for i, axis in enumerate(axes):
        place = {"overlaying": "x", "anchor": "free", "position": (bottom - i) / (bottom - top)}
        layout[f"xaxis{i + 2}"] = {**AXIS, **place, **axis.layout}
    return layout


def _axis(values: pd.Series, *, is_log: bool) -> Axis:
    """An axis for numbers, by size or by order of magnitude; for anything else one that names what there is."""
    if not pd.api.types.is_numeric_dtype(values):
        return _named_axis(list(values.where(values.notna(), "–")))
    numbers = values.to_numpy(dtype=float)
    known = np.unique(numbers[np.isfinite(numbers)])
    if not len(known):
        return Axis(numbers, {"range": [0, 1], "tickvals": []})
    is_log = is_log and known[0] > 0
    places = np.log10(known) if is_log else known
    layout: dict[str, Any] = {"type": "log" if is_log else "linear", "range": _room(places, [said(known[0]), said(known[-1])])}
    if is_log or len(known) <= MOST_TICKS:  # else plotly finds round numbers
        ticks = known[_apart(places, [len(said(value)) for value in known])]
        return Axis(numbers, layout | {"tickvals": ticks, "ticktext": [said(tick) for tick in ticks]})
    return Axis(numbers, layout | {"tickmode": "auto", "nticks": 5, "tickformat": ",.6~r"})


def _named_axis(values: Sequence[Any]) -> Axis:
    """What there is in order, numbers first, on so many lines that none runs into the next on a narrow screen."""
    names = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    shown = [_cut(said(name), 22) for name in names]
    lines = min(3, -(-max(map(len, shown)) * max(1, len(names) - 1) // CHARACTERS))
    text = ["<br>" * (i % lines) + escape(name) for i, name in enumerate(shown)]
    codes = np.array([float(names.index(value)) for value in values])
    return Axis(codes, {"range": _room(codes, shown), "tickvals": np.arange(len(names)), "ticktext": text})


def _room(values: NDArray[np.float64], labels: Sequence[str]) -> list[float]:
    """The range of values and, at both ends, half a label."""
    low, high = float(values.min()), float(values.max())
    edge = max(0.05, 0.5 * max(map(len, labels)) / CHARACTERS)
    room = (high - low or 1.0) * edge / (1 - 2 * edge)
    return [low - room, high + room]


def _apart(places: NDArray[np.float64], lengths: Sequence[int]) -> list[int]:
    """Which of some labels to show, from the last: those that leave each other room."""
    width = np.ptp(places) or 1.0
    kept = [len(places) - 1]
    for i in range(len(places) - 2, -1, -1):
        if (places[kept[-1]] - places[i]) / width * CHARACTERS >= 0.5 * (lengths[kept[-1]] + lengths[i]) + 2:
            kept.append(i)
    return kept[::-1]


def said(value: Any) -> str:
    """A setting or a result in words, as a person reads it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        figures = ",.0f" if abs(value) >= 1e5 or value % 1 == 0 else ",.6g"  # 1e+06 is no way to say a million
        return f"{value:{figures}}".replace("-", "−") if np.isfinite(value) else "none yet"
    return "–" if value is None else str(value)


def _between(share: float) -> str:
    """The colour of a result at this share of the way from the least to the greatest."""
    first = min(int(2 * share), 1)
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in RESULT_COLOURS[first : first + 2]]
    mixed = [round(a + (b - a) * (2 * share - first)) for a, b in zip(*ends, strict=True)]
    return f"#{mixed[0]:02X}{mixed[1]:02X}{mixed[2]:02X}"
