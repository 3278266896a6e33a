"""How the time of an update grows with what is asked of it, and where it stops being flat; writes the section `growth`.

python -m benchmarks.growth [--seeds 5]
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from benchmarks.ours import history
from benchmarks.processes import HERE, ROOT, peers_python
from benchmarks.report import OURS, number, spread, table, versions, write_section
from pgcore.config import TrainConfig
from pgcore.market.prices import PriceSeries
from pgcore.trainer import Trainer

UPDATES, UNTIMED = 12, 3
LONGEST_S = 4.0
FLAT = 1.5
PLOT = HERE / "growth.png"
DRAW = HERE / "peers" / "draw_growth.py"
Times = dict[int, list[float]]


@dataclass(frozen=True)
class Axis:
    """What grows: its sizes, the config and the prices for one of them, and why the time of an update follows it."""

    title: str
    sizes: Sequence[int]
    config: Callable[[int], TrainConfig]
    prices: Callable[[int], PriceSeries | None]
    why: str


def endless(**settings: Any) -> TrainConfig:
    return TrainConfig(max_steps=1_000_000_000, stop_when_solved=False, **settings)


AXES: Mapping[str, Axis] = {
    "num_envs": Axis(
        "environments (a2c, CartPole, 32 steps a segment)",
        (1, 4, 16, 64, 256, 1024, 4096),
        lambda size: endless(estimator="a2c", num_envs=size, rollout_steps=32),
        lambda _: None,
        "Up to there the 32 calls of NumPy and Python a segment cost the same however wide they are; beyond, the arithmetic of"
        " each row counts, and from about a thousand a batch no longer fits the processor's caches.",
    ),
    "rows": Axis(
        "rows of prices (a2c, stocks)",
        (1_000, 10_000, 100_000, 1_000_000),
        lambda _: endless(task="stocks", estimator="a2c"),
        lambda size: history(size, 0),
        "Features are worked out once, before the first step; a step reads single rows of the table, and all that a longer"
        " history changes is how often such a row is not in a cache.",
    ),
    "hidden": Axis(
        "hidden units (ppo, CartPole)",
        (8, 16, 32, 64, 128, 256, 512, 1024),
        lambda size: endless(estimator="ppo", hidden_sizes=(size,)),
        lambda _: None,
        "Small layers cost their calls, not their arithmetic; beyond, the matrix products of policy and critic are the update,"
        " and they grow with the units.",
    ),
}
SIDE_BY_SIDE = (1, 2, 3, 4)
SEEDS_WHY = "A run keeps one core busy: up to as many as there are cores they do not notice each other, beyond they share them."


def measure(axis: Axis, seeds: Iterable[int]) -> Times:
    """Milliseconds an update, by size, one number a seed; the sizes take turns."""
    prices = {size: axis.prices(size) for size in axis.sizes}
    times: Times = {size: [] for size in axis.sizes}
    for seed in seeds:
        for size in axis.sizes:
            times[size].append(update_ms(axis.config(size).replace(seed=seed), prices[size]))
    return times


def update_ms(config: TrainConfig, prices: PriceSeries | None) -> float:
    """The median of a few updates, after some that do not count."""
    trainer = Trainer(config, prices)
    took: list[float] = []
    began = time.perf_counter()
    for _ in range(UNTIMED + UPDATES):
        started = time.perf_counter()
        trainer.step()
        took.append(1000 * (time.perf_counter() - started))
        if len(took) > UNTIMED and time.perf_counter() - began > LONGEST_S:
            break
    return median(took[UNTIMED:])


def side_by_side(seeds: Iterable[int]) -> Times:
    """Milliseconds an update of ppo on CartPole, by how many runs go on at the same time."""
    return {count: [_together(count, 100 * seed) for seed in seeds] for count in SIDE_BY_SIDE}


def _together(count: int, seed: int) -> float:
    command = [sys.executable, "-m", "benchmarks.growth", "--run"]
    processes = [
        subprocess.Popen([*command, str(seed + i)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for i in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return median(float(process.communicate()[0]) for process in processes)


def run(seed: int) -> None:
    """Get ready, wait for a word, then say how long an update took over two seconds."""
    trainer = Trainer(endless(estimator="ppo", seed=seed))
    for _ in range(20):
        trainer.step()
    print("ready", flush=True)
    sys.stdin.readline()
    started, updates = time.perf_counter(), 0
    while time.perf_counter() - started < 2.0:
        trainer.step()
        updates += 1
    print(1000 * (time.perf_counter() - started) / updates)


def flat_until(times: Times) -> str:
    """The largest size whose update takes less than FLAT times that of the smallest."""
    smallest = median(next(iter(times.values())))
    flat = [size for size, each in times.items() if median(each) <= FLAT * smallest]
    return f"{max(flat):,}" + (" (all)" if len(flat) == len(times) else "")


def report(found: Mapping[str, Times]) -> str:
    """The plot, and a table and a sentence for what grows."""
    parts = [f"![Time of an update against what grows]({PLOT.name})", f"Flat: within {FLAT} × of the smallest."]
    for name, times in found.items():
        title = AXES[name].title if name in AXES else "runs side by side (ppo, CartPole)"
        why = AXES[name].why if name in AXES else SEEDS_WHY
        rows = [["update, ms", *(spread(each, digits=2) for each in times.values())]]
        if name == "num_envs":
            rows.append(["steps/s", *(number(1000 * 32 * size / median(each)) for size, each in times.items())])
        grid = table([title, *(f"{size:,}" for size in times)], rows)
        parts.append(f"{grid}\n\nFlat up to {flat_until(times)}. {why}")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.run is not None:
        run(asked.run)
        return
    seeds = range(asked.seeds)
    found = {name: measure(axis, seeds) for name, axis in AXES.items()} | {"seeds": side_by_side(seeds)}
    panels = [{"title": AXES[n].title if n in AXES else "runs side by side", "times": times} for n, times in found.items()]
    subprocess.run([peers_python(), DRAW, PLOT], input=json.dumps(panels), text=True, check=True)
    write_section("growth", "Growth", report(found), versions=versions(OURS), raw=found)


if __name__ == "__main__":
    main()
