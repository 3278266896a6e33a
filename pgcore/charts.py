"""Charts of training: data in, plotly figure out.

Colours of actions are the same everywhere, and told apart by colour-blind eyes too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from pgcore.aggregate import band
from pgcore.runs.packing import Records, unpack_records

NOTHING = unpack_records([])

# Okabe & Ito's palette, which holds for the common kinds of colour blindness.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C8C"
ACTION_COLOURS: Mapping[str, str] = (
    {"buy": GREEN, "sell": VERMILION, "hold": GREY, "left": BLUE, "right": ORANGE}
    | {"push left": BLUE, "coast": GREY, "push right": ORANGE}
    | {"torque −1": BLUE, "no torque": GREY, "torque +1": ORANGE, "torque": BLUE}
)
SERIES_COLOURS: Sequence[str] = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, GREY)
MOST_POINTS = 2_000


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
    """Several seeds: each run's moving average faintly and, as far as all of them go, their interquartile mean and its 95 %
    bootstrap interval."""
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
        together = band(steps, curves)
        if together.n > 1:
            figure.add_scatter(
                x=np.concatenate([together.x, together.x[::-1]]),
                y=np.concatenate([together.low, together.high[::-1]]),
                fill="toself",
                fillcolor="rgba(0,114,178,0.2)",
                line={"width": 0},
                name="95 % interval",
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=together.x,
            y=together.mean,
            mode="lines",
            name=f"interquartile mean, n = {together.n}",
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
