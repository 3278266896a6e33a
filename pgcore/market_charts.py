"""Charts of prices and of what was traded on them: data in, plotly figure out.

Names that people gave are escaped: plotly reads some HTML in texts.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain, cycle
from types import MappingProxyType
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from pgcore.charts import ACTION_COLOURS, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, figure_of, frame, framed, thin
from pgcore.market.accounts import Backtest
from pgcore.market.backtest import Comparison
from pgcore.market.parts import Part
from pgcore.market.prices import PriceSeries, moving_average
from pgcore.market.statistics import drawdown

SHADES = (0.04, 0.1, 0.16)

STRATEGIES: Mapping[str, tuple[str, str]] = {
    "agent": ("agent", BLUE),
    "buy_and_hold": ("buy-and-hold", ORANGE),
    "moving_average_rule": ("moving-average rule", PURPLE),
    "cash": ("cash", GREY),
    "truth": ("knows the truth", SKY),
}


def price_chart(prices: PriceSeries, window: int, parts: Sequence[Part], *, height: int = 260) -> go.Figure:
    """Closes and their moving average, with each part of the history shaded and named."""
    rows = thin(len(prices))
    line = {"type": "scatter", "mode": "lines", "x": _milliseconds(prices.dates[rows])}
    average = moving_average(prices.close, window)[rows]
    traces = [
        line | {"y": prices.close[rows], "name": "close", "line": {"color": BLUE, "width": 1.2}},
        line | {"y": average, "name": f"mean of {window} before", "line": {"color": ORANGE, "width": 1.5}},
    ]
    layout = frame(escape(prices.name), "", "price") | {"height": height, "hovermode": "x unified"}
    layout["xaxis"] |= {"type": "date", "hoverformat": _moment(prices.dates)}
    layout["hoverlabel"] = {"namelength": -1}
    layout |= _shades([(part.name, *prices.dates[[part.start, part.stop - 1]].astype(str)) for part in parts])
    return figure_of(traces, layout)


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
    margin = 0.02 * (x[-1] - x[0]) or 1.0
    framed(figure, "Equity on the validation part, by checkpoint", "environment steps", "final equity")
    return figure.update_xaxes(range=[x[0] - margin, x[-1] + margin])  # no mark is cut off


def equity_chart(parts: Mapping[str, Comparison], truth: Mapping[str, Backtest] = MappingProxyType({})) -> go.Figure:
    """Equity of the agent and of what it is compared with, from 1 at the start of each part, and its drawdown below.

    A line is broken between two parts. The band holds the middle 90 % of random policies that trade as much; `truth` is the
    account, on some of the parts, of who knows how the market is made.
    """
    shown = {part: compared.shown[thin(len(compared.shown))] for part, compared in parts.items()}
    dates = {part: _milliseconds(parts[part].agent.dates[rows]) for part, rows in shown.items()}
    bands = {part: compared.band((0.05, 0.95))[:, thin(len(compared.shown))] for part, compared in parts.items()}
    falls = {part: drawdown(compared.agent.returns)[shown[part]] for part, compared in parts.items()}
    random: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": _broken([np.append(days, days[::-1]) for days in dates.values()]),
        "y": _broken([np.append(low, high[::-1]) for low, high in bands.values()]).astype(np.float32),
        "fill": "toself",
        "fillcolor": "rgba(140,140,140,0.22)",
        "line": {"width": 0},
        "name": "random, middle 90 %",
        "hoverinfo": "skip",
    }
    traces = [random]
    for name, (title, colour) in STRATEGIES.items():
        accounts = truth if name == "truth" else {part: getattr(compared, name) for part, compared in parts.items()}
        if accounts:
            equity = _broken([account.equity[shown[part]] for part, account in accounts.items()])
            line: dict[str, Any] = {"x": _broken([dates[part] for part in accounts]), "y": equity.astype(np.float32)}
            style = {"color": colour, "width": 2.2 if name == "agent" else 1.2, "dash": "dot" if name == "cash" else "solid"}
            line |= {"name": title, "line": style, "hovertemplate": f"{title} %{{y:.3f}}<extra></extra>"}
            traces.append({"type": "scatter", "mode": "lines"} | line)
    fall = {"x": _broken(list(dates.values())), "y": _broken(list(falls.values())).astype(np.float32), "yaxis": "y2"}
    fall |= {"name": "drawdown", "showlegend": False, "hovertemplate": "drawdown %{y:.1%}<extra></extra>", "fill": "tozeroy"}
    traces.append({"type": "scatter", "mode": "lines", "line": {"color": VERMILION, "width": 1}} | fall)
    layout = frame("Equity, net of costs", "", "equity (start = 1)") | {"hovermode": "x unified"}
    moment = _moment(np.concatenate([compared.agent.dates for compared in parts.values()]))
    layout["xaxis"] |= {"type": "date", "anchor": "y2", "hoverformat": moment}
    layout["yaxis"] |= {"type": "log", "domain": [0.32, 1.0]}
    layout["legend"] |= {"y": -0.12, "yanchor": "top"}  # below: where it is narrow it takes three lines
    layout["yaxis2"] = {"title": {"text": "drawdown"}, "tickformat": ".0%", "domain": [0.0, 0.26]}
    layout |= _shades([(part, *compared.agent.dates[[0, -1]].astype(str)) for part, compared in parts.items()])
    return figure_of(traces, layout)


def _broken(pieces: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """One after the other with a gap between two: one line where there would be several, which plotly draws in less time."""
    return np.concatenate([piece for each in pieces for piece in (each, [np.nan])][:-1])


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
    framed(figure, f"What it did on the {part} part", "", "")
    figure.update_layout(hovermode="x unified", legend={"y": -0.1, "yanchor": "top"})  # it takes lines where it is narrow
    figure.update_xaxes(hoverformat=_moment(dates))
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
    framed(figure, "Actions", "", "")
    figure.update_layout(barmode="stack", margin={"l": 70, "r": 25, "t": 40, "b": 70})
    figure.update_layout(legend={"y": -0.3, "yanchor": "top", "x": 0.5, "xanchor": "center", "traceorder": "normal"})
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(autorange="reversed")
    return figure


def _moment(dates: NDArray[np.datetime64]) -> str:
    """How a date is told where one points at it: with the time of day where the history has any."""
    return "%d %b %Y" if (dates.astype("datetime64[D]") == dates).all() else "%d %b %Y %H:%M"


def _milliseconds(dates: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Since 1970, as plotly takes them on an axis of dates: a third as long as dates in words."""
    return dates.astype("datetime64[ms]").astype(np.float64)


def _shades(parts: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """A shade for each part of a history (name, first and last date), unlike those beside it, and its name: a layout."""
    shapes, names = [], []
    for shade, (name, first, last) in zip(chain(SHADES, cycle((0.26, SHADES[-1]))), parts, strict=False):
        area = {"type": "rect", "xref": "x", "yref": "paper", "x0": first, "x1": last, "y0": 0, "y1": 1}
        shapes.append(area | {"fillcolor": GREY, "opacity": shade, "line": {"width": 0}, "layer": "below"})
        place = {"xref": "x", "yref": "paper", "x": first, "y": 1, "xanchor": "left", "yanchor": "top"}
        names.append(place | {"text": name, "showarrow": False, "font": {"size": 12}})
    return {"shapes": shapes, "annotations": names}
