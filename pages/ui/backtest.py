"""What a stocks run would have earned where it never trained, and whether that could be luck."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.ui.live_chart import still_chart
from pages.ui.server import store
from pgcore import charts
from pgcore.market.backtest import Comparison
from pgcore.market.statistics import METRICS, measure
from pgcore.runs.judgement import compared_on, judge
from pgcore.runs.run import Run

OPPONENTS = ("buy_and_hold", "moving_average_rule", "cash")


def show_backtest(page: str, run: Run) -> None:
    """The result of a run that has ended: verdict first, then curves, trades, numbers and the tools to doubt them."""
    result = _result(run.id)
    if result is None:
        if run.updates:
            st.info("There is no evaluation of this run: it ended before it was judged. Resume it, or train again.")
        return
    st.subheader("What it would have earned")
    cost = st.slider(
        "Trading cost (bp)",
        0.0,
        100.0,
        float(min(run.config.cost_bps, 100.0)),
        0.5,
        key=f"{page}.recost.{run.id}",
        help="Prices the recorded trades of the test part anew, at once. The agent is not retrained.",
    )
    priced = run if cost == run.config.cost_bps else _at_cost(run, cost)
    _verdict(priced, result)
    for part in result["parts"]:
        if part["part"] == "test" and part["collapse"]:
            st.warning(part["collapse"], icon=":material/compress:")
    compared = compared_on(store(), priced, result)
    curves = result["curves"] | {"test": result["curves"]["test"] | _curves(compared)}
    still_chart(
        charts.equity_chart(curves),
        key=f"{page}.equity",
        height=420,
        alt="Equity of the agent, buy-and-hold, the moving-average rule, cash and a band of random policies on each part.",
    )
    _trades(page, result)
    _numbers(result, compared)
    _downloads(page, run, compared)


def _result(run_id: str) -> dict[str, Any] | None:
    return store().evaluation(run_id, "final")


def _at_cost(run: Run, cost_bps: float) -> Run:
    """The same run as if trading had cost something else."""
    from dataclasses import replace

    return replace(run, config_json=run.config.replace(cost_bps=cost_bps).to_json())


def _verdict(run: Run, result: dict[str, Any]) -> None:
    found = judge(store(), run, result)
    show = st.success if found.skill else st.warning
    show(found.text, icon=":material/verified:" if found.skill else ":material/casino:")


def _curves(compared: Comparison) -> dict[str, Any]:
    return {name: getattr(compared, name).equity for name in charts.STRATEGIES} | {
        "random": {q: np.quantile(compared.random, float(q), axis=1) for q in ("0.05", "0.95")}
    }


def _trades(page: str, result: dict[str, Any]) -> None:
    names = [part["part"] for part in result["parts"]]
    left, right = st.columns([3, 1])
    with right:
        still_chart(
            charts.action_bars(result["parts"]), key=f"{page}.bars", height=260, alt="Share of buy, sell and hold on each part."
        )
        part = st.segmented_control("Part shown", names, default=names[-1], required=True, key=f"{page}.part")
    with left:
        still_chart(
            charts.trades_chart(result["curves"][part], part),
            key=f"{page}.trades",
            height=380,
            alt=f"Price on the {part} part with the agent's buys and sells, over its action probabilities.",
        )


def _numbers(result: dict[str, Any], compared: Comparison) -> None:
    rows = {"test · agent": measure(compared.agent)}
    rows |= {f"test · {charts.STRATEGIES[name][0]}": measure(getattr(compared, name)) for name in OPPONENTS}
    for part in result["parts"]:
        if part["part"] != "test":
            rows[f"{part['part']} · agent"] = part
            rows[f"{part['part']} · buy-and-hold"] = part["buy_and_hold"]
    table = pd.DataFrame(
        {metric.title: [row[name] for row in rows.values()] for name, metric in METRICS.items()}, index=list(rows)
    )
    formats = {"share": "percent", "ratio": "%.2f", "count": "%d"}
    columns = {m.title: st.column_config.NumberColumn(help=m.definition, format=formats[m.unit]) for m in METRICS.values()}
    st.dataframe(table.astype(float), column_config=columns, alt="Numbers of the agent and of what it is compared with.")
    st.caption("Net of costs; yearly numbers by the data's own frequency. Point at a column's name for its definition.")


def _downloads(page: str, run: Run, compared: Comparison) -> None:
    with st.container(horizontal=True):
        for name, frame in (("trades", compared.agent.trade_frame), ("equity", compared.agent.frame)):
            st.download_button(
                f"Download {name}",
                lambda frame=frame: frame().to_csv(index=False),
                f"{name}-{run.id[:8]}.csv",
                "text/csv",
                on_click="ignore",
                icon=":material/download:",
                key=f"{page}.download.{name}",
            )
