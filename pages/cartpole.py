"""Train on CartPole and watch."""

import streamlit as st

from pages.ui.controls import complaints, knobs
from pages.ui.live import run_panel
from pages.ui.server import store
from pgcore.runs.run import Run

PAGE = "cartpole"


def show_result(run: Run) -> None:
    result = store().evaluation(run.id, "final")
    if result is None:
        return
    greedy, sampled = result["greedy"], result["sampled"]
    st.subheader("What it learned")
    st.markdown(
        f"On **{result['episodes']} fresh episodes** from seeds it never saw, always taking its most probable action, it earns"
        f" **{greedy['mean']:.1f}** on average (worst {greedy['min']:.0f}, best {greedy['max']:.0f}); drawing actions from its"
        f" policy, **{sampled['mean']:.1f}** ± {sampled['std']:.1f}."
    )


with st.sidebar:
    config = knobs(PAGE, "CartPole-v1")
    window = st.slider(
        "Moving-average window (episodes)",
        1,
        500,
        50,
        key=f"{PAGE}.chart_window",
        persist_state="session",
        help="How many episodes the line in the chart averages.",
    )
complaints(PAGE)
run_panel(PAGE, config, window, show_result)
