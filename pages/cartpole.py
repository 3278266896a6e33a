"""Train on CartPole, or another classic task, and watch."""

from typing import Any

import streamlit as st

from pages.ui.controls import command, complaints, knobs, lesson
from pages.ui.live import run_panel
from pages.ui.presets import CARTPOLE
from pages.ui.theatre import TASKS
from pgcore.runs.run import Run

PAGE = "cartpole"


def show_result(_: Run, result: dict[str, Any], __: list[Run]) -> None:
    greedy, sampled = result["greedy"], result["sampled"]
    st.markdown(
        f"**What it learned.** On {result['episodes']:,} fresh episodes from seeds it never saw, always taking its most"
        f" probable action, it earns **{greedy['mean']:.1f}** on average (worst {greedy['min']:.0f}, best {greedy['max']:.0f});"
        f" drawing actions from its policy, **{sampled['mean']:.1f}** ± {sampled['std']:.1f}."
    )


with st.sidebar:
    config = knobs(PAGE, TASKS, CARTPOLE)
    if config is not None:
        command(PAGE, config)
complaints(PAGE)
lesson_place = st.container()
run = run_panel(PAGE, config, show_result)
with lesson_place:
    lesson(PAGE, CARTPOLE, run)
