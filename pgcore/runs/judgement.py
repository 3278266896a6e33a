"""How a finished stocks run is judged: its test part, against all that was tried on the same prices."""

from typing import Any

import numpy as np

from pgcore.acting import read_actor
from pgcore.market.backtest import Comparison, compare, growth
from pgcore.market.parts import split
from pgcore.market.verdict import Verdict, verdict
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore, resolve_prices


def validated(store: RunStore, run: Run) -> list[tuple[int, int, float]]:
    """(update, environment steps, log growth on the validation part) of each policy the run has kept, oldest first.

    Empty where the run has no validation part.
    """
    prices = resolve_prices(store, run.prices)
    part = split(run.config, prices).validation
    if len(part) < 2:
        return []
    scores = []
    for update, env_steps in store.policies(run.id):
        data = store.policy_bytes(run.id, update)
        if data is not None:
            scores.append((update, env_steps, growth(read_actor(data), run.config, prices, part)))
    return scores


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
