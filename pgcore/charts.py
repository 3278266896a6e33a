"""Data in, plotly figure out. Colours of actions are the same everywhere and told apart by colour-blind eyes too.

Names that people gave are escaped: plotly reads some HTML in texts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from pgcore.aggregate import bootstrap_interval, interquartile_mean, on_grid
from pgcore.market.prices import moving_average
from pgcore.runs.packing import Records, unpack_records

if TYPE_CHECKING:
    from pgcore.market.prices import PriceSeries

NOTHING = unpack_records([])

# Okabe & Ito's palette, which holds for the common kinds of colour blindness.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C8C"
ACTION_COLOURS: Mapping[str, str] = {"buy": GREEN, "sell": VERMILION, "hold": GREY, "left": BLUE, "right": ORANGE}
SERIES_COLOURS: Sequence[str] = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, GREY)
DASHES = ("solid", "dash", "dot", "dashdot")
MOST_POINTS = 2_000


def thin(length: int, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Indices of at most `most` of `length` points, evenly spread, the last among them."""
    if length <= most:
        return np.arange(length)
    return np.linspace(0, length - 1, most).round().astype(np.int64)


def trailing_mean(values: NDArray[np.floating], window: int) -> NDArray[np.floating]:
    """Mean of the last `window` values up to each, of fewer at the beginning."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    return (total[end] - total[start]) / (end - start)


def returns_chart(records: Records, window: int, solved_at: float | None = None) -> go.Figure:
    """Every finished episode as a faint point, their moving average as a line, and the line that counts as solved."""
    steps = records.env_steps[records.episode_of]
    points, line = thin(len(steps)), thin(len(steps))
    average = trailing_mean(records.episode_returns, window)
    scatter = {"type": "scatter", "hovertemplate": "%{x:,} steps<br>return %{y:.4~g}<extra></extra>"}
    traces = [
        scatter
        | {
            "x": steps[points],
            "y": records.episode_returns[points],
            "mode": "markers",
            "name": "episode",
            "marker": {"color": SKY, "size": 4, "opacity": 0.35},
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
    layout = _frame("Episode return", "environment steps", "return") | _solved_line(solved_at)
    if not len(steps):
        layout["xaxis"] |= {"range": [0, 1]}
        layout["yaxis"] |= {"range": [0, 1.1 * solved_at if solved_at and solved_at > 0 else 1]}
    return go.Figure({"data": traces, "layout": layout})


def seeds_chart(runs: Sequence[Records], window: int, solved_at: float | None = None) -> go.Figure:
    """Several seeds: each run's moving average faintly, their interquartile mean, and its 95 % bootstrap interval."""
    figure = go.Figure()
    known = [records for records in runs if len(records.episode_returns)]
    curves = [trailing_mean(records.episode_returns, window) for records in known]
    steps = [records.env_steps[records.episode_of] for records in known]
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
            hovertemplate="%{x:,} steps<br>%{y:.4~g}<extra></extra>",
        )
    figure.update_layout(_solved_line(solved_at))
    return _framed(figure, "Episode return", "environment steps", "return")


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
    layout = _frame("Actions over training", "environment steps", "share of actions" if is_discrete else "mean action")
    layout["hovermode"] = "x unified"
    if is_discrete:
        layout["yaxis"] |= {"range": [0, 1], "tickformat": ".0%"}
    if not len(records):
        layout["xaxis"] |= {"range": [0, 1]}
    return go.Figure({"data": traces, "layout": layout})


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
    rows = thin(len(records), 600)
    for i, (name, title, _) in enumerate(shown):
        figure.add_scatter(
            x=records.env_steps[rows],
            y=getattr(records, name)[rows],
            mode="lines",
            name=title,
            line={"color": BLUE, "width": 1.5},
            showlegend=False,
            hovertemplate="%{x:,} steps<br>%{y:.4~g}<extra></extra>",
            row=i // columns + 1,
            col=i % columns + 1,
        )
    figure.update_annotations(font_size=12)
    figure.update_layout(margin={"l": 40, "r": 10, "t": 30, "b": 30})
    return figure


