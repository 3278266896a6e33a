"""Charts of training: data in, plotly figure out.

Colours of actions are the same everywhere, and told apart by colour-blind eyes too. Names that people gave are escaped:
plotly reads some HTML in texts.
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
from plotly.subplots import make_subplots

from pgcore.aggregate import Band, band, bootstrap_interval, interquartile_mean, on_grid
from pgcore.runs.packing import Records, unpack_records

NOTHING = unpack_records([])

# Okabe & Ito's palette, which holds for the common kinds of colour blindness.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C8C"
ACTION_COLOURS: Mapping[str, str] = {"buy": GREEN, "sell": VERMILION, "hold": GREY, "left": BLUE, "right": ORANGE}
SERIES_COLOURS: Sequence[str] = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, GREY)
DASHES = ("solid", "dash", "dot", "dashdot")
# From little to much: told apart by colour-blind eyes, and all of it seen on white as well as on black.
RESULT_COLOURS = (BLUE, GREY, VERMILION)
MOST_POINTS = 2_000
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


def thin(length: int, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Indices of at most `most` of `length` points: every 2nd, 4th, 8th, …, so that they stay as more come, and the last."""
    if length <= most:
        return np.arange(length)
    return np.append(np.arange(0, length - 1, _stride(length, most - 1)), length - 1)


