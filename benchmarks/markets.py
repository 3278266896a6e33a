"""What the default agent earns on markets whose truth is known; writes the section `markets` of RESULTS.md.

    python -m benchmarks.markets [--first-seed 5000] [--walks 200]

Everything goes the way it goes in the app: a run in a run store, trained and judged by `train_run`, its verdict by `judge`.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from benchmarks.processes import HERE, ROOT, peers_python
from benchmarks.report import Row, goals, number, spread, table, versions, write_section
from pgcore.config import TrainConfig
from pgcore.market.backtest import account
from pgcore.market.parts import split
from pgcore.market.synthetic import SyntheticMarket, generate
from pgcore.runs.judgement import compared_on, judge
from pgcore.runs.store import RunStore
from pgcore.runs.worker import train_run

ROWS, WINDOW, COST_BPS, SEEDS = 5_000, 100, 5.0, 10
FIRST_SEED = 5_000  # no market that helped to choose features or settings
AGENT: Mapping[str, Any] = {"task": "stocks", "window": WINDOW, "cost_bps": COST_BPS, "allow_short": True}
REVERTING = {"speed": 0.05, "noise": 0.02}
TRENDING = {"drift": 0.003, "duration": 100.0, "noise": 0.01}
TREND_WINDOW = 20
WALK_STEPS = 50_000
UNCHANGED = HERE / "peers" / "sb3_on_stocks.py"


@dataclass(frozen=True)
class Outcome:
    """Log growth on the test part, net of costs: of the agent, of the moving-average rule with its window, of
    buy-and-hold, and of the rule that knows what drives the market; and whether the verdict claims skill."""

    seed: int
    agent: float
    rule: float
    hold: float
    knowing: float
    skill: bool


def outcome(store: RunStore, market: SyntheticMarket, config: TrainConfig) -> Outcome:
    """Train and judge on one market."""
    config = config.replace(prices=store.save_prices(market.series))
    run = train_run(store, store.create_run(config))
    result = store.evaluation(run.id, "final")
    assert result is not None, run.error
    compared = compared_on(store, run, result)
    test = split(config, market.series).test
    knowing = account(knowing_rule(market)[test.start : test.stop - 1, None], config, market.series, test)[0]
    curves = {
        "agent": compared.agent.equity,
        "rule": compared.moving_average_rule.equity,
        "hold": compared.buy_and_hold.equity,
        "knowing": knowing.equity,
    }
    grown = {name: math.log(max(equity[-1], 1e-9)) for name, equity in curves.items()}
    return Outcome(seed=config.seed, skill=judge(store, run, compared).skill, **grown)


def knowing_rule(market: SyntheticMarket) -> np.ndarray:
    """Exposures [T] of the rule that knows: long below the true mean and short above it, or along the true regime."""
    facts = market.truth.facts
    if "mean" in facts:
        return np.sign(facts["mean"] - market.series.close)
    if "regime" in facts:
        return np.where(np.asarray(facts["regime"]) == 1, 1.0, -1.0)
    return np.zeros(len(market.series))


def outcomes(kind: str, parameters: Mapping[str, float], seeds: Iterable[int], **changes: Any) -> list[Outcome]:
    """The agent, of AGENT with changes, on a market a seed, each in a store of its own."""
    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as directory:
            store = RunStore(f"sqlite:///{directory}/runs.sqlite")
            market = generate(kind, seed, ROWS, COST_BPS, **parameters)
            found.append(outcome(store, market, TrainConfig(**{**AGENT, **changes, "seed": seed})))
            store.close()
        print(kind, found[-1], file=sys.stderr, flush=True)
    return found


def reverting(found: list[Outcome]) -> list[Row]:
    """Mean reversion: near what knowing the mean earns, and above the moving-average rule."""
    share = [each.agent / each.knowing for each in found]
    above = sum(each.agent > each.rule for each in found)
    return [
        Row(
            "Mean reversion: earned out of sample, as a share of what knowing the true mean earns",
            f"{spread(share)}; log growth {spread([each.agent for each in found])}",
            f"knowing the mean: log growth {spread([each.knowing for each in found])}",
            f"median {100 * median(share):.0f} % of {len(found)} markets",
            "at least 80 %, median of 10",
            median(share) >= 0.8,
        ),
        Row(
            "The same: above the moving-average rule with the same window",
            f"{above} of {len(found)}",
            f"rule: log growth {spread([each.rule for each in found])}",
            "",
            "at least 8 of 10",
            above >= 0.8 * len(found),
        ),
    ]


def trending(found: list[Outcome]) -> Row:
    """Trend regimes: above buy-and-hold wherever the rule is."""
    strong = [each for each in found if each.rule > each.hold]
    above = sum(each.agent > each.hold for each in strong)
    return Row(
        f"Trend regimes on which the rule (window {TREND_WINDOW}) beats buy-and-hold: so does the agent",
        f"{above} of {len(strong)}; log growth {spread([each.agent for each in strong])}",
        f"rule {spread([each.rule for each in strong])}; buy-and-hold {spread([each.hold for each in strong])}",
        "",
        "at least 9 of 10",
        above >= 0.9 * len(strong),
    )


def walking(found: list[Outcome]) -> Row:
    """Random walks: skill is claimed by mistake only."""
    claimed = sum(each.skill for each in found)
    return Row(
        f"{len(found)} random walks without drift, {WALK_STEPS:,} steps of training each: the verdict claims skill",
        f"{claimed} of {len(found)}",
        "",
        f"{100 * claimed / len(found):.1f} %",
        "at most 5 %",
        claimed <= 0.05 * len(found),
    )


def by_stable_baselines3() -> Row:
    """Stable-Baselines3 trains on pgcore/Stocks-v0 as it is, in its own environment."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([peers_python(), UNCHANGED], cwd=ROOT, env=environment, capture_output=True, text=True)
    words = (done.stdout or done.stderr).strip().splitlines()[-1]
    return Row("Stable-Baselines3 trains on `pgcore/Stocks-v0` unchanged", words, "", "", "it does", done.returncode == 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--markets", type=int, default=SEEDS)
    parser.add_argument("--walks", type=int, default=200)
    asked = parser.parse_args()
    first, seeds = asked.first_seed, range(asked.first_seed, asked.first_seed + asked.markets)
    found = {
        "mean-reversion": outcomes("mean-reversion", REVERTING, seeds),
        "trend-regimes": outcomes("trend-regimes", TRENDING, seeds, window=TREND_WINDOW),
        "random-walk": outcomes("random-walk", {}, range(first, first + asked.walks), max_steps=WALK_STEPS),
    }
    rows = [
        *reverting(found["mean-reversion"]),
        trending(found["trend-regimes"]),
        walking(found["random-walk"]),
        by_stable_baselines3(),
    ]
    markets = [
        [kind, each.seed, *(number(value) for value in (each.agent, each.rule, each.hold, each.knowing)), each.skill]
        for kind in ("mean-reversion", "trend-regimes")
        for each in found[kind]
    ]
    head = ("market", "seed", "agent", "rule", "buy-and-hold", "knowing", "skill claimed")
    body = f"{goals(rows)}\n\nLog growth on the test part, net of costs:\n\n{table(head, markets)}"
    raw = {kind: [asdict(each) for each in many] for kind, many in found.items()}
    write_section("markets", "Markets", body, versions=versions(("torch", "numpy", "gymnasium")), raw=raw)


if __name__ == "__main__":
    main()
