"""A trainer that costs nothing, and a worker process that needs no torch: for tests of what is around them."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.record import UpdateRecord
from pgcore.runs.process import this_process
from pgcore.runs.store import RunStore

STEPS_AN_UPDATE = 100


class Walker:
    """Learns nothing: a random walk that `max_steps` ends, a hundred steps an update. Its state: a place and a generator."""

    is_midway = False

    def __init__(
        self, config: TrainConfig, prices: object = None, seconds: float = 0.0, fails: BaseException | None = None
    ) -> None:
        self.config, self.seconds, self.fails = config, seconds, fails
        self.rng = np.random.default_rng(config.seed)
        self.update, self.place = 0, 0.0
        self.policy = self

    @property
    def finished(self) -> bool:
        return self.update * STEPS_AN_UPDATE >= self.config.max_steps

    @property
    def solved(self) -> bool:
        return self.finished

    def __iter__(self) -> Iterator[UpdateRecord]:
        while not self.finished:
            time.sleep(self.seconds)
            if self.fails is not None and self.update == 5:
                raise self.fails
            self.update += 1
            self.place += self.rng.normal()
            numbers = dict.fromkeys(UpdateRecord.__dataclass_fields__, self.place)
            counters = {"update": self.update, "env_steps": self.update * STEPS_AN_UPDATE, "episodes": self.update}
            returns = tuple(self.rng.normal(size=self.update % 3).tolist())
            yield UpdateRecord(**numbers | counters | {"episode_returns": returns, "action_share": (0.5, 0.5)})

    def between_steps(self, act: object) -> None:
        """An update of it has one step."""

    def to_bytes(self) -> bytes:
        return f"{self.update} {self.place!r}".encode()

    def state(self) -> bytes:
        return json.dumps([self.update, self.place, self.rng.bit_generator.state]).encode()

    def restore(self, state: bytes) -> None:
        self.update, self.place, self.rng.bit_generator.state = json.loads(state)


def updates(count: int, seed: int = 0) -> TrainConfig:
    """The config of a walk of so many updates."""
    return TrainConfig(max_steps=count * STEPS_AN_UPDATE, seed=seed)


def alike(records: list[UpdateRecord]) -> list[UpdateRecord]:
    """Records without what may differ between two runs of one config: the time they took."""
    return [replace(record, wall_s=0.0) for record in records]


def work() -> None:
    """What `python -m pgcore.runs.worker` does, without training: end at once, or be told to, or be deaf, by the run's name."""
    store = RunStore()
    print("ready", flush=True)
    run_id = sys.stdin.readline().strip()
    if not run_id:
        return
    mine = store.claim(run_id, this_process())
    mine.add_event(run_id, "attempt", "walked")
    mine.heartbeat(run_id, -60.0)
    name = store.run(run_id).name
    while name == "deaf" or (name == "until told" and store.control(run_id).desired != "stop"):
        time.sleep(0.01)
    mine.set_status(run_id, "finished")


if __name__ == "__main__":
    try:
        work()
    except BadInput as error:
        sys.exit(str(error))