def outline(values: NDArray[np.floating], most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Indices of at most `most` values that keep their outline: the least and the greatest of every 2, 4, 8, …, and the last.

    What was drawn stays as more come, and no spike goes missing.
    """
    if len(values) <= most:
        return np.arange(len(values))
    size = _stride(len(values), (most - 1) // 2)
    first = np.arange(0, len(values), size)
    table = np.pad(values, (0, first.size * size - len(values)), constant_values=np.nan).reshape(-1, size)
    least, greatest = (np.where(np.isnan(table), worst, table) for worst in (np.inf, -np.inf))
    return np.unique(np.concatenate([first + least.argmin(1), first + greatest.argmax(1), [len(values) - 1]]))


def _stride(length: int, most: int) -> int:
    """The least power of two of which at most `most` go into a length, the last not in full."""
    return 1 << max(0, -(-length // most) - 1).bit_length()


def trailing_mean(values: NDArray[np.floating], window: int) -> NDArray[np.floating]:
    """Mean of the last `window` values up to each, of fewer at the beginning."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    return (total[end] - total[start]) / (end - start)


def spread(ends: NDArray[Any], of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where each episode [m] belongs, by any clock: those that an update (`of` [m]) ended lie evenly over the time they took,
    which is that since the last update before it that ended any.

    `ends` [n] is when each update ended.
    """
    count = np.bincount(of, minlength=len(ends))
    begins = np.append(0, np.maximum.accumulate(np.where(count > 0, ends, 0))[:-1])
    place = np.arange(1, len(of) + 1) - (np.cumsum(count) - count)[of]
    return begins[of] + (ends - begins)[of] * place / count[of]


def returns_chart(records: Records, window: int, solved_at: float | None = None) -> go.Figure:
    """The return of every finished episode as a faint line, their moving average, and the line that counts as solved."""
    steps = spread(records.env_steps, records.episode_of)
    average = trailing_mean(records.episode_returns, window)
    points, line = outline(records.episode_returns), outline(average)
    scatter = {"type": "scatter", "hovertemplate": "%{x:,.0f} steps<br>return %{y:.4~g}<extra></extra>"}
    traces = [
        scatter
        | {
            "x": steps[points],
            "y": records.episode_returns[points],
            "mode": "lines",
            "name": "episode",
            "line": {"color": SKY, "width": 1},
            "opacity": 0.45,
        },
        scatter
        | {
            "x": steps[line],
            "y": average[line],
            "mode": "lines",
            "name": f"mean of {window}",
            "line": {"color": BLUE, "width": 2.5},
        },
    ]
    layout = frame("Episode return", "environment steps", "return") | _solved_line(solved_at)
    if not len(steps):
        layout["xaxis"] |= {"range": [0, 1]}
        layout["yaxis"] |= {"range": [0, 1.1 * solved_at if solved_at and solved_at > 0 else 1]}
    return figure_of(traces, layout)


def seeds_chart(runs: Sequence[Records], window: int, solved_at: float | None = None) -> go.Figure:
    """Several seeds: each run's moving average faintly, their interquartile mean, and its 95 % bootstrap interval."""
    figure = go.Figure()
    known = [records for records in runs if len(records.episode_returns)]
    curves = [trailing_mean(records.episode_returns, window) for records in known]
    steps = [spread(records.env_steps, records.episode_of) for records in known]
    for x, y in zip(steps, curves, strict=True):
        rows = thin(len(x), 300)
        figure.add_scatter(
            x=x[rows], y=y[rows], mode="lines", line={"color": SKY, "width": 1}, opacity=0.5, showlegend=False, hoverinfo="skip"
        )
    if known:
        grid, values = on_grid(steps, curves)
        if len(known) > 1:
            low, high = bootstrap_interval(values)
            figure.add_scatter(
                x=np.concatenate([grid, grid[::-1]]),
                y=np.concatenate([low, high[::-1]]),
                fill="toself",
                fillcolor="rgba(0,114,178,0.2)",
                line={"width": 0},
                name="95 % interval",
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=grid,
            y=interquartile_mean(values),
            mode="lines",
            name=f"interquartile mean, n = {len(known)}",
            line={"color": BLUE, "width": 2.5},
            hovertemplate="%{x:,.0f} steps<br>%{y:.4~g}<extra></extra>",
        )
    figure.update_layout(_solved_line(solved_at))
    return framed(figure, "Episode return", "environment steps", "return")


def actions_chart(records: Records, actions: Sequence[str]) -> go.Figure:
    """Share of each action over training, stacked to one; for Box actions the mean of each component."""
    rows = thin(len(records))
    x, share = records.env_steps[rows], records.action_share[rows]
    if not len(records):
        share = np.empty((0, len(actions)))
    is_discrete = len(actions) > 1
    names = actions if len(actions) == share.shape[1] else [f"action {i}" for i in range(share.shape[1])]
    traces = [
        {
            "type": "scatter",
            "x": x,
            "y": share[:, i],
            "name": name,
            "mode": "lines",
            "line": {
                "color": ACTION_COLOURS.get(name, SERIES_COLOURS[i % len(SERIES_COLOURS)]),
                "width": 1 if is_discrete else 2,
            },
            "stackgroup": "share" if is_discrete else None,
            "hovertemplate": f"{name} %{{y:.1%}}<extra></extra>" if is_discrete else f"{name} %{{y:.3~g}}<extra></extra>",
        }
        for i, name in enumerate(names)
    ]
    layout = frame("Actions over training", "environment steps", "share of actions" if is_discrete else "mean action")
    layout["hovermode"] = "x unified"
    if is_discrete:
        layout["yaxis"] |= {"range": [0, 1], "tickformat": ".0%"}
    if not len(records):
        layout["xaxis"] |= {"range": [0, 1]}
    return figure_of(traces, layout)


DIAGNOSTICS: Sequence[tuple[str, str, str]] = (
    ("entropy", "Entropy", "nats"),
    ("kl", "KL(old ‖ new) an update", "nats"),
    ("grad_norm", "Gradient norm", ""),
    ("explained_variance", "Explained variance of the critic", ""),
    ("value_loss", "Critic loss", ""),
    ("weight_std", "Deviation of the weights", ""),
)


def diagnostics_chart(records: Records) -> go.Figure:
    """How the learning itself goes: one small chart each for entropy, KL, gradient norm, and what the critic knows."""
    shown = [row for row in DIAGNOSTICS if np.isfinite(getattr(records, row[0])).any()] if len(records) else DIAGNOSTICS[:3]
    columns = 3
    lines = -(-len(shown) // columns)
    titles = [f"{title} ({unit})" if unit else title for _, title, unit in shown]
    figure = make_subplots(lines, columns, subplot_titles=titles, vertical_spacing=0.2, horizontal_spacing=0.07)
    for i, (name, title, _) in enumerate(shown):
        values = getattr(records, name)
        rows = outline(values, 600)
        figure.add_scatter(
            x=records.env_steps[rows],
            y=values[rows],
            mode="lines",
            name=title,
            line={"color": BLUE, "width": 1.5},
            showlegend=False,
            hovertemplate="%{x:,} steps<br>%{y:.4~g}<extra></extra>",
            row=i // columns + 1,
            col=i % columns + 1,
        )
        if i + columns >= len(shown):  # the lowest of its column
            figure.update_xaxes(title="environment steps", title_font_size=12, row=i // columns + 1, col=i % columns + 1)
    figure.update_annotations(font_size=12)
    figure.update_layout(margin={"l": 40, "r": 10, "t": 30, "b": 45})
    return figure


def _solved_line(solved_at: float | None) -> dict[str, Any]:
    """A dotted line across, in a layout."""
    if solved_at is None:
        return {}
    across = {"xref": "x domain", "yref": "y"}
    line = {"type": "line", "x0": 0, "x1": 1, "y0": solved_at, "y1": solved_at, "line": {"color": ORANGE, "dash": "dot"}}
    text = {"text": f"solved {solved_at:g}", "x": 0, "y": solved_at, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    return {"shapes": [line | across], "annotations": [text | across]}


def figure_of(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> go.Figure:
    """A figure out of plain data, as it is: for plotly to check it would take longer than to work it out and send it."""
    return go.Figure({"data": traces, "layout": layout}, _validate=False)


def frame(title: str, x: str, y: str) -> dict[str, Any]:
    """What all charts have around them, as a layout: a figure made at once costs a tenth of one that is changed bit by bit."""
    return {
        "title": {"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        "margin": {"l": 50, "r": 18, "t": 60, "b": 45},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
    }


def framed(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    """The figure with its title and legend in their places, and all of its axes under the same titles."""
    around = frame(title, x, y)
    figure.update_layout({name: around[name] for name in ("title", "margin", "legend")})
    figure.update_xaxes(around["xaxis"])
    figure.update_yaxes(around["yaxis"])
    return figure


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
    return text if len(text) <= most else f"{text[: most - 1]}…"


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
        return _named_axis(list(values))
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
    return str(value)


def _between(share: float) -> str:
    """The colour of a result at this share of the way from the least to the greatest."""
    first = min(int(2 * share), 1)
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in RESULT_COLOURS[first : first + 2]]
    mixed = [round(a + (b - a) * (2 * share - first)) for a, b in zip(*ends, strict=True)]
    return f"#{mixed[0]:02X}{mixed[1]:02X}{mixed[2]:02X}"
