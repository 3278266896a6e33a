"""How a finished stocks run is judged: its test part, against all that was tried on the same prices."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pgcore.market.backtest import Comparison, compare
from pgcore.market.parts import split
from pgcore.market.verdict import Verdict, verdict
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore, resolve_prices

MOST_TRIALS = 100_000


def part_named(result: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The numbers of one part in what `evaluate_parts` returned."""
    return next((part for part in result["parts"] if part["part"] == name), None)


def compared_on(store: RunStore, run: Run, result: dict[str, Any], part: str = "test") -> Comparison:
    """The recorded decisions of a run on a part, beside everything they are compared with."""
    prices = resolve_prices(store, run.prices)
    rows = {each.name: each for each in split(run.config, prices).parts}[part]
    return compare(np.array(result["curves"][part]["actions"]), run.config, prices, rows, seed=run.config.seed)


def judge(store: RunStore, run: Run, result: dict[str, Any]) -> Verdict:
    """The verdict on the test part, counting every configuration that was ever tried on these prices in this store."""
    others = store.runs(prices=run.prices, include_deleted=True, limit=MOST_TRIALS)
    configs = {other.config_json for other in others if other.updates > 0} | {run.config_json}
    return verdict(compared_on(store, run, result), len(configs), list(_test_sharpes(store, others)))


def _test_sharpes(store: RunStore, runs: Iterable[Run]) -> Iterable[float]:
    for run in runs:
        result = store.evaluation(run.id, "final")
        part = part_named(result, "test") if result else None
        if part and part["sharpe"] is not None:
            yield part["sharpe"]
