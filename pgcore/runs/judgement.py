"""How a finished stocks run is judged: its test part, against all that was tried on the same prices."""

from typing import Any

import numpy as np

from pgcore.market.backtest import Comparison, compare
from pgcore.market.parts import split
from pgcore.market.verdict import Verdict, verdict
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore, resolve_prices


def compared_on(store: RunStore, run: Run, result: dict[str, Any], part: str = "test") -> Comparison:
    """The recorded decisions of a run on a part, beside everything they are compared with."""
    prices = resolve_prices(store, run.prices)
    rows = {each.name: each for each in split(run.config, prices).parts}[part]
    return compare(np.array(result["curves"][part]["actions"]), run.config, prices, rows, seed=run.config.seed)


def judge(store: RunStore, run: Run, result: dict[str, Any]) -> Verdict:
    """The verdict on the test part, counting every configuration that was ever tried on these prices in this store."""
    trials = store.trials(run.prices)
    configs = {config for config, _ in trials} | {run.config_json}
    sharpes = [sharpe for _, sharpe in trials if sharpe is not None]
    return verdict(compared_on(store, run, result), len(configs), sharpes)
