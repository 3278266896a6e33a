"""The frame of every page: title, icon, menu."""

from pathlib import Path

import streamlit as st

from pages.ui import login
from pages.ui.problems import tell, told

st.set_page_config(page_title="Policy Gradient Lab", page_icon=str(Path(__file__).parent / "ui" / "icon.png"), layout="wide")

page = st.navigation(
    {
        "Train": [
            st.Page(
                "cartpole.py",
                title="CartPole",
                icon=":material/sports_score:",
                default=True,
                help="Train an agent to balance a pole and watch it learn live.",
            ),
            st.Page(
                "stocks.py",
                title="Stocks",
                icon=":material/candlestick_chart:",
                help="Train an agent to buy, sell or hold on prices, then see what it would have earned.",
            ),
        ],
        "Runs": [
            st.Page(
                "runs.py",
                title="Runs",
                icon=":material/list_alt:",
                help="All runs: find, name, compare, repeat, export, delete.",
            ),
        ],
        "Understand": [
            st.Page(
                "estimators.py",
                title="Estimators",
                icon=":material/functions:",
                help="Each estimator with its equation, its idea, its source and its code.",
            ),
        ],
        **login.menu(),
    },
    position="top" if login.is_in() else "hidden",
)
st.set_page_config(page_title=f"{page.title} · Policy Gradient Lab")
st.session_state["pages"] = st.session_state.get("pages", ("", ""))[1], page.url_path  # the one before, and this one
if login.is_in():
    login.admit()
    tell()
    told(page.run)()
else:
    login.login_page()
