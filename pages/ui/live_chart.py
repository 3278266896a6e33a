"""A plotly chart that is updated in place: zoom and node survive new data, where st.plotly_chart would mount it anew."""

from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

_JS = (Path(__file__).parent / "live_chart.js").read_text(encoding="utf-8")
_component = st.components.v2.component("live_chart", html='<div class="live-chart"></div>', js=_JS, isolate_styles=False)


def live_chart(figure: go.Figure | str, *, key: str, identity: str, alt: str, height: int = 300, growing: bool = False) -> None:
    """Show a figure and update it in place. `identity` says what is shown: while it stays, so does the viewer's zoom.

    One that is `growing` gets axes with room to grow into, so that most updates move its lines only.
    """
    drawing = figure if isinstance(figure, str) else _as_json(figure)
    _component(key=key, data={"figure": drawing, "identity": identity, "alt": alt, "height": height, "growing": growing})


@lru_cache(maxsize=64)
def drawn(chart: Callable[..., go.Figure], *of: Hashable) -> str:
    """The figure `chart(*of)` for `live_chart`, worked out once for all ticks and tabs that show it.

    Records count as the same while they are the same object, as `Tail.read` returns it until there are new ones.
    """
    return _as_json(chart(*of))


def _as_json(figure: go.Figure) -> str:
    return figure.update_layout(template="none").to_json()


def still_chart(figure: go.Figure, *, key: str, alt: str, height: int | str = "content") -> None:
    """Show a figure that changes only when the person changes something. Nothing of it can be sent anywhere else."""
    image = {"filename": key, "scale": 2}
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["sendChartToCloud"], "toImageButtonOptions": image}
    st.plotly_chart(figure, key=key, height=height, alt=alt, config=config)
