"""Watch the agent and its policy map: a component that plays the policies of a run in the browser."""

import base64
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.ui.login import who
from pages.ui.server import store
from pgcore.acting import read_actor
from pgcore.charts import ACTION_COLOURS
from pgcore.runs.run import Run
from pgcore.tasks import find_task

TASKS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1")
WHILE_LIVE = 12
_HERE = Path(__file__).parent
_component = st.components.v2.component(
    "theatre", **{part: (_HERE / f"theatre.{part}").read_text(encoding="utf-8") for part in ("html", "css", "js")}
)


def theatre(page: str, run: Run) -> None:
    """The stage and the map for the policies that a run has kept so far; nothing before the first is there.

    An episode begins to play by itself, but not while a run is to go at full speed: that took a quarter of a core from it.
    """
    if run.task not in TASKS:
        return
    kept = store().policies(run.id)
    if not kept:
        return
    if not run.is_over:  # a few of them, evenly spread: the page is told of each as it comes
        kept = [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, WHILE_LIVE).round().astype(int))]
    packs = [_packed(run.id, update, env_steps, who(), run.process) for update, env_steps in kept]
    plays = run.is_over or run.pace is not None
    data = {
        "task": run.task,
        "actions": [(name, ACTION_COLOURS.get(name)) for name in find_task(run.task).actions],
        "identity": run.id,
        "policies": [pack for pack in packs if pack],
        "plays": plays,
    }
    _component(key=f"{page}.theatre", data=data)


@lru_cache(maxsize=2_000)
def _packed(run_id: str, update: int, env_steps: int, *_key: object) -> dict[str, Any] | None:
    """None for one that was thinned out since it was listed. Kept for whose it is, and for the process that made it: a race
    that is run again comes out otherwise."""
    data = store().policy_bytes(run_id, update)
    return None if data is None else {"update": update, "steps": env_steps, **packed(data)}


def packed(data: bytes) -> dict[str, Any]:
    """A policy as the component reads it: layer sizes, and mean, scale, W_1, b_1, … as one base64 text of float32."""
    actor = read_actor(data)
    parts = [actor.mean, actor.scale, *(array.ravel() for layer in actor.layers for array in layer)]
    return {
        "kind": actor.kind,
        "activation": actor.activation,
        "sizes": [actor.layers[0][0].shape[1], *(len(bias) for _, bias in actor.layers)],
        "numbers": base64.b64encode(np.concatenate(parts).astype("<f4").tobytes()).decode(),
    }
