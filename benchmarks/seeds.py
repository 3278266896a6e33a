"""Two seeds at once: the command line with --seeds 1 and 2, and bare trainers side by side, which tell the machine's share."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

from benchmarks.processes import ROOT

STEPS = 2_000_000
BARE = """
import sys, torch
from pgcore.config import TrainConfig
from pgcore.trainer import Trainer
torch.set_num_threads(1)
for _ in Trainer(TrainConfig(seed=int(sys.argv[1]), max_steps=int(sys.argv[2]), stop_when_solved=False)): pass
"""


def two_seeds(seeds: Iterable[int], steps: int = STEPS) -> dict[str, list[float]]:
    """Seconds, start of Python included: `one` and `two` seeds by the command line, `bare_one` and `bare_two` trainers."""
    seconds: dict[str, list[float]] = {"one": [], "two": [], "bare_one": [], "bare_two": []}
    for seed in seeds:
        seconds["one"].append(by_command_line(1, 10 * seed, steps))
        seconds["two"].append(by_command_line(2, 10 * seed, steps))
        seconds["bare_one"].append(side_by_side(1, 10 * seed, steps))
        seconds["bare_two"].append(side_by_side(2, 10 * seed, steps))
    return seconds


def by_command_line(count: int, seed: int, steps: int) -> float:
    flags = f"--seeds {count} --seed {seed} --max-steps {steps} --stop-when-solved off --json".split()
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pgcore", "train", *flags],
            cwd=ROOT,
            env=os.environ | {"PGLAB_HOME": directory},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - started


def side_by_side(count: int, seed: int, steps: int) -> float:
    started = time.perf_counter()
    processes = [subprocess.Popen([sys.executable, "-c", BARE, str(seed + i), str(steps)], cwd=ROOT) for i in range(count)]
    assert all(process.wait() == 0 for process in processes)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(two_seeds(range(1), 1_000_000))
