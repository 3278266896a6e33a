"""RunStore: runs, what they did and how they ended, in SQL; SQLite beside the user's data, or PostgreSQL."""

import copy
import json
import math
import time
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.market.prices import SAMPLES, PriceSeries, load_sample
from pgcore.market.synthetic import PREFIX, market_of
from pgcore.runs import life
from pgcore.runs.data import RunData, drop_unused_prices, no_run, one_line
from pgcore.runs.process import Process
from pgcore.runs.run import ATTENDED, ENDED, Control, Desired, Run, Status, run_from_row, true_status
from pgcore.runs.schema import checkpoints, chosen_policies, evaluations, events, policies, records, runs


class RunStore(RunData):
    """The store as one person sees it: the owner of the machine sees all of it, `as_user(owner)` is how others see it.

    Every method that takes a run id also takes the first four or more characters of one, and raises BadInput for a run
    that does not exist or is somebody else's: one sentence for both. Raises StoreError where the database fails.
    """

    # ---- runs

    def create_run(
        self,
        config: TrainConfig,
        *,
        name: str = "",
        owner: str = "",
        group: str = "",
        tags: Sequence[str] = (),
        process: Process | None = None,
    ) -> str:
        """Queue a run, or with `process` hand it to that process at once; its id. Raises BadInput for unknown prices."""
        priced = config.task == "stocks"
        if priced:
            resolve_prices(self, config.prices)
        run_id = str(uuid.uuid4())
        row = life.waiting(process) | {
            "id": run_id,
            "owner": self.owner or owner,
            "name": one_line(name),
            "tags": _tags(tags),
            "group_name": one_line(group),
            "config": config.to_json(),
            "task": config.task,
            "estimator": config.estimator,
            "prices": config.prices if priced else "",
            "created": time.time(),
        }
        with self._writing(durable=True) as connection:
            connection.execute(sa.insert(runs), row)
        return run_id

    def run(self, run_id: str) -> Run:
        row = self._row(run_id)
        if row.status in ATTENDED and true_status(row, time.time()) != row.status:
            self._settle([row])
            row = self._row(run_id)
        return run_from_row(row)

    def runs(
        self,
        *,
        owner: str | None = None,
        prices: str | None = None,
        group: str | None = None,
        include_deleted: bool = False,
        limit: int | None = 200,
    ) -> list[Run]:
        """Newest first, each in its true state; of one owner, on one price history, of one group.

        At most `limit` (None: all), but a group is always whole.
        """
        self.reconcile()
        wanted = {runs.c.owner: self.owner or owner or None, runs.c.prices: prices, runs.c.group_name: group}
        statement = _WITH_POSITION.where(*(column == value for column, value in wanted.items() if value is not None))
        if not include_deleted:
            statement = statement.where(runs.c.deleted.is_(None))
        statement = statement.order_by(runs.c.created.desc(), runs.c.key.desc()).limit(None if group else limit)
        with self._reading() as connection:
            rows = connection.execute(statement).all()
        return [run_from_row(row) for row in rows]

    def last_change(self) -> tuple[int, float]:
        """What is another value after any change to a run this person sees: whether to list them anew, for the price of one
        small query. A process that died unseen shows once something looks at its run."""
        statement = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(runs.c.changed), 0.0))
        if self.owner:
            statement = statement.where(runs.c.owner == self.owner)
        with self._reading() as connection:
            row = connection.execute(statement).one()
        return row[0], row[1]

    def trials(self, prices: str) -> list[tuple[str, float | None]]:
        """All that was ever tried on a price history, deleted runs too: the config of a run that made an update, as JSON, and
        its Sharpe ratio on the test part, where it was judged. A sample and the same rows uploaded are one history."""
        judged = (evaluations.c.run_key == runs.c.key) & (evaluations.c.kind == "final")
        statement = sa.select(runs.c.config, evaluations.c.test_sharpe).outerjoin(evaluations, judged)
        statement = statement.where(runs.c.prices.in_(_names_of_same(prices)), runs.c.updates > 0)
        if self.owner:
            statement = statement.where(runs.c.owner == self.owner)
        with self._reading() as connection:
            return [(row[0], row[1]) for row in connection.execute(statement)]

    def rename(self, run_id: str, name: str) -> None:
        self._change(run_id, name=one_line(name))

    def tag(self, run_id: str, tags: Sequence[str]) -> None:
        """Replace the tags."""
        self._change(run_id, tags=_tags(tags))

    def delete(self, run_id: str) -> None:
        """Stop it if need be and leave it out of listings; `restore` brings it back, `purge` ends it."""
        self.request(run_id, desired="stop")
        self._change(run_id, deleted=time.time())

    def restore(self, run_id: str) -> None:
        self._change(run_id, deleted=None)

    def purge(self, run_id: str) -> None:
        """Remove a run and all that belongs to it for good. Raises BadInput while a process trains it."""
        run = self.run(run_id)
        is_left = run.status == "stale" and run.desired == "stop"
        if run.status in ATTENDED and run.process is not None and not is_left:
            raise BadInput(f"Run {run.id} is {run.status}: stop it before removing it for good.")
        key = self._key(run_id)
        with self._writing(durable=True) as connection:
            connection.execute(sa.delete(runs).where(runs.c.key == key))
            drop_unused_prices(connection)
        self._keys.pop(run.id, None)

    def purge_deleted(self, older_than_s: float) -> None:
        """Remove for good what was deleted longer ago than this and no process trains, or only one silent for too long.

        Of a run that was tried on prices its line and its Sharpe ratio stay behind, out of sight: forgetting a trial would make
        luck look like skill.
        """
        self.reconcile()
        old = runs.c.deleted < time.time() - older_than_s
        due = old & (runs.c.status.not_in(ATTENDED) | runs.c.pid.is_(None))
        tried = (runs.c.prices != "") & (runs.c.updates > 0)
        emptied = sa.select(runs.c.key).where(due, tried)
        with self._writing(durable=True) as connection:
            for key in connection.scalars(sa.select(runs.c.key).where(old, runs.c.status == "stale")).all():
                life.request(connection, key, "stop", life.KEEP, life.KEEP)
            connection.execute(sa.delete(runs).where(due, ~tried))
            for table in (records, checkpoints, policies, chosen_policies, events):
                connection.execute(sa.delete(table).where(table.c.run_key.in_(emptied)))
            connection.execute(sa.update(evaluations).where(evaluations.c.run_key.in_(emptied)).values(result="{}"))
            drop_unused_prices(connection)

    # ---- the life of a run

    def request(self, run_id: str, *, desired: Desired | None = None, pace: Any = life.KEEP, pause_at: Any = life.KEEP) -> None:
        """Ask the trainer to run, pause or stop; to hold a pace (updates a second, None: full speed); to pause at an update.

        A stale run that is to stop is stopped, and its trainer Superseded should it come back. What is not given stays. Raises
        BadInput for a pace that is not positive or an update before the first.
        """
        if pace is not life.KEEP and pace is not None and not (math.isfinite(pace) and pace > 0):
            raise BadInput(f"The pace cannot be {pace}: give a positive number of updates a second, or none.")
        if pause_at is not life.KEEP and pause_at is not None and not (isinstance(pause_at, int) and pause_at >= 1):
            raise BadInput(f"Cannot pause at update {pause_at}: give a whole number from 1.")
        self.run(run_id)  # in its true state, which decides
        key = self._key(run_id)
        with self._writing() as connection:
            life.request(connection, key, desired, pace, pause_at)

    def resume(self, run_id: str, process: Process | None = None) -> None:
        """Let a paused run go on, or queue one that was stopped, failed, crashed or is stale (with `process`: hand it over).

        Raises BadInput for a finished or deleted run, and with `process` for one that another process trains.
        """
        self.run(run_id)  # in its true state, which decides
        key = self._key(run_id)
        with self._writing(durable=True) as connection:
            life.resume(connection, key, process)

    def control(self, run_id: str) -> Control:
        which = {"of_key": self._key(run_id)}
        with self._reading() as connection:
            row = connection.execute(_CONTROL, which).first()
        if row is None:
            raise no_run(run_id)
        return Control(row.desired, row.pace, row.pause_at, row.desired_at)

    def queue_length(self) -> int:
        with self._reading() as connection:
            waiting = sa.select(sa.func.count()).where(runs.c.status == "queued", runs.c.deleted.is_(None))
            return connection.scalar(waiting) or 0

    def assign(self, process: Process, cap: int) -> str | None:
        """Hand the run that waits longest to an idle process, unless `cap` runs are trained on its machine; the run's id."""
        if self.queue_length() == 0:
            return None
        with self._writing() as connection:
            self._database.lock(connection)
            return life.assign(connection, process, cap)

    def claim(self, run_id: str, process: Process) -> "RunStore":
        """Begin to train a queued run, or one handed to this process: the store as its trainer writes to it.

        What it writes raises Superseded once another process has claimed the run. Raises BadInput if it is not to be had.
        """
        key = self._key(run_id)
        with self._writing() as connection:
            attempt = life.claim(connection, key, process)
        if attempt is None:
            raise BadInput(f"Run {run_id} is {self.run(run_id).status}, not waiting to be trained: resume it first.")
        view = copy.copy(self)
        view._attempt = attempt
        return view

    def heartbeat(
        self,
        run_id: str,
        expected_next_s: float,
        *,
        status: Status = "running",
        store_retries: int = 0,
        judged: float | None = None,
    ) -> None:
        """A sign of life from the training loop, with the promise of another within `expected_next_s` seconds."""
        now = time.time()
        expected = now + expected_next_s
        self._change(run_id, status=status, heartbeat=now, expected=expected, store_retries=store_retries, judged=judged)

    def park(self, run_id: str) -> None:
        """Leave a paused run to itself: its process ends, and going on puts it back in the queue.

        So does what was asked before this and not heard; or it is stopped, where it was that.
        """
        key = self._key(run_id)
        with self._writing() as connection:
            self._update_run(connection, key, **life.attended_by(None) | {"status": "paused"})
            life.obey_unheard(connection, key)

    def reach_pause(self, run_id: str, update: int) -> None:
        """Turn `pause_at`, where it is at most this update, into a pause."""
        due = (runs.c.key == self._key(run_id)) & (runs.c.pause_at <= update) & (runs.c.desired == "run")
        with self._writing() as connection:
            connection.execute(sa.update(runs).where(due).values(desired="pause", pause_at=None))

    def set_status(self, run_id: str, status: Status, *, error: str = "", solved: bool = False) -> None:
        """How a run ended: for good even if the power fails."""
        ended = time.time() if status in ENDED else None
        self._change(run_id, durable=True, status=status, error=error, solved=solved, ended=ended)

    def reconcile(self) -> int:
        """Make every run that says a process attends it say the truth; how many had to be changed."""
        with self._reading() as connection:
            attended = connection.execute(sa.select(runs).where(runs.c.status.in_(ATTENDED))).all()
        now = time.time()
        return self._settle([row for row in attended if true_status(row, now) != row.status])

    def unheeded_stops(self, after_s: float) -> list[Run]:
        """Runs that were told to stop so long ago, and whose trainer has been silent longer than it promised."""
        now = time.time()
        unheeded = (runs.c.desired == "stop") & (runs.c.desired_at < now - after_s) & (runs.c.expected < now)
        statement = _WITH_POSITION.where(runs.c.status.in_(ATTENDED), unheeded)
        with self._reading() as connection:
            return [run_from_row(row) for row in connection.execute(statement)]

    def _settle(self, rows: Sequence[Any]) -> int:
        if not rows:
            return 0
        with self._writing() as connection:
            return sum(life.settle(connection, row) for row in rows)

    def _row(self, run_id: str) -> Any:
        which = {"of_key": self._key(run_id)}
        with self._reading() as connection:
            row = connection.execute(_ONE_RUN, which).first()
        if row is None:
            raise no_run(run_id)
        return row


