"""The frame of every page: title, icon, menu."""

from pathlib import Path

import streamlit as st

from pages.ui import login
from pages.ui.problems import tell, told

st.set_page_config(page_title="Policy Gradient Lab", page_icon=str(Path(__file__).parent / "ui" / "icon.png"), layout="wide")

# What the theme cannot say: text on the accent colour, and in it, has to stand out enough to be read by everybody.
st.html("""<style>
[role="radio"][aria-checked="true"] p, [aria-pressed="true"] p { color: light-dark(#00507f, #9bd3fa) !important; }
button[kind="primary"]:not(:disabled) :is(p, kbd, span) { color: light-dark(#ffffff, #06121b) !important; }
kbd { opacity: 1 !important; }
/* The handles of the parts stand under their borders in the chart above, whose margins these are, less the track's own. */
.st-key-stocks-parts { padding: 0 12px 0 44px; }
/* An equation is a hair wider than its box, until its fonts are there more so: a place to scroll that no key reaches. */
.katex-display { padding: 6px 4px; }
@media (min-width: 1000px) { .katex-display.katex-display { overflow: visible; } }
@media (max-width: 640px) {
  .katex-display > .katex { white-space: normal; font-size: 1.05em; }
  .katex-display > .katex > .katex-html > .base { margin: 2px 0; }
}
</style>""")

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
