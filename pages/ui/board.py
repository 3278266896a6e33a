"""What changes as a run goes on or a slider moves, as one element: a line and a bar, a notice, numbers, plotly charts that
are updated in place, a table.

Zoom and node of a chart survive new data, where st.plotly_chart would mount it anew. And the element asks for new data itself
(see `stream`): no script runs, and nothing else of the page is drawn again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

import plotly.graph_objects as go
import streamlit as st
from plotly.io.json import to_json_plotly

from pages.ui.stream import is_asked, stream
from pgcore.runs.packing import Records

# For a slider that a board follows: the board is drawn anew first, by the cores that the script would want.
HEAD_START: Mapping[str, Any] = {"on_change": time.sleep, "args": (0.1,)}

_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "board",
    **{part: (_HERE / f"board.{part}").read_text(encoding="utf-8") for part in ("html", "css", "js")},
    isolate_styles=False,
)


@dataclass(frozen=True)
class Chart:
    """A figure as JSON (see `drawn`). `identity` says what is shown: while it stays, so does the viewer's zoom.

    One that is `growing` gets axes with room to grow into, so that most updates move its lines only.
    """

    figure: str
    identity: str
    alt: str
    height: int = 300
    growing: bool = False


@dataclass(frozen=True)
class Number:
    """A number under its label; `help` is shown on demand."""

    label: str
    value: str
    help: str = ""


@dataclass(frozen=True)
class Notice:
    """A sentence that stands out, as good news or as a doubt, and what goes with it in small print."""

    text: str
    is_good: bool
    more: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Numbers side by side, as text: the columns (group, name), the rows (name, what it means, cells), and a word on all."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, str, Sequence[str]]]
    caption: str


@dataclass(frozen=True)
class Frame:
    """What a board shows: how far a run is (a line and the share of its budget), a notice, numbers, charts, and a table.

    `turn` names what the page around depends on: where a look brings another, the page is run again. `wait` is in how many
    seconds to look again, None for never.
    """

    charts: Sequence[Chart]
    said: str = ""
    share: float | None = None
    notice: Notice | None = None
    numbers: Sequence[Number] = ()
    table: Table | None = None
    turn: str = ""
    wait: float | None = None


Look = Callable[[str], Frame]


def board(
    frame: Frame,
    *,
    key: str,
    columns: str = "1fr",
    look: Look | None = None,
    slider: str = "",
    at: object = "",
    button: str = "",
) -> None:
    """Show a frame, its charts side by side where there is room, and go on with what `look` says, until that waits no more.

    `look` is called outside the script: it must neither ask for the session nor draw anything. It is told, in text, where the
    `slider` of that key stands, as soon as it moves and before the script is: `at` is where it stood for this frame. As
    soon as the `button` of that key is pressed, the board asks for the look that takes the place of this one: see `look_at`.

    A board that has asked before is not given figures: it has them from there, or asks.
    """
    ticket = look_at(key, look) if look is not None else None
    data = {
        "frame": _data(frame, [_version(chart) for chart in frame.charts] if ticket and is_asked(ticket) else ()),
        "columns": columns,
        "stream": ticket,
        "slider": _css(slider),
        "at": str(at),
        "button": _css(button),
    }
    _component(key=key, data=data, on_turn_change=_turned)


def look_at(key: str, look: Look) -> str:
    """From now on the board of this key is told what `look` says: a callback can begin before the script comes to the board."""
    return stream(key, lambda have, now: _data(look(now), have))


def _css(key: str) -> str:
    """A key as Streamlit spells it in the class of its widget."""
    return key.replace(".", "-")


def _turned() -> None:
    """That there is a callback makes the page run again."""


def _data(frame: Frame, have: Sequence[str] = ()) -> dict[str, Any]:
    """A frame for the component, without the figures it has."""
    return {
        "said": frame.said,
        "share": frame.share,
        "numbers": [[number.label, number.value, number.help] for number in frame.numbers],
        "charts": [_chart_data(chart, have) for chart in frame.charts],
        "notice": asdict(frame.notice) if frame.notice is not None else None,
        "table": asdict(frame.table) if frame.table is not None else None,
        "turn": frame.turn,
        "wait": frame.wait,
    }


def _version(chart: Chart) -> str:
    return f"{crc32(chart.figure.encode()):x}"


def _chart_data(chart: Chart, have: Sequence[str]) -> dict[str, Any]:
    version = _version(chart)
    return {
        "version": version,
        "figure": None if version in have else chart.figure,
        "identity": chart.identity,
        "alt": chart.alt,
        "height": chart.height,
        "growing": chart.growing,
    }


_drawings: WeakKeyDictionary[Records, dict[Callable[..., go.Figure], tuple[Any, str]]] = WeakKeyDictionary()


def drawn(chart: Callable[..., go.Figure], of: Records | tuple[Records, ...], *settings: Any) -> str:
    """The figure `chart(of, *settings)` for a Chart, worked out once for all ticks and tabs that show it.

    Records count as the same while they are the same object, as `Tail.read` returns it until there are new ones; then the
    drawing is forgotten with them.
    """
    first, *others = of if isinstance(of, tuple) else (of,)
    kept, asked = _drawings.setdefault(first, {}), (others, settings)
    found = kept.get(chart)
    if found is None or found[0] != asked:
        found = kept[chart] = asked, as_json(chart(of, *settings))
    return found[1]


def as_json(figure: go.Figure) -> str:
    """The figure for a Chart, in the colours of the page.

    Where a trace has the x of an earlier one, `{"of": its index}` stands for it: half of what there would be to send.
    """
    drawn = figure.update_layout(template="none").to_dict()
    first: dict[str, int] = {}
    for i, trace in enumerate(drawn["data"]):
        if isinstance(x := trace.get("x"), dict) and first.setdefault(x["bdata"], i) < i:
            trace["x"] = {"of": first[x["bdata"]]}
    return to_json_plotly(drawn)


def still_chart(figure: go.Figure, *, key: str, alt: str, height: int) -> None:
    """Show a figure that changes only when the person changes something. Nothing of it can be sent anywhere else."""
    figure.update_layout(height=height)  # or it is drawn 450 pixels high at first, in a box that scrolls
    image = {"filename": key, "scale": 2}
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["sendChartToCloud"], "toImageButtonOptions": image}
    st.plotly_chart(figure, key=key, height=height, alt=alt, config=config)
