"""What every estimator learns with its defaults: 10 seeds each; writes the section `learning` of RESULTS.md.

    python -m benchmarks.learning [--seeds 10] [--only TASK/ESTIMATOR …]

Rows that are not named keep what the last run of them found. The score of a run is its final policy's mean return, always
taking the most probable action, over 100 fresh episodes. The seeds of a row follow each other in a process of their own, so
that seconds are not shared with anything.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.processes import ask
from benchmarks.report import RAW, number, table, versions, write_section
from pgcore.aggregate import bootstrap_interval, interquartile_mean

CARTPOLE, ACROBOT, PENDULUM = "CartPole-v1", "Acrobot-v1", "Pendulum-v1"
EPISODIC = ("reinforce", "reward-to-go", "mean-baseline", "value-baseline")
OTHERS = ("a2c", "gae", "ppo", "trpo", "a3c", "dqn")
NONE, NEVER = (-np.inf, np.inf), (-np.inf, 50.0)
GOALS: dict[tuple[str, str], tuple[float, float]] = {
    **{(CARTPOLE, name): (490.0, np.inf) for name in EPISODIC},
    (CARTPOLE, "actor-critic"): NONE,
    **{(CARTPOLE, name): (495.0, np.inf) for name in OTHERS},
    (CARTPOLE, "article"): NEVER,
    **{(ACROBOT, name): (-85.0, np.inf) for name in ("a2c", "ppo")},
    (PENDULUM, "ppo"): (-200.0, np.inf),
}
"""Rows of the table, and between what their score is to lie."""


def learn(task: str, estimator: str, seed: int) -> dict[str, Any]:
    """One run with the defaults, and the score of the policy it ends with."""
    from pgcore import TrainConfig, Trainer
    from pgcore.evaluate import evaluate

    config = TrainConfig(task=task, estimator=estimator, seed=seed)
    started, solved_after = time.perf_counter(), None
    trainer = Trainer(config)
    for record in trainer:
        if solved_after is None and trainer.solved:
            solved_after = {"steps": record.env_steps, "seconds": time.perf_counter() - started}
    seconds = time.perf_counter() - started
    score = evaluate(config, trainer.policy)["greedy"]["mean"]
    return {"seed": seed, "score": score, "solved": solved_after, "steps": trainer.env_steps, "seconds": seconds}


def learn_all(task: str, estimator: str, seeds: int) -> list[dict[str, Any]]:
    """All seeds in turn, after a first update that pays what is paid once a process."""
    import torch

    from pgcore import TrainConfig, Trainer

    torch.set_num_threads(1)
    next(iter(Trainer(TrainConfig(task=task, estimator=estimator))))
    return [learn(task, estimator, seed) for seed in range(seeds)]


def line(task: str, estimator: str, runs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """A row of the table."""
    score = np.array([run["score"] for run in runs])
    middle, (low, high) = float(interquartile_mean(score)), bootstrap_interval(score)
    least, most = GOALS[task, estimator]
    solved = [run["solved"] for run in runs if run["solved"]]
    return (
        task,
        estimator,
        f"{middle:.1f}",
        f"{low:.1f} to {high:.1f}",
        f"{score.min():.1f}",
        f"{len(solved)} of {len(runs)}" if task != PENDULUM else "",
        f"{median(each['steps'] for each in solved):,.0f}" if solved else "",
        f"{number(median(each['seconds'] for each in solved))}" if solved else "",
        f"{number(median(run['seconds'] for run in runs))}",
        f"at least {least:g}" if np.isfinite(least) else f"below {most:g}" if np.isfinite(most) else "",
        "yes" if least <= middle < most else "**no**",
    )


HEAD = (
    *("task", "estimator", "score, IQM", "95 % interval", "worst seed", "solved"),
    *("steps to solve", "seconds to solve", "seconds of the run", "goal", "met"),
)


def main() -> None:
    rows = {f"{task}/{name}": (task, name) for task, name in GOALS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=rows, default=list(rows), metavar="TASK/ESTIMATOR")
    parser.add_argument("--run", choices=rows, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        print(json.dumps({"runs": learn_all(*rows[asked.run], asked.seeds)}))
        return
    kept = RAW / "learning.json"
    raw = json.loads(kept.read_text()) if kept.exists() else {}
    for key in asked.only:
        raw[key] = ask(sys.executable, "-m", "benchmarks.learning", "--run", key, "--seeds", asked.seeds)["runs"]
        print(table(HEAD, [line(*rows[key], raw[key])]), file=sys.stderr, flush=True)
    raw = {key: raw[key] for key in rows if key in raw}
    body = (
        f"{asked.seeds} seeds of each estimator with its defaults, nothing chosen by seed. Score: mean greedy return of the"
        " final policy over 100 fresh episodes; interquartile mean and bootstrap interval over seeds. Steps and seconds are"
        " medians of the runs that were solved.\n\n" + table(HEAD, [line(*rows[key], runs) for key, runs in raw.items()])
    )
    write_section("learning", "Learning", body, versions=versions(("torch", "numpy", "gymnasium")), raw=raw)


if __name__ == "__main__":
    main()
