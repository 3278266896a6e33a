"""What a stocks run would have earned where it never trained, and whether that could be luck."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.board import HEAD_START, Chart, Frame, Notice, Number, Table, as_json, board, still_chart
from pages.ui.problems import readable
from pages.ui.server import store
from pages.ui.text import plain
from pages.ui.waiting import worked_out
from pgcore import market_charts
from pgcore.acting import read_actor
from pgcore.config import SETTINGS
from pgcore.market.accounts import Backtest
from pgcore.market.backtest import Comparison, LookAhead, account, check_look_ahead
from pgcore.market.features import FEATURES
from pgcore.market.parts import split
from pgcore.market.statistics import METRICS, measure
from pgcore.market.synthetic import PREFIX, market_of
from pgcore.runs.judgement import compared_on, compared_walk, judge, repriced
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore, resolve_prices

STAKES = ("agent", "buy_and_hold")
OPPONENTS = ("buy_and_hold", "moving_average_rule", "cash")
HIGHEST_COST = 100.0
ROWS_SHOWN = 1_000  # of all parts together, evenly spread: about as many as a chart has columns


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a run that is over, or all those of a walk-forward, decided on their prices, to be priced at any trading cost."""

    store: RunStore
    runs: Sequence[Run]
    results: Sequence[dict[str, Any]]
    locks: dict[float, threading.Lock] = field(default_factory=dict)

    @property
    def run(self) -> Run:
        return self.runs[0]

    def alone(self, cost: float) -> threading.Lock:
        """Held while a cost is worked out: a chart and the script ask for the same one at once."""
        return self.locks.setdefault(cost, threading.Lock())


def show_results(page: str, run: Run, result: dict[str, Any], runs: list[Run]) -> None:
    """The result of a run that has ended: verdict first, then curves, numbers, trades and the tools to doubt them.

    Above it the joined result of a walk-forward, once all its folds are over.
    """
    folds = sorted(
        (each for each in runs if each.config.folds and each.config.seed == run.config.seed), key=lambda each: each.config.fold
    )
    recorded, walked = _recorded(f"{page}.recorded", [run], [result]), _walked(page, folds)
    given_up = f"{page}.given_up"
    if st.session_state.get(given_up) == run.id:
        st.info("What it would have earned was not worked out.", icon=":material/info:")
        st.button("Work it out", icon=":material/calculate:", on_click=st.session_state.pop, args=(given_up,))
    elif _work_out(f"{page}.work", recorded, walked, run.config.cost_bps, partial(st.session_state.update, {given_up: run.id})):
        st.fragment(readable(_show_at_cost, run.id))(page, recorded, walked)
    _trades(page, result)
    with st.expander("What it looks at, and whether it could have seen the future", icon=":material/visibility:"):
        _explain(page, run, result)


def _show_at_cost(page: str, recorded: Recorded, walked: Recorded | None) -> None:
    """What depends on the trading cost."""
    run = recorded.run
    walk_place = st.container()
    st.subheader("What it would have earned")
    slider, own = f"{page}.recost.{run.id}", float(run.config.cost_bps)
    st.session_state.setdefault(slider, own)
    cost = st.slider(
        "Trading cost (bp)",
        0.0,
        max(HIGHEST_COST, own),
        step=0.5,
        key=slider,
        help="Prices the recorded trades of every part anew, at once. The agent is not retrained.",
        **HEAD_START,
    )

    shown = f"{slider}.shown"
    before = st.session_state.get(shown, own)
    if not _work_out(f"{page}.recost", recorded, walked, cost, partial(st.session_state.update, {slider: before})):
        cost = before
    st.session_state[shown] = cost

    def show(what: Recorded, at_cost: Callable[[Recorded, float], Frame], key: str) -> None:
        def look(at: str) -> Frame:
            return at_cost(what, SETTINGS["cost_bps"].check(SETTINGS["cost_bps"].parse(at)))

        board(look(str(cost)), key=key, look=look, slider=slider, at=cost)

    show(recorded, _at_cost, f"{page}.equity")
    if walked is not None:
        with walk_place:
            st.subheader(f"Walk-forward: {len(walked.runs)} test pieces, one curve")
            show(walked, _walk_at_cost, f"{page}.walk")
    _downloads(page, run, _priced(recorded, cost)["test"])


