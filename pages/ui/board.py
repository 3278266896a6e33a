"""What changes as a run goes on, as one element: a line, a bar, numbers, and plotly charts that are updated in place.

Zoom and node of a chart survive new data, where st.plotly_chart would mount it anew; and every element less that a tick sends
is some milliseconds less of the browser's time.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import plotly.graph_objects as go
import streamlit as st

from pgcore.runs.packing import Records

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


def board(
    charts: Sequence[Chart],
    *,
    key: str,
    said: str = "",
    share: float | None = None,
    numbers: Sequence[Number] = (),
    columns: str = "1fr",
) -> None:
    """Show how far a run is (a line and the share of its budget), its numbers, and charts side by side where there is room."""
    data = {
        "said": said,
        "share": share,
        "numbers": [[number.label, number.value, number.help] for number in numbers],
        "charts": [asdict(chart) for chart in charts],
        "columns": columns,
    }
    _component(key=key, data=data)


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
    """The figure for a Chart, in the colours of the page."""
    return figure.update_layout(template="none").to_json()


def still_chart(figure: go.Figure, *, key: str, alt: str, height: int | str = "content") -> None:
    """Show a figure that changes only when the person changes something. Nothing of it can be sent anywhere else."""
    image = {"filename": key, "scale": 2}
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["sendChartToCloud"], "toImageButtonOptions": image}
    st.plotly_chart(figure, key=key, height=height, alt=alt, config=config)
