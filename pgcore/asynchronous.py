"""A3C: processes that play and learn at the same time on parameters and RMSProp statistics that they share.

What is shared lies in small files that every process maps into its memory. A worker takes a turn when it is told to and
tells how it went, one line of JSON each way; it ends when the pipe does, so none outlives the process that trains.
"""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.market.prices import PriceSeries
from pgcore.on_policy import OnPolicy
from pgcore.optimisers import Learnable, Moments, TrainingDiverged, rmsprop
from pgcore.policies import Policy
from pgcore.record import Played, Progress

PRICES, COLUMNS = "prices.npz", ("dates", "open", "high", "low", "close", "volume")
ROOT = Path(__file__).parents[1]
END_WITHIN_S = 2.0
LISTEN_S = 0.5


def share(part: Learnable[Any], theta: Tensor, square: Tensor) -> None:
    """From now on steps go to the shared θ and RMSProp mean v, without a lock, and bring back what others wrote meanwhile."""

    def step(own: Tensor, gradient: Tensor, _moments: Moments, rate: float) -> None:
        rmsprop(theta, gradient, square, rate)
        own.copy_(theta)

    part.theta.copy_(theta)
    part.optimise = step


def attach(loop: OnPolicy, directory: Path) -> list[tuple[Tensor, Tensor]]:
    """Let a loop learn on what is shared in a directory; that begins as the loop's own where it is missing.

    Returns θ and v of each network. The critic's unit and the statistics of the observations are shared too.
    """
    shared = []
    for i, part in enumerate(loop.learner.parts):
        theta = torch.from_numpy(_mapped(directory / f"theta{i}", part.theta.numpy()))
        square = torch.from_numpy(_mapped(directory / f"square{i}", np.zeros_like(part.theta.numpy())))
        share(part, theta, square)
        shared.append((theta, square))
    assert loop.learner.critic is not None
    critic = loop.learner.critic.network
    critic.unit = torch.from_numpy(_mapped(directory / "unit", critic.unit.numpy()))
    loop.statistics.table = _mapped(directory / "statistics", loop.statistics.table)
    return shared


def _mapped(file: Path, first: NDArray[Any]) -> NDArray[Any]:
    """The array in a file as every process sees it that maps it."""
    if not file.exists():
        first.tofile(file)
    return np.memmap(file, first.dtype, "r+", shape=first.shape or (1,)).reshape(first.shape)


class Asynchronous:
    """Tells the workers when to take turns, and hears how these went; a turn of the loop is a turn of any worker.

    Which worker is heard next is a matter of chance, so no two runs are alike. `restore` brings back what is shared and
    lets the workers begin new episodes.
    """

    def __init__(self, config: TrainConfig, prices: PriceSeries | None) -> None:
        self.config = config
        self.seen = OnPolicy(config, prices)
        self.turn = self.seen.turn  # never taken here: the workers take theirs, and none can be gone on with
        self.directory = Path(tempfile.mkdtemp(prefix="pglab-a3c-"))
        self.shared = attach(self.seen, self.directory)
        self.workers: list[Worker] = []
        self.news: queue.SimpleQueue[tuple[Worker, str]] = queue.SimpleQueue()
        if prices is not None:
            np.savez(self.directory / PRICES, **{name: getattr(prices, name) for name in COLUMNS})
        weakref.finalize(self, _end, self.workers, self.directory)

    @property
    def policy(self) -> Policy:
        return self.seen.policy

    def advance(self, env_steps: int) -> Played:
        """The next turn that any worker has finished. Raises TrainingDiverged, RuntimeError where a worker died."""
        if not self.workers:
            count = self.config.workers or _cores()
            self.workers += [Worker(self.config, i, self.directory, self.news) for i in range(count)]
        for worker in self.workers:
            worker.take_turn(env_steps)
        worker, line = self._hear()
        if not line:
            raise RuntimeError(f"A worker process of A3C ended unexpectedly, with exit code {worker.process.wait()}.")
        worker.is_idle = True
        told = json.loads(line)
        if "error" in told:
            raise TrainingDiverged(told["error"])
        self._look()
        progress = Progress(**told["progress"])
        return Played(told["steps"], np.array(told["returns"]), tuple(told["action_share"]), progress)

    def _hear(self) -> tuple["Worker", str]:
        """What a worker says next; meanwhile what is shared may be asked for, as between two turns."""
        while True:
            try:
                return self.news.get(timeout=LISTEN_S)
            except queue.Empty:
                self.turn.between_steps()

    def _look(self) -> None:
        """See what is shared as it is now."""
        for part, (theta, _) in zip(self.seen.learner.parts, self.shared, strict=True):
            part.theta.copy_(theta)
        self.seen.statistics.normalise(*self.seen.networks)

    def state(self) -> dict[str, Any]:
        """What is shared, as `snapshot.pack` takes it."""
        self._look()
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Share again what `state` returned."""
        for name, array in self._arrays().items():
            array[...] = saved[name]
        self._look()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        critic = self.seen.learner.critic
        assert critic is not None
        arrays = {"unit": critic.network.unit.numpy(), "statistics": self.seen.statistics.table}
        for i, (theta, square) in enumerate(self.shared):
            arrays |= {f"theta{i}": theta.numpy(), f"square{i}": square.numpy()}
        return arrays


class Worker:
    """A process that plays and learns when told to."""

    def __init__(
        self, config: TrainConfig, number: int, directory: Path, news: "queue.SimpleQueue[tuple[Worker, str]]"
    ) -> None:
        seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0]) >> 1
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "pgcore.asynchronous", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            text=True,
            process_group=0,
        )
        self.is_idle = True
        self._say(config.replace(seed=seed).to_json())
        threading.Thread(target=self._listen, args=(news,), daemon=True).start()

    def take_turn(self, env_steps: int) -> None:
        """Take a turn, if it is not at one already."""
        if self.is_idle:
            self.is_idle = False
            self._say(str(env_steps))

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its end is heard of by `_listen`
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def _listen(self, news: "queue.SimpleQueue[tuple[Worker, str]]") -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            news.put((self, line))
        news.put((self, ""))


def _end(workers: list[Worker], directory: Path) -> None:
    for worker in workers:
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.close()
    for worker in workers:
        try:
            worker.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
    shutil.rmtree(directory, ignore_errors=True)


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Be a worker: read the config, then take a turn for every line, until there are no more lines."""
    directory = Path(sys.argv[1])
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a task prints must not be taken for an answer
    torch.set_num_threads(1)
    prices = None
    if (directory / PRICES).exists():
        with np.load(directory / PRICES) as columns:
            prices = PriceSeries(*(columns[name] for name in COLUMNS))
    loop = OnPolicy(TrainConfig.from_json(sys.stdin.readline()), prices)
    attach(loop, directory)
    with contextlib.suppress(BrokenPipeError):  # who asked was killed meanwhile
        for line in sys.stdin:
            try:
                answer = _answer(loop.advance(int(line)))
            except BadInput as error:
                answer = {"error": str(error)}
            told.write(json.dumps(answer) + "\n")
            told.flush()
    shutil.rmtree(directory, ignore_errors=True)  # who started this may have been killed


def _answer(played: Played) -> dict[str, Any]:
    return {
        "steps": played.steps,
        "returns": played.returns.tolist(),
        "action_share": played.action_share,
        "progress": asdict(played.progress),
    }


if __name__ == "__main__":
    main()