def _work_out(key: str, recorded: Recorded, walked: Recorded | None, cost: float, cancel: Callable[[], object]) -> bool:
    """Whether all that depends on a trading cost is known; where not, the page says so and is run again once it is."""

    def work() -> bool:
        _at_cost(recorded, cost)
        if walked is not None:
            _walk_at_cost(walked, cost)
        return True

    said = f"Working out what it would have earned at {cost:g} bp."
    return worked_out(key, (recorded, walked, cost), work, said, cancel) is not None


def _walked(page: str, folds: list[Run]) -> Recorded | None:
    """All folds of a walk-forward, once there are all results."""
    results = [result for each in folds if (result := store().evaluation(each.id, "final")) is not None]
    if not folds or len(results) < folds[0].config.folds:
        return None
    return _recorded(f"{page}.walked", folds, results)


def _recorded(key: str, runs: list[Run], results: list[dict[str, Any]]) -> Recorded:
    """The one that this session has, for which costs were worked out, as long as it is the same."""
    known = st.session_state.get(key)
    if known is None or (known.runs, known.results) != (runs, results):
        known = st.session_state[key] = Recorded(store(), runs, results)
    return known


def _priced(recorded: Recorded, cost: float) -> Mapping[str, Comparison]:
    with recorded.alone(cost):
        return _price(recorded, cost)


def _at_cost(recorded: Recorded, cost: float) -> Frame:
    with recorded.alone(cost):
        drawn, test = _draw(recorded, cost), _price(recorded, cost)["test"]
        _sharpe_difference(recorded, cost)
    return replace(drawn, notice=_verdict(recorded, test, cost))  # which counts what has been tried by now


def _walk_at_cost(walked: Recorded, cost: float) -> Frame:
    with walked.alone(cost):
        compared, drawn = _walk(walked, cost)
    found = judge(walked.store, walked.run, compared)
    return replace(drawn, notice=Notice(found.text, found.skill, [f"At a trading cost of {cost:g} bp, as set below."]))


@lru_cache(maxsize=4)
def _walk(walked: Recorded, cost: float) -> tuple[Comparison, Frame]:
    """All test pieces as one account at a cost, and its curve."""
    folds = [repriced(fold, cost) for fold in walked.runs]
    compared = compared_walk(walked.store, folds, walked.results, most_shown=ROWS_SHOWN)
    figure = as_json(market_charts.equity_chart({"test": compared}))
    alt = "Equity over all test pieces of the walk-forward, beside buy-and-hold and the others."
    return compared, Frame([Chart(figure, f"walk-{walked.run.id}", alt, height=380)])


