"""How the policies of a stocks run would have done on the validation part, as it learns."""

import math
import time
from functools import lru_cache

import streamlit as st

from pages.ui.board import Chart, Frame, as_json, board
from pages.ui.login import who
from pages.ui.server import store
from pgcore import market_charts
from pgcore.acting import read_actor
from pgcore.market.backtest import growth
from pgcore.market.parts import split
from pgcore.runs.run import Run
from pgcore.runs.store import resolve_prices

LONGEST_LOOK_S = 0.3
REST_S = 0.1


def validation_chart(page: str, run: Run) -> None:
    """Growth on the validation part by checkpoint, beside buy-and-hold; the checkpoint to be chosen is marked.

    A result says what it was chosen among; else they are played. Where that takes long the chart shows those that were, and the
    board goes on by itself as long as the page is open, or until it is cancelled.
    """
    mine = store()
    prices, kept = resolve_prices(mine, run.prices), dict(mine.policies(run.id))
    part = split(run.config, prices).validation
    if len(part) < 2 or not kept:
        return
    hold = float(prices.close[part.stop - 1] / prices.close[part.start])
    scores = _scores(run.id, who(), run.process)
    if run.is_over:
        for each in (mine.evaluation(run.id, "final") or {}).get("checkpoint", {}).get("among", []):
            score = each["validation_growth"]
            kept[each["update"]] = each["env_steps"]
            scores[each["update"]] = -math.inf if score is None else score  # ruin, after a file that cannot say so
    steps = sorted(kept.items())
    given_up = f"{page}.validation.given_up"
    is_given_up = st.session_state.get(given_up) == run.id and bool(scores)

    def look(_: str = "") -> Frame:
        enough_at = time.monotonic() + LONGEST_LOOK_S
        for update, _env_steps in steps:
            if update not in scores and not is_given_up:
                data = mine.policy_bytes(run.id, update)
                scores[update] = math.nan if data is None else growth(read_actor(data), run.config, prices, part)
                if time.monotonic() > enough_at:
                    break
        played = [(env_steps, scores[update]) for update, env_steps in steps if update in scores]
        figure = as_json(market_charts.validation_chart(*zip(*played, strict=True), hold))
        alt = "Final equity on the validation part of each checkpoint, beside buy-and-hold."
        chart = Chart(figure, f"validation-{run.id}", alt, height=200)
        if len(played) == len(steps):
            return Frame([chart])
        said = f"{len(played)} of {len(steps)} checkpoints were played on the validation part."
        wait = None if is_given_up else REST_S
        return Frame([chart], said=said, share=len(played) / len(steps), turn="unfinished", wait=wait)

    frame = look()
    board(frame, key=f"{page}.validation", look=look)
    if frame.turn and is_given_up:
        st.button("Play the rest", icon=":material/play_arrow:", on_click=st.session_state.pop, args=(given_up,))
    elif frame.turn:
        st.button("Cancel", icon=":material/close:", on_click=st.session_state.update, args=({given_up: run.id},))


@lru_cache(maxsize=200)
def _scores(_run_id: str, *_key: object) -> dict[int, float]:
    """What is known, by update, for whose it is, and for the process that made it: a race run again comes out otherwise."""
    return {}
