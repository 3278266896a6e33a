"""A plotly chart that is updated in place: zoom and node survive new data, where st.plotly_chart would mount it anew."""

from collections.abc import Callable, Hashable
from functools import lru_cache

import plotly.graph_objects as go
import streamlit as st

_JS = """
let library = null;
function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("plotly/plotly.min.js", document.baseURI);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { library = null; reject(new Error("plotly.js did not load: start the app with app.py")); };
    document.head.append(script);
  });
  return library;
}

function themed(layout, style) {
  const read = name => style.getPropertyValue(name).trim();
  const text = read("--st-text-color"), lines = read("--st-border-color");
  const out = { ...layout, template: undefined, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, color: text, family: read("--st-font") } };
  for (const name of Object.keys(out))
    if (/^[xy]axis/.test(name))
      // Measuring every label anew, to make room for it or to hide it, would take longer than all else.
      out[name] = { gridcolor: lines, zerolinecolor: lines, linecolor: lines, ticklabeloverflow: "allow", ...out[name] };
  return out;
}

const states = new WeakMap();

// Plotly draws in steps: what arrives while it draws waits, and only the newest of it is drawn.
async function draw(node, state) {
  if (state.isDrawing) return;
  state.isDrawing = true;
  try {
    const Plotly = await plotly();
    while (state.next && node.isConnected) {
      const { traces, layout, config } = state.next;
      state.next = null;
      await Plotly.react(node, traces, layout, config);
    }
  } catch (error) {
    if (!window.Plotly) node.textContent = error.message;
    else console.warn(error);
  } finally {
    state.isDrawing = false;
  }
}

export default function ({ data, parentElement }) {
  const node = parentElement.querySelector(".live-chart");
  node.setAttribute("role", "figure");
  node.setAttribute("aria-label", data.alt);
  node.style.height = data.height + "px";
  const figure = JSON.parse(data.figure);
  const state = states.get(node) ?? {};
  states.set(node, state);
  state.next = {
    traces: figure.data,
    layout: themed({ ...figure.layout, uirevision: data.identity, height: data.height }, getComputedStyle(node)),
    config: { responsive: true, displaylogo: false, toImageButtonOptions: { filename: data.identity, scale: 2 },
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "sendChartToCloud"] },
  };
  draw(node, state);
  return () => { state.next = null; if (window.Plotly && !node.isConnected) window.Plotly.purge(node); };
}
"""

_component = st.components.v2.component("live_chart", html='<div class="live-chart"></div>', js=_JS, isolate_styles=False)


def live_chart(figure: go.Figure | str, *, key: str, identity: str, alt: str, height: int = 300) -> None:
    """Show a figure and update it in place. `identity` says what is shown: while it stays, so does the viewer's zoom."""
    drawing = figure if isinstance(figure, str) else _as_json(figure)
    _component(key=key, data={"figure": drawing, "identity": identity, "alt": alt, "height": height})


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