@lru_cache(maxsize=4)
def _price(recorded: Recorded, cost: float) -> Mapping[str, Comparison]:
    """The decisions on each part at a cost, beside what they are compared with, on the rows shown."""
    run, result = repriced(recorded.run, cost), recorded.results[0]
    rows = {name: len(curve["actions"]) for name, curve in result["curves"].items()}
    shown = {name: 2 + ROWS_SHOWN * count // sum(rows.values()) for name, count in rows.items()}
    return {name: compared_on(recorded.store, run, result, name, most_shown=most) for name, most in shown.items()}


@lru_cache(maxsize=4)
def _draw(recorded: Recorded, cost: float) -> Frame:
    """The curves and the numbers of every part at a cost, and what became of 1 on the test part."""
    parts, known = _price(recorded, cost), _truth(recorded.run, cost)
    figure = as_json(market_charts.equity_chart(parts, {} if known is None else {"test": known}))
    alt = "Equity of the agent, buy-and-hold, the moving-average rule, cash and a band of random policies on each part."
    ends = [
        Number(
            f"1 became, by {market_charts.STRATEGIES[name][0]}",
            f"{getattr(parts['test'], name).equity[-1]:.3f}",
            "On the test part.",
        )
        for name in STAKES
    ]
    return Frame([Chart(figure, f"equity-{recorded.run.id}", alt, height=420)], numbers=ends, table=_table(parts, known, cost))


def _verdict(recorded: Recorded, test: Comparison, cost: float) -> Notice:
    run = recorded.run
    found = judge(recorded.store, run, test)
    difference, low, high = (_signed(x) for x in _sharpe_difference(recorded, cost))
    more = (
        f"At a trading cost of {cost:g} bp. Sharpe ratio less that of buy-and-hold: {difference} (95 % interval {low} to"
        f" {high}, stationary bootstrap). It ends above {100 * test.beats_random():.0f} % of 200 policies that trade as much at"
        " random times."
    )
    (result,) = recorded.results
    if (chosen := result.get("checkpoint")) is not None:
        more += f" Judged is the checkpoint of update {chosen['update']:,}, the best on the validation part."
    collapsed = result["parts"][-1]["collapse"]
    return Notice(found.text, found.skill, [more, collapsed] if collapsed else [more])


@lru_cache(maxsize=4)
def _sharpe_difference(recorded: Recorded, cost: float) -> tuple[float, float, float]:
    """The Sharpe ratio on the test part less that of buy-and-hold, and the interval that it lies in."""
    test = _price(recorded, cost)["test"]
    agent, hold = (measure(each)["sharpe"] for each in (test.agent, test.buy_and_hold))
    return agent - hold, *test.sharpe_interval(recorded.run.config.seed)


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−") if math.isfinite(number) else "–"


def _truth(run: Run, cost: float) -> Backtest | None:
    """The best policy at a cost that knows the truth of a synthetic market, on the test part."""
    if not run.prices.startswith(PREFIX):
        return None
    config = repriced(run, cost).config
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


def _table(parts: Mapping[str, Comparison], known: Backtest | None, cost: float) -> Table:
    """The test part first, against everything; then the others, against buy-and-hold."""
    titles = {name: title for name, (title, _) in market_charts.STRATEGIES.items()}
    columns = {("test", titles[name]): measure(getattr(parts["test"], name)) for name in ("agent", *OPPONENTS)}
    if known is not None:
        columns["test", titles["truth"]] = measure(known)
    for part in (part for part in parts if part != "test"):
        columns |= {(part, titles[name]): measure(getattr(parts[part], name)) for name in STAKES}
    rows = [
        (metric.title, metric.definition, [_spelled(measured[name], metric.unit) for measured in columns.values()])
        for name, metric in METRICS.items()
    ]
    caption = (
        f"Net of costs of {cost:g} bp a trade; yearly numbers by the data's own frequency. Point at a name for what it means."
    )
    return Table(list(columns), rows, caption)


def _spelled(number: float, unit: str) -> str:
    if not math.isfinite(number):
        return "–"
    return {"share": f"{number:z,.2%}", "ratio": f"{number:z,.2f}", "count": f"{number:,.0f}"}[unit].replace("-", "−")


def _explain(page: str, run: Run, result: dict[str, Any]) -> None:
    about = FEATURES[run.config.features].about
    seen = result["parts"][-1]["features_by_action"]
    st.markdown("**What it sees on average on the test part when it …**")
    table = pd.DataFrame(seen).rename(columns={"buy": "buys", "sell": "sells", "hold": "holds"})
    table.insert(0, "what it means", [about.get(name, "1 long, 0 flat, −1 short.") for name in table.index])
    numbers = {name: st.column_config.NumberColumn(format="%+.2f") for name in ("buys", "sells", "holds")}
    st.dataframe(table, column_config=numbers, alt="Average features by action on the test part.")
    asked = f"{page}.lookahead.asked"
    if st.button(
        "Check for look-ahead",
        icon=":material/history_toggle_off:",
        key=f"{page}.lookahead",
        help="Replaces all prices after a day by others and compares everything before it to the last bit.",
    ):
        st.session_state[asked] = run.id
    if st.session_state.get(asked) == run.id:
        mine = store()

        def check() -> LookAhead:
            policy = mine.policy_bytes(run.id)
            assert policy is not None
            return check_look_ahead(read_actor(policy), run.config, resolve_prices(mine, run.prices))

        said = "Playing it on prices whose future was replaced."
        found = worked_out(f"{page}.lookahead.work", (run.id, run.updates), check, said, partial(st.session_state.pop, asked))
        if found is not None:
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