def _solved_line(solved_at: float | None) -> dict[str, Any]:
    """A dotted line across, in a layout."""
    if solved_at is None:
        return {}
    across = {"xref": "x domain", "yref": "y"}
    line = {"type": "line", "x0": 0, "x1": 1, "y0": solved_at, "y1": solved_at, "line": {"color": ORANGE, "dash": "dot"}}
    text = {"text": f"solved {solved_at:g}", "x": 0, "y": solved_at, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    return {"shapes": [line | across], "annotations": [text | across]}


def _frame(title: str, x: str, y: str) -> dict[str, Any]:
    """What all charts have around them, as a layout: a figure made at once costs a tenth of one that is changed bit by bit."""
    return {
        "title": {"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        "margin": {"l": 50, "r": 10, "t": 60, "b": 45},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
    }


def _framed(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    """A figure in that frame, all of its axes under the same titles."""
    frame = _frame(title, x, y)
    figure.update_layout({name: frame[name] for name in ("title", "margin", "legend")})
    figure.update_xaxes(frame["xaxis"])
    figure.update_yaxes(frame["yaxis"])
    return figure


def price_chart(prices: "PriceSeries", window: int, borders: Mapping[str, tuple[int, int]], *, height: int = 260) -> go.Figure:
    """Closes and their moving average, with each part of the history (name -> first and last row) shaded and named."""
    rows = thin(len(prices))
    figure = go.Figure()
    figure.add_scatter(
        x=prices.dates[rows], y=prices.close[rows], mode="lines", name="close", line={"color": BLUE, "width": 1.2}
    )
    average = moving_average(prices.close, window)
    figure.add_scatter(
        x=prices.dates[rows],
        y=average[rows],
        mode="lines",
        name=f"mean of {window} before",
        line={"color": ORANGE, "width": 1.5},
    )
    for i, (name, (first, last)) in enumerate(borders.items()):
        _shade(figure, name, str(prices.dates[first]), str(prices.dates[last]), i)
    figure.update_layout(height=height, hovermode="x unified")
    return _framed(figure, escape(prices.name), "", "price")


STRATEGIES: Mapping[str, tuple[str, str]] = {
    "agent": ("agent", BLUE),
    "buy_and_hold": ("buy-and-hold", ORANGE),
    "moving_average_rule": ("moving-average rule", PURPLE),
    "cash": ("cash", GREY),
    "truth": ("knows the truth", SKY),
}


def equity_chart(curves: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Equity of the agent and of what it is compared with, from 1 at the start of each part, and its drawdown below.

    `curves` as evaluate_parts gives them, by part. The band holds the middle 90 % of random policies that trade as much.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.06)
    for i, (part, curve) in enumerate(curves.items()):
        rows = thin(len(curve["dates"]))
        dates = np.array(curve["dates"], dtype="datetime64[s]")[rows]
        low, *_, high = (np.array(level)[rows] for level in curve["random"].values())
        figure.add_scatter(
            x=np.concatenate([dates, dates[::-1]]),
            y=np.concatenate([low, high[::-1]]),
            fill="toself",
            fillcolor="rgba(140,140,140,0.22)",
            line={"width": 0},
            name="random, middle 90 %",
            legendgroup="random",
            showlegend=i == 0,
            hoverinfo="skip",
        )
        for name in (name for name in STRATEGIES if name in curve):
            title, colour = STRATEGIES[name]
            equity = np.array(curve[name])[rows]
            figure.add_scatter(
                x=dates,
                y=equity,
                mode="lines",
                name=title,
                legendgroup=name,
                showlegend=i == len(curves) - 1,
                line={"color": colour, "width": 2.2 if name == "agent" else 1.2, "dash": "dot" if name == "cash" else "solid"},
                hovertemplate=f"{title} %{{y:.3f}}<extra></extra>",
            )
        agent = np.array(curve["agent"])
        fall = (agent / np.maximum.accumulate(agent) - 1)[rows]
        figure.add_scatter(
            x=dates,
            y=fall,
            mode="lines",
            fill="tozeroy",
            name="drawdown",
            showlegend=False,
            line={"color": VERMILION, "width": 1},
            hovertemplate="drawdown %{y:.1%}<extra></extra>",
            row=2,
            col=1,
        )
        _shade(figure, part, curve["dates"][0], curve["dates"][-1], i)
    _framed(figure, "Equity, net of costs", "", "")
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(title="equity (start = 1)", type="log", row=1, col=1)
    figure.update_yaxes(title="drawdown", tickformat=".0%", row=2, col=1)
    return figure


def trades_chart(curve: Mapping[str, Any], part: str) -> go.Figure:
    """The price with ▲ where the agent bought and ▼ where it sold, over a ribbon of its action probabilities."""
    figure = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.06)
    dates = np.array(curve["dates"], dtype="datetime64[s]")
    close, position = np.array(curve["close"]), np.array(curve["position"])
    rows = thin(len(dates))
    figure.add_scatter(
        x=dates[rows], y=close[rows], mode="lines", name="close", line={"color": GREY, "width": 1.2}, hovertemplate="%{y:,.6~g}"
    )
    change = np.diff(position, prepend=0)
    for name, symbol, changed in (("buy", "triangle-up", change > 0), ("sell", "triangle-down", change < 0)):
        at = np.flatnonzero(changed)
        at = at[thin(len(at))]
        figure.add_scatter(
            x=dates[at],
            y=close[at],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 9, "color": ACTION_COLOURS[name]},
            hovertemplate=f"{name} at %{{y:,.6~g}}<extra></extra>",
        )
    probability = np.array(curve["probabilities"])
    rows = thin(len(probability))
    for i, name in enumerate(("buy", "sell", "hold")):
        figure.add_scatter(
            x=dates[rows],
            y=probability[rows, i],
            mode="lines",
            stackgroup="probability",
            name=f"π({name})",
            line={"width": 0.5, "color": ACTION_COLOURS[name]},
            hovertemplate=f"π({name}) %{{y:.0%}}<extra></extra>",
            row=2,
            col=1,
        )
    _framed(figure, f"What it did on the {part} part", "", "")
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(title="price", row=1, col=1)
    figure.update_yaxes(title="π", range=[0, 1], tickformat=".0%", row=2, col=1)
    return figure


def action_bars(parts: Sequence[Mapping[str, Any]]) -> go.Figure:
    """How often it bought, sold and held on each part."""
    figure = go.Figure()
    names = [part["part"] for part in parts]
    for action in ("buy", "sell", "hold"):
        share = np.array([part["actions"][action] for part in parts])
        figure.add_bar(
            y=names,
            x=share,
            name=action,
            orientation="h",
            marker={"color": ACTION_COLOURS[action]},
            text=[f"{x:.0%}" if x >= 0.05 else "" for x in share],
            hovertemplate=f"{action} %{{x:.1%}}<extra></extra>",
        )
    _framed(figure, "Actions", "", "")
    figure.update_layout(barmode="stack", margin={"l": 70, "r": 10, "t": 40, "b": 50})
    figure.update_layout(legend={"y": -0.15, "yanchor": "top", "x": 0.5, "xanchor": "center", "traceorder": "normal"})
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(autorange="reversed")
    return figure


def _shade(figure: go.Figure, name: str, first: str, last: str, index: int) -> None:
    """Give a part of the history its own shade and name."""
    figure.add_vrect(
        x0=first,
        x1=last,
        fillcolor=GREY,
        opacity=(0.04, 0.1, 0.16)[min(index, 2)],
        line_width=0,
        layer="below",
        annotation={"text": name, "font": {"size": 12}},
        annotation_position="top left",
    )


@dataclass(frozen=True)
class Line:
    """One line of a comparison: its curves (x, y), one a run; several become their interquartile mean and interval."""

    title: str
    colour: str
    curves: Sequence[tuple[NDArray[np.number], NDArray[np.floating]]]


def run_colour(run_id: str) -> str:
    """The colour of a run wherever it is shown."""
    return SERIES_COLOURS[int(run_id[:8], 16) % len(SERIES_COLOURS)]


def overlay_chart(lines: Sequence[Line], title: str, x: str) -> go.Figure:
    """Lines to compare, told apart by dashes too where two have one colour."""
    figure = go.Figure()
    used: Counter[str] = Counter()
    for line in lines:
        style = {"color": line.colour, "width": 2.2, "dash": DASHES[used[line.colour] % len(DASHES)]}
        used[line.colour] += 1
        if len(line.curves) > 1:
            grid, values = on_grid([xs for xs, _ in line.curves], [ys for _, ys in line.curves])
            low, high = bootstrap_interval(values)
            figure.add_scatter(
                x=np.concatenate([grid, grid[::-1]]),
                y=np.concatenate([low, high[::-1]]),
                fill="toself",
                fillcolor=line.colour,
                opacity=0.18,
                line={"width": 0},
                showlegend=False,
                hoverinfo="skip",
            )
            xs, ys, name = grid, interquartile_mean(values), f"{escape(line.title)} (n = {len(values)})"
        else:
            xs, ys, name = *line.curves[0], escape(line.title)
        rows = thin(len(xs))
        figure.add_scatter(
            x=xs[rows], y=ys[rows], mode="lines", name=name, line=style, hovertemplate=f"{name}<br>%{{y:.4~g}}<extra></extra>"
        )
    return _framed(figure, title, x, title)


def parallel_chart(table: pd.DataFrame, result: str) -> go.Figure:
    """Parallel coordinates: a vertical axis a setting, a line a run, coloured by its result."""
    dimensions = []
    for column in table.columns:
        values = table[column]
        if pd.api.types.is_numeric_dtype(values):
            dimensions.append({"label": column, "values": values.astype(float)})
        else:
            codes, names = pd.factorize(values)
            dimensions.append({"label": column, "values": codes, "tickvals": np.arange(len(names)), "ticktext": list(names)})
    figure = go.Figure(
        go.Parcoords(dimensions=dimensions, line={"color": table[result], "colorscale": "Cividis", "showscale": True})
    )
    figure.update_layout(title="Settings and results", margin={"l": 70, "r": 40, "t": 70, "b": 30}, height=360)
    return figure


def validation_chart(env_steps: Sequence[int], growth: Sequence[float], hold: float) -> go.Figure:
    """Final equity on the validation part of each checkpoint (from its log growth), buy-and-hold, and the best checkpoint."""
    x, y = np.array(env_steps), np.exp(np.array(growth))
    figure = go.Figure()
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        name="agent",
        line={"color": BLUE, "width": 1.5},
        marker={"size": 4},
        hovertemplate="%{x:,} steps<br>equity %{y:.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=x[[0, -1]], y=[hold, hold], mode="lines", name="buy-and-hold", line={"color": ORANGE, "dash": "dot"}, hoverinfo="skip"
    )
    if np.isfinite(y).any():
        best = int(np.nanargmax(y))
        figure.add_scatter(
            x=[x[best]],
            y=[y[best]],
            mode="markers",
            name="best so far",
            marker={"symbol": "star", "size": 11, "color": GREEN},
            hovertemplate="best %{y:.3f}<extra></extra>",
        )
    return _framed(figure, "Equity on the validation part, by checkpoint", "environment steps", "final equity")
