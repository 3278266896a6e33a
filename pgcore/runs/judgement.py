"""How a finished stocks run is judged: its test part, against all that was tried on the same prices."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgcore.acting import read_actor
from pgcore.market.accounting import positions
from pgcore.market.backtest import MOST_SHOWN, Comparison, compare, compare_positions, growth
from pgcore.market.parts import split, split_once
from pgcore.market.verdict import Verdict, verdict
from pgcore.progress import Progress, unheard
from pgcore.runs.run import Run
from pgcore.runs.store import RunStore, resolve_prices


def validated(store: RunStore, run: Run, progress: Progress = unheard) -> list[tuple[int, int, float]]:
    """(update, environment steps, log growth on the validation part) of each policy the run has kept, oldest first.

    Empty where the run has no validation part. `progress` is told the share that is done.
    """
    prices = resolve_prices(store, run.prices)
    part = split(run.config, prices).validation
    if len(part) < 2:
        return []
    scores, kept = [], store.policies(run.id)
    for i, (update, env_steps) in enumerate(kept):
        progress(i / len(kept))
        data = store.policy_bytes(run.id, update)
        if data is not None:
            scores.append((update, env_steps, growth(read_actor(data), run.config, prices, part)))
    return scores


def repriced(run: Run, cost_bps: float) -> Run:
    """The run as it would be accounted for at another trading cost; the very same run at its own."""
    if cost_bps == run.config.cost_bps:
        return run
    return replace(run, config_json=run.config.replace(cost_bps=cost_bps).to_json())


def compared_on(
    store: RunStore, run: Run, result: dict[str, Any], part: str = "test", *, most_shown: int = MOST_SHOWN
) -> Comparison:
    """The recorded decisions of a run on a part, beside everything they are compared with."""
    prices = resolve_prices(store, run.prices)
    rows = {each.name: each for each in split(run.config, prices).parts}[part]
    return compare(_actions(result, part), run.config, prices, rows, seed=run.config.seed, most_shown=most_shown)


def compared_walk(
    store: RunStore, runs: Sequence[Run], results: Sequence[dict[str, Any]], *, most_shown: int = MOST_SHOWN
) -> Comparison:
    """The folds of a walk-forward, in order, as one account over all their test parts."""
    prices, config = resolve_prices(store, runs[0].prices), runs[0].config
    held = np.concatenate([positions(_actions(result, "test"), config.allow_short) for result in results])
    return compare_positions(held, config, prices, split_once(config, prices).test, seed=config.seed, most_shown=most_shown)


def _actions(result: dict[str, Any], part: str) -> NDArray[np.int64]:
    return np.array(result["curves"][part]["actions"], dtype=np.int64)


def _tried(config_json: str) -> str:
    """What counts as one configuration: the folds of a walk-forward are one."""
    return json.dumps(json.loads(config_json) | {"fold": 0})


def judge(store: RunStore, run: Run, compared: Comparison) -> Verdict:
    """The verdict on a test, counting every configuration that was ever tried on these prices in this store.

    `run` is as it was trained: looking at its trades at another cost, which `compared` may have been made at, tries nothing.
    """
    trials = store.trials(run.prices)
    configs = {_tried(config) for config in (*(config for config, _ in trials), run.config_json)}
    sharpes = [sharpe for _, sharpe in trials if sharpe is not None]
    return verdict(compared, len(configs), sharpes)
