"""What a stocks run would have earned where it never trained, and whether that could be luck."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.board import still_chart
from pages.ui.login import who
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
from pgcore.runs.judgement import compared_on, compared_walk, judge, repriced
from pgcore.runs.run import Run
from pgcore.runs.store import resolve_prices

OPPONENTS = ("buy_and_hold", "moving_average_rule", "cash")
HIGHEST_COST = 100.0


@dataclass(frozen=True, eq=False)
class Priced:
    """A run's recorded decisions at one trading cost: its test part, the interval of the Sharpe ratio less that of
    buy-and-hold there, and of every part the curves and the numbers of each strategy."""

    test: Comparison
    interval: tuple[float, float]
    curves: Mapping[str, dict[str, Any]]
    numbers: Mapping[str, dict[str, dict[str, float]]]


def show_results(page: str, run: Run, runs: list[Run]) -> None:
    """The joined result of a walk-forward once all its folds are over, and that of the run that is shown."""
    folds = sorted(
        (each for each in runs if each.config.folds and each.config.seed == run.config.seed), key=lambda each: each.config.fold
    )
    results = [result for each in folds if (result := store().evaluation(each.id, "final")) is not None]
    walk_place = st.container()
    cost = show_backtest(page, run)
    if folds and len(results) == run.config.folds:
        with walk_place:
            _walk(page, folds, results, run.config.cost_bps if cost is None else cost)


def _walk(page: str, folds: list[Run], results: list[dict[str, Any]], cost: float) -> None:
    st.subheader(f"Walk-forward: {len(folds)} test pieces, one curve")
    compared = compared_walk(store(), [repriced(fold, cost) for fold in folds], results)
    _say(judge(store(), folds[0], compared))
    st.caption(f"At a trading cost of {cost:g} bp, as set below.")
    still_chart(
        market_charts.equity_chart({"test": compared.curves()}),
        key=f"{page}.walk",
        height=380,
        alt="Equity over all test pieces of the walk-forward, beside buy-and-hold and the others.",
    )


def show_backtest(page: str, run: Run) -> float | None:
    """The result of a run that has ended: verdict first, then curves, trades, numbers and the tools to doubt them.

    Returns the trading cost it is shown at, in basis points, or None where there is no result.
    """
    result = store().evaluation(run.id, "final")
    if result is None:
        if run.updates:
            st.info("There is no evaluation of this run: it ended before it was judged. Resume it, or train again.")
        return None
    st.subheader("What it would have earned")
    verdict_place = st.container()
    cost = st.slider(
        "Trading cost (bp)",
        0.0,
        max(HIGHEST_COST, float(run.config.cost_bps)),
        float(run.config.cost_bps),
        0.5,
        key=f"{page}.recost.{run.id}",
        help="Prices the recorded trades of every part anew, at once. The agent is not retrained.",
    )
    priced = _priced(who(), run.id, run.updates, cost)
    known = _truth(repriced(run, cost))
    with verdict_place:
        _verdict(run, result, priced)
    truth = {} if known is None else {"truth": known.equity[priced.test.shown]}
    still_chart(
        market_charts.equity_chart({**priced.curves, "test": priced.curves["test"] | truth}),
        key=f"{page}.equity",
        height=420,
        alt="Equity of the agent, buy-and-hold, the moving-average rule, cash and a band of random policies on each part.",
    )
    _trades(page, result)
    _numbers(priced, known, cost)
    with st.expander("What it looks at, and whether it could have seen the future", icon=":material/visibility:"):
        _explain(page, run, result)
    _downloads(page, run, priced.test)
    return cost


@lru_cache(maxsize=4)
def _priced(owner: str, run_id: str, updates: int, cost: float) -> Priced:  # noqa: ARG001 - parts of the key
    run, result = store().run(run_id), store().evaluation(run_id, "final")
    assert result is not None
    at_cost = repriced(run, cost)
    curves, numbers = {}, {}
    for name in result["curves"]:
        compared = compared_on(store(), at_cost, result, name)
        curves[name] = compared.curves()
        numbers[name] = {strategy: measure(getattr(compared, strategy)) for strategy in ("agent", *OPPONENTS)}
    assert name == "test"  # the last part there is
    return Priced(compared, compared.sharpe_interval(run.config.seed), curves, numbers)


def _verdict(run: Run, result: dict[str, Any], priced: Priced) -> None:
    _say(judge(store(), run, priced.test))
    agent, hold = (priced.numbers["test"][strategy]["sharpe"] for strategy in ("agent", "buy_and_hold"))
    difference, low, high = (_signed(x) for x in (agent - hold, *priced.interval))
    chosen = result.get("checkpoint")
    st.caption(
        f"Sharpe ratio less that of buy-and-hold: {difference} (95 % interval {low} to {high}, stationary bootstrap)."
        f" It ends above {priced.test.beats_random():.0%} of 200 policies that trade as much at random times."
        + (f" Judged is the checkpoint of update {chosen['update']:,}, the best on the validation part." if chosen else "")
    )
    collapsed = result["parts"][-1]["collapse"]
    if collapsed:
        st.warning(plain(collapsed), icon=":material/compress:")


def _say(found: Verdict) -> None:
    show = st.success if found.skill else st.warning
    show(plain(found.text), icon=":material/verified:" if found.skill else ":material/casino:")


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−") if math.isfinite(number) else "–"


def _truth(run: Run) -> Backtest | None:
    """The best policy that knows the truth of a synthetic market, on the test part."""
    if not run.prices.startswith(PREFIX):
        return None
    config = run.config
    market = market_of(run.prices, config.cost_bps, config.allow_short)
    part = split(config, market.series).test
    return account(market.truth.positions[part.start : part.stop - 1, None].astype(float), config, market.series, part)[0]


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


def _numbers(priced: Priced, known: Backtest | None, cost: float) -> None:
    formats = {"share": "percent", "ratio": "%.2f", "count": "%d"}
    columns = {m.title: st.column_config.NumberColumn(help=m.definition, format=formats[m.unit]) for m in METRICS.values()}
    st.dataframe(_table(priced, known), column_config=columns, alt="Numbers of the agent and of what it is compared with.")
    st.caption(
        f"Net of costs of {cost:g} bp a trade; yearly numbers by the data's own frequency. Point at a column's name for its"
        " definition."
    )


def _table(priced: Priced, known: Backtest | None) -> pd.DataFrame:
    """The test part first, against everything; then the others, against buy-and-hold."""
    titles = {name: title for name, (title, _) in market_charts.STRATEGIES.items()}
    rows = {f"test · {titles[name]}": numbers for name, numbers in priced.numbers["test"].items()}
    if known is not None:
        rows[f"test · {titles['truth']}"] = measure(known)
    for part, numbers in priced.numbers.items():
        if part != "test":
            rows |= {f"{part} · {titles[name]}": numbers[name] for name in ("agent", "buy_and_hold")}
    columns = {metric.title: [row[name] for row in rows.values()] for name, metric in METRICS.items()}
    return pd.DataFrame(columns, index=list(rows)).astype(float)


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