def resolve_prices(store: RunStore, key: str) -> PriceSeries:
    """The history a config names: a built-in sample, a synthetic market, or one in the store. Raises BadInput."""
    if key in SAMPLES:
        return load_sample(key)
    return market_of(key).series if key.startswith(PREFIX) else store.prices(key)


def _names_of_same(prices: str) -> list[str]:
    """All keys of the history that a key names: a sample has one of its own beside that of its content."""
    digest = load_sample(prices).digest if prices in SAMPLES else prices
    return [digest, *(key for key in SAMPLES if load_sample(key).digest == digest)]


def _place_in_queue() -> sa.ColumnElement[int]:
    other = runs.alias()
    earlier = (other.c.queued < runs.c.queued) | ((other.c.queued == runs.c.queued) & (other.c.key <= runs.c.key))
    ahead = sa.select(sa.func.count()).where(other.c.status == "queued", other.c.deleted.is_(None), earlier).scalar_subquery()
    return sa.case((runs.c.status == "queued", ahead))


_WITH_POSITION = sa.select(runs, _place_in_queue().label("position"))
_ONE_RUN = _WITH_POSITION.where(runs.c.key == sa.bindparam("of_key"))
_CONTROL = sa.select(runs.c.desired, runs.c.pace, runs.c.pause_at, runs.c.desired_at).where(
    runs.c.key == sa.bindparam("of_key")
)


def _tags(tags: Sequence[str]) -> str:
    return json.dumps(list(dict.fromkeys(filter(None, map(one_line, tags)))))
