"""What a stocks run would have earned where it never trained, and whether that could be luck."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.ui.live_chart import still_chart
from pages.ui.server import store
from pages.ui.text import plain
from pgcore import market_charts
from pgcore.acting import read_actor
from pgcore.market.accounts import Backtest
from pgcore.market.backtest import Comparison, account, check_look_ahead
from pgcore.market.features import FEATURES
from pgcore.market.parts import split
from pgcore.market.statistics import METRICS, measure
from pgcore.market.synthetic import PREFIX, market_of
from pgcore.market.verdict import Verdict
from pgcore.runs.judgement import compared_on, compared_walk, judge
from pgcore.runs.run import Run
from pgcore.runs.store import resolve_prices

OPPONENTS = ("buy_and_hold", "moving_average_rule", "cash")
HIGHEST_COST = 100.0


def show_results(page: str, run: Run, runs: list[Run]) -> None:
    """The joined result of a walk-forward once all its folds are over, and that of the run that is shown."""
    folds = [each for each in runs if each.config.folds and each.config.seed == run.config.seed]
    results = [store().evaluation(each.id, "final") for each in folds]
    if folds and all(result is not None for result in results):
        st.subheader(f"Walk-forward: {len(folds)} test pieces, one curve")
        compared = compared_walk(store(), folds, [result for result in results if result is not None])
        found = judge(store(), folds[0], compared)
        _say(found)
        curve = {"dates": compared.agent.dates.astype("datetime64[s]").astype(str)} | _curves(compared, None)
        still_chart(
            market_charts.equity_chart({"test": curve}),
            key=f"{page}.walk",
            height=380,
            alt="Equity over all test pieces of the walk-forward, beside buy-and-hold and the others.",
        )
    show_backtest(page, run)


def show_backtest(page: str, run: Run) -> None:
    """The result of a run that has ended: verdict first, then curves, trades, numbers and the tools to doubt them."""
    result = store().evaluation(run.id, "final")
    if result is None:
        if run.updates:
            st.info("There is no evaluation of this run: it ended before it was judged. Resume it, or train again.")
        return
    st.subheader("What it would have earned")
    verdict_place = st.container()
    cost = st.slider(
        "Trading cost (bp)",
        0.0,
        HIGHEST_COST,
        float(min(run.config.cost_bps, HIGHEST_COST)),
        0.5,
        key=f"{page}.recost.{run.id}",
        help="Prices the recorded trades of the test part anew, at once. The agent is not retrained.",
    )
    priced = run if cost == run.config.cost_bps else replace(run, config_json=run.config.replace(cost_bps=cost).to_json())
    compared = compared_on(store(), priced, result)
    with verdict_place:
        _verdict(priced, result, compared)
    known = _truth(priced)
    curves = result["curves"] | {"test": result["curves"]["test"] | _curves(compared, known)}
    still_chart(
        market_charts.equity_chart(curves),
        key=f"{page}.equity",
        height=420,
        alt="Equity of the agent, buy-and-hold, the moving-average rule, cash and a band of random policies on each part.",
    )
    _trades(page, result)
    _numbers(result, compared, known)
    with st.expander("What it looks at, and whether it could have seen the future", icon=":material/visibility:"):
        _explain(page, run, result)
    _downloads(page, run, compared)


def _verdict(run: Run, result: dict[str, Any], compared: Comparison) -> None:
    _say(judge(store(), run, compared))
    test = result["parts"][-1]
    low, difference, high = _interval(test)
    chosen = result.get("checkpoint")
    st.caption(
        f"Sharpe ratio less that of buy-and-hold: {difference} (95 % interval {low} to {high}, stationary bootstrap)."
        f" It ends above {compared.beats_random():.0%} of 200 policies that trade as much at random times."
        + (f" Judged is the checkpoint of update {chosen['update']:,}, the best on the validation part." if chosen else "")
    )
    if test["collapse"]:
        st.warning(plain(test["collapse"]), icon=":material/compress:")


def _say(found: Verdict) -> None:
    show = st.success if found.skill else st.warning
    show(plain(found.text), icon=":material/verified:" if found.skill else ":material/casino:")


def _interval(part: dict[str, Any]) -> tuple[str, str, str]:
    """Lower end, the difference itself, upper end, as text."""
    low, high = part["sharpe_minus_buy_and_hold"]
    both = (part["sharpe"], part["buy_and_hold"]["sharpe"])
    difference = None if None in both else both[0] - both[1]
    return tuple("–" if x is None else f"{x:+.2f}".replace("-", "−") for x in (low, difference, high))  # type: ignore[return-value]


def _truth(run: Run) -> Backtest | None:
    """The best policy that knows the truth of a synthetic market, on the test part."""
    if not run.prices.startswith(PREFIX):
        return None
    config = run.config
    market = market_of(run.prices, config.cost_bps, config.allow_short)
    part = split(config, market.series).test
    return account(market.truth.positions[part.start : part.stop - 1, None].astype(float), config, market.series, part)[0]


def _curves(compared: Comparison, known: Backtest | None) -> dict[str, Any]:
    curves: dict[str, Any] = {name: getattr(compared, name).equity for name in ("agent", *OPPONENTS)}
    if known is not None:
        curves["truth"] = known.equity
    return curves | {"random": {q: np.quantile(compared.random, float(q), axis=1) for q in ("0.05", "0.95")}}


def _trades(page: str, result: dict[str, Any]) -> None:
    names = [part["part"] for part in result["parts"]]
    left, right = st.columns([3, 1])
    with right:
        still_chart(
            market_charts.action_bars(result["parts"]),
            key=f"{page}.bars",
            height=260,
            alt="Share of buy, sell and hold on each part.",
        )
        part = st.segmented_control("Part shown", names, default=names[-1], required=True, key=f"{page}.part")
    with left:
        still_chart(
            market_charts.trades_chart(result["curves"][part], part),
            key=f"{page}.trades",
            height=380,
            alt=f"Price on the {part} part with the agent's buys and sells, over its action probabilities.",
        )


def _numbers(result: dict[str, Any], compared: Comparison, known: Backtest | None) -> None:
    table = _table(result, compared, known)
    formats = {"share": "percent", "ratio": "%.2f", "count": "%d"}
    columns = {m.title: st.column_config.NumberColumn(help=m.definition, format=formats[m.unit]) for m in METRICS.values()}
    st.dataframe(table, column_config=columns, alt="Numbers of the agent and of what it is compared with.")
    st.caption("Net of costs; yearly numbers by the data's own frequency. Point at a column's name for its definition.")


def _table(result: dict[str, Any], compared: Comparison, known: Backtest | None) -> pd.DataFrame:
    rows: dict[str, Any] = {"test · agent": measure(compared.agent)}
    rows |= {f"test · {market_charts.STRATEGIES[name][0]}": measure(getattr(compared, name)) for name in OPPONENTS}
    if known is not None:
        rows[f"test · {market_charts.STRATEGIES['truth'][0]}"] = measure(known)
    for part in result["parts"]:
        if part["part"] != "test":
            rows |= {f"{part['part']} · agent": part, f"{part['part']} · buy-and-hold": part["buy_and_hold"]}
    numbers = {metric.title: [row[name] for row in rows.values()] for name, metric in METRICS.items()}
    return pd.DataFrame(numbers, index=list(rows)).astype(float)


def _explain(page: str, run: Run, result: dict[str, Any]) -> None:
    about = FEATURES[run.config.features].about
    seen = result["parts"][-1]["features_by_action"]
    st.markdown("**What it sees on average on the test part when it …**")
    table = pd.DataFrame(seen).rename(columns={"buy": "buys", "sell": "sells", "hold": "holds"})
    table.insert(0, "what it means", [about.get(name, "1 long, 0 flat, −1 short.") for name in table.index])
    numbers = {name: st.column_config.NumberColumn(format="%+.2f") for name in ("buys", "sells", "holds")}
    st.dataframe(table, column_config=numbers, alt="Average features by action on the test part.")
    if st.button(
        "Check for look-ahead",
        icon=":material/history_toggle_off:",
        key=f"{page}.lookahead",
        help="Replaces all prices after a day by others and compares everything before it to the last bit.",
    ):
        policy = store().policy_bytes(run.id)
        assert policy is not None
        found = check_look_ahead(read_actor(policy), run.config, resolve_prices(store(), run.prices))
        (st.success if found.clean else st.error)(plain(found.text))


def _downloads(page: str, run: Run, compared: Comparison) -> None:
    metrics = pd.DataFrame({name: measure(getattr(compared, name)) for name in ("agent", *OPPONENTS)})
    frames = {
        "trades": lambda: compared.agent.trade_frame().to_csv(index=False),
        "equity": lambda: compared.agent.frame().to_csv(index=False),
        "metrics": lambda: metrics.to_csv(index_label="metric"),
    }
    with st.container(horizontal=True):
        for name, content in frames.items():
            st.download_button(
                f"Download {name}",
                content,
                f"{name}-{run.id[:8]}.csv",
                "text/csv",
                on_click="ignore",
                icon=":material/download:",
                key=f"{page}.download.{name}",
                help="The test part, at the cost set above.",
            )
