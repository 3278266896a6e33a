"""What is known of a run: its state as a page shows it, and what the page asks of its trainer."""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Literal

from pgcore.config import SETTINGS, TrainConfig
from pgcore.runs.process import Process

Status = Literal["queued", "starting", "running", "paused", "finished", "stopped", "failed", "crashed", "stale"]
Desired = Literal["run", "pause", "stop"]

# queued    waits for a trainer                       finished  solved, or at its step budget
# starting  handed to a process                       stopped   on request, resumable
# running   that process trains it                    failed    the trainer raised: `error` has why
# paused    on request, with or without a process     crashed   its process is gone
# stale     its process is silent and cannot be seen from here
ATTENDED: tuple[Status, ...] = ("starting", "running", "paused", "stale")
ENDED: tuple[Status, ...] = ("finished", "stopped", "failed", "crashed")
STALE_GRACE_S = 15.0


@dataclass(frozen=True)
class Run:
    """A run as the store knows it. Times are UTC; `return_mean` is NaN before the first finished episode.

    `position` is the place in the queue, from 1, while queued. `process` is the one that trains it, or trained it last.
    `heartbeat` is the last sign of life and `expected` the time by which the trainer promised the next one. `wall_s` is the
    time spent on training so far, `return_best` the highest return of an episode (NaN before the first finished one), `judged`
    the share of its evaluation that is done, from 0 to 1, while it is worked out.
    """

    id: str
    status: Status
    name: str
    tags: tuple[str, ...]
    owner: str
    group: str
    task: str
    estimator: str
    prices: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    deleted: datetime | None
    heartbeat: datetime | None
    expected: datetime | None
    env_steps: int
    updates: int
    episodes: int
    wall_s: float
    return_mean: float
    return_best: float
    solved: bool
    error: str
    store_retries: int
    desired: Desired
    pace: float | None
    pause_at: int | None
    judged: float | None
    position: int | None
    process: Process | None
    config_json: str = field(repr=False)

    @cached_property
    def config(self) -> TrainConfig:
        """Raises BadInput where this program cannot make it, say for a task whose package is not installed here."""
        return _config(self.config_json)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config as it was stored, whether or not this program can make it: to list, without importing a task's package."""
        return {name: value for name, value in json.loads(self.config_json).items() if name in SETTINGS}

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come unless it is resumed."""
        return self.status in ENDED


@dataclass(frozen=True)
class Control:
    """What the page asks of a trainer: `pace` in updates a second, None for full speed; pause once at update `pause_at`.

    `desired_at` is when it was last told to run, pause or stop, in seconds; None for never.
    """

    desired: Desired
    pace: float | None
    pause_at: int | None
    desired_at: float | None = None


@lru_cache(maxsize=1000)
def _config(text: str) -> TrainConfig:
    """A setting this version no longer has is left out; one it has since gained takes its recommended value."""
    return TrainConfig(**{name: value for name, value in json.loads(text).items() if name in SETTINGS})


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def run_from_row(row: Any) -> Run:
    """A row of the table `runs`, with `position` beside its columns."""
    return Run(
        id=row.id,
        status=row.status,
        name=row.name,
        tags=tuple(json.loads(row.tags)),
        owner=row.owner,
        group=row.group_name,
        task=row.task,
        estimator=row.estimator,
        prices=row.prices,
        created=datetime.fromtimestamp(row.created, UTC),
        **{name: _time(getattr(row, name)) for name in ("started", "ended", "deleted", "heartbeat", "expected")},
        env_steps=row.env_steps,
        updates=row.updates,
        episodes=row.episodes,
        wall_s=row.wall_s or 0.0,
        return_mean=math.nan if row.return_mean is None else row.return_mean,
        return_best=math.nan if row.return_best is None else row.return_best,
        solved=bool(row.solved),
        error=row.error,
        store_retries=row.store_retries,
        desired=row.desired,
        pace=row.pace,
        pause_at=row.pause_at,
        judged=row.judged,
        position=row.position,
        process=process_from_row(row),
        config_json=row.config,
    )


def process_from_row(row: Any) -> Process | None:
    return None if row.pid is None else Process(row.host, row.boot, row.pid, row.process_started)


def true_status(row: Any, now: float) -> Status:
    """What a row that says its run is attended ought to say, judging by its process and its heartbeat."""
    process = process_from_row(row)
    if process is None:
        return row.status  # a paused run that gave its process up
    alive = process.is_alive()
    if alive is False or process.ended_with_its_machine(last_seen=row.heartbeat):
        return "queued" if row.status == "starting" else "crashed"  # it never took the run
    return row.status if alive or now < row.expected + STALE_GRACE_S else "stale"
