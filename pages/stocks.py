"""Train on a price history, and be told what it would have earned where it never trained."""

from dataclasses import replace
from functools import partial

import streamlit as st

from pages.ui.backtest import show_results
from pages.ui.board import Chart, Frame, as_json, board
from pages.ui.controls import command, complaints, knobs, lesson
from pages.ui.live import run_panel
from pages.ui.presets import STOCKS
from pages.ui.prices import price_picker
from pages.ui.text import plain
from pgcore import market_charts
from pgcore.config import MOST_BEFORE_TEST, SETTINGS, TrainConfig
from pgcore.errors import BadInput
from pgcore.market.parts import Part, split, walk_forward
from pgcore.market.prices import PriceSeries

PAGE = "stocks"


def part_slider() -> None:
    """Two handles, each under its border in the history above: where training ends, and where the test begins."""
    train, validation = (st.session_state[f"{PAGE}.{name}"] for name in ("train_share", "validation_share"))
    st.session_state[f"{PAGE}.parts"] = (round(100 * train), round(100 * (train + validation)))
    st.slider(
        "Train until · test from",
        0,
        100,
        key=f"{PAGE}.parts",
        format="%d%%",
        on_change=_cut,
        label_visibility="collapsed",
        help="Left of the first handle the agent trains; between the two its checkpoint is chosen; the rest is the test.",
    )


def _cut() -> None:
    """Take the shares from the handles, as near as they may be."""
    first, second = (share / 100 for share in st.session_state[f"{PAGE}.parts"])
    train = _within("train_share", first)
    st.session_state[f"{PAGE}.train_share"] = train
    st.session_state[f"{PAGE}.validation_share"] = _within("validation_share", round(min(second, MOST_BEFORE_TEST) - train, 2))


def _within(name: str, share: float) -> float:
    setting = SETTINGS[name]
    assert setting.low is not None
    assert setting.high is not None
    return min(max(share, setting.low), setting.high)


def parts_of(prices: PriceSeries, config: TrainConfig) -> list[Part]:
    """The parts of a history as its chart shows them: of a walk-forward those of its first fold, and every test piece."""
    first, *later = walk_forward(config, prices, config.folds, config.anchored) if config.folds else [split(config, prices)]
    train, *rest = first.parts
    if later:
        rest[-1] = replace(rest[-1], name=f"{config.folds} tests")
    whole = replace(train, start=0)  # what its first mean is made of belongs to it
    return [whole, *rest, *(replace(fold.test, name="") for fold in later)]


def show_prices(prices: PriceSeries, config: TrainConfig) -> bool:
    """The history with its moving average and its parts; False (with a sentence) where it cannot be trained on."""
    parts = []
    try:
        parts = parts_of(prices, config)
    except BadInput as error:
        st.error(plain(error))
    identity = f"price-{st.session_state[f'{PAGE}.prices']}"

    def look(at: str) -> Frame:
        window = SETTINGS["window"].check(SETTINGS["window"].parse(at))
        alt = f"Closing prices of {prices.name} with their moving average over {window} rows."
        return Frame([Chart(as_json(market_charts.price_chart(prices, window, parts)), identity, alt, height=230)])

    window = config.window
    board(look(str(window)), key=f"{PAGE}.price", look=look, slider=f"{PAGE}.window", at=window)
    part_slider()
    return bool(parts)


with st.sidebar:
    config = knobs(PAGE, ("stocks",), STOCKS, fixed=("prices", "train_share", "validation_share"))
complaints(PAGE)
lesson_place = st.container()
prices = price_picker(PAGE)
if config is not None and prices is not None:
    config = config.replace(prices=st.session_state[f"{PAGE}.prices"])
    with st.sidebar:
        command(PAGE, config)
    can_train = show_prices(prices, config)
else:
    can_train = False
run = run_panel(PAGE, config, partial(show_results, PAGE), can_train=can_train)
with lesson_place:
    lesson(PAGE, STOCKS, run)
