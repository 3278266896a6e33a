"""Train on a price history, and be told what it would have earned where it never trained."""

import streamlit as st

from pages.ui.backtest import show_backtest
from pages.ui.controls import complaints, knobs
from pages.ui.live import run_panel
from pages.ui.prices import price_picker
from pgcore import charts
from pgcore.errors import BadInput
from pgcore.market.parts import split
from pgcore.runs.run import Run

PAGE = "stocks"


def show_result(run: Run) -> None:
    show_backtest(PAGE, run)


with st.sidebar:
    config = knobs(PAGE, "stocks", fixed=("prices",))
    smoothing = 50
complaints(PAGE)
prices = price_picker(PAGE)
if prices is not None and config is not None:
    config = config.replace(prices=st.session_state[f"{PAGE}.prices"])
    try:
        borders = {part.name: (part.start, part.stop - 1) for part in split(config, prices).parts}
    except BadInput as error:
        st.error(str(error))
        config, borders = None, {}
    window = st.session_state[f"{PAGE}.window"]
    st.plotly_chart(
        charts.price_chart(prices, window, borders),
        key=f"{PAGE}.price",
        alt=f"Closing prices of {prices.name} with their moving average over {window} rows.",
    )
run_panel(PAGE, config, smoothing, show_result)
