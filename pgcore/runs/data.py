"""What belongs to a run and to its owner: records, checkpoints, policies, results, events, prices; and the door to them."""

import copy
import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pgcore.errors import BadInput
from pgcore.market.prices import PriceSeries
from pgcore.record import UpdateRecord
from pgcore.runs.database import Database, upsert
from pgcore.runs.packing import COLUMNS, Records, pack_prices, pack_record, sharpe_on_test, unpack_prices, unpack_records
from pgcore.runs.schema import checkpoints, chosen_policies, evaluations, events, policies, price_names, prices, records, runs

CHECKPOINTS_KEPT = 2
MAX_NAME = 200
FORMULA = "=+-@ "  # what a spreadsheet takes for the beginning of one, from any table that a page lets be downloaded


class Superseded(BadInput):
    """Another process trains the run now; nothing was written."""


@dataclass(frozen=True)
class Snapshot:
    """A policy or a trainer's state, as bytes, after an update."""

    update: int
    env_steps: int
    state: bytes


@dataclass(frozen=True)
class Event:
    at: datetime
    kind: str
    message: str


@dataclass(frozen=True)
class StoredPrices:
    """A stored history, without its prices: `first` and `last` are ISO dates."""

    digest: str
    name: str
    length: int
    first: str
    last: str
    created: datetime


class RunData:
    """The half of RunStore that holds what runs produce. Times in rows are seconds since the epoch."""

    def __init__(self, url: str | None = None, *, patience_s: float = 5.0) -> None:
        """`url` None: PGLAB_DATABASE_URL, else SQLite in the data directory. `patience_s`: how long to wait for a lock."""
        self._database = Database(url, patience_s)
        self._keys: dict[str, tuple[int, str]] = {}
        self._attempt: int | None = None
        self._transaction: Connection | None = None
        self._is_mine = False
        self.owner = ""

    @property
    def url(self) -> str:
        """What opens this store again, password included."""
        return self._database.url.render_as_string(hide_password=False)

    def as_user(self, owner: str) -> Self:
        """The same store, but nothing in it that is not this owner's; "" is the one person on a machine of their own."""
        view = copy.copy(self)
        view.owner = owner
        return view

    @contextmanager
    def transaction(self, durable: bool = False) -> Iterator[Self]:
        """The same store for several writes at once: all of them are made, or none; `durable`: even if the power fails.

        One inside another is a part of it.
        """
        if self._transaction is not None:
            yield self
            return
        with self._database.write(durable) as connection:
            together = copy.copy(self)
            together._transaction = connection
            together._is_mine = False
            yield together

    def close(self) -> None:
        self._database.engine.dispose()

    # ---- what it did

    def append_records(self, run_id: str, new: Sequence[UpdateRecord]) -> None:
        """Add records, oldest first; one of an update that is there already replaces it, as a resumed run does."""
        if not new:
            return
        key, last = self._key(run_id), new[-1]
        with self._writing() as connection:
            counters = {"env_steps": last.env_steps, "updates": last.update, "episodes": last.episodes, "wall_s": last.wall_s}
            self._update_run(connection, key, **counters, return_mean=last.return_mean)
            connection.execute(self._upsert(records), [{"run_key": key, **pack_record(record)} for record in new])
            best = max(filter(math.isfinite, chain(*(record.episode_returns for record in new))), default=None)
            if best is not None:
                connection.execute(_BETTER, {"of_key": key, "best": best})

    def records(self, run_id: str, after: int = 0, limit: int | None = None, every: int = 1) -> Records:
        """The records of the updates that follow update `after`, at most `limit`.

        With `every`, only those of updates that are multiples of it, and the last one: a long run at a glance.
        """
        statement, which = _RECORDS, {"of_key": self._key(run_id), "after": after}
        if every > 1:
            statement, which = _SOME_RECORDS, which | {"every": every}
        if limit is not None:
            statement = statement.limit(limit)
        with self._reading() as connection:
            return unpack_records(connection.execute(statement, which).all())

    def drop_records(self, run_id: str, after: int) -> None:
        """Remove what an earlier attempt wrote beyond the end of the run."""
        key = self._key(run_id)
        with self._writing() as connection:
            self._update_run(connection, key)
            for table in (records, policies, checkpoints):
                connection.execute(sa.delete(table).where(table.c.run_key == key, table.c["update"] > after))

    def recount(self, run_id: str) -> None:
        """Let the run say what its last record says: an attempt that begins at a checkpoint turns its counters back."""
        key, columns = self._key(run_id), ("env_steps", "update", "episodes", "wall_s", "return_mean")
        statement = sa.select(*(records.c[name] for name in columns)).where(records.c.run_key == key)
        with self._writing() as connection:
            last = connection.execute(statement.order_by(records.c["update"].desc()).limit(1)).one()._asdict()
            self._update_run(connection, key, updates=last.pop("update"), **last)

    def save_checkpoint(self, run_id: str, update: int, env_steps: int, state: bytes) -> None:
        """Keep a trainer's state even if the power fails, and with it all records so far; only the last two are kept."""
        key = self._key(run_id)
        with self._writing(durable=True) as connection:
            self._update_run(connection, key)
            row = {"run_key": key, "update": update, "env_steps": env_steps, "state": state}
            connection.execute(self._upsert(checkpoints), row)
            kept = (
                sa.select(checkpoints.c["update"])
                .where(checkpoints.c.run_key == key)
                .order_by(checkpoints.c["update"].desc())
                .limit(CHECKPOINTS_KEPT)
            )
            outdated = (checkpoints.c.run_key == key) & checkpoints.c["update"].not_in(connection.scalars(kept).all())
            connection.execute(sa.delete(checkpoints).where(outdated))

    def checkpoint(self, run_id: str, update: int | None = None) -> bytes | None:
        """The trainer's state after an update, the last one by default."""
        return self._state(checkpoints, run_id, update)

    def checkpoints(self, run_id: str) -> list[tuple[int, int]]:
        """(update, env_steps) of the trainer's states there are, oldest first."""
        return self._states(checkpoints, run_id)

    def save_policies(self, run_id: str, snapshots: Sequence[Snapshot], *, keep_every: int = 1) -> None:
        """Add policies, and drop the earlier ones whose update is no multiple of `keep_every`."""
        key = self._key(run_id)
        added = [{"run_key": key, "update": s.update, "env_steps": s.env_steps, "state": s.state} for s in snapshots]
        with self._writing() as connection:
            self._update_run(connection, key)
            if keep_every > 1:
                between = (policies.c.run_key == key) & (policies.c["update"] % keep_every != 0)
                connection.execute(sa.delete(policies).where(between))
            if added:
                connection.execute(self._upsert(policies), added)

    def policy_bytes(self, run_id: str, update: int | None = None) -> bytes | None:
        """The policy after an update as a safetensors file; by default the run's own: the chosen one, else the last."""
        chosen = self._state(chosen_policies, run_id, None) if update is None else None
        return self._state(policies, run_id, update) if chosen is None else chosen

    def choose_policy(self, run_id: str, snapshot: Snapshot) -> None:
        """Make a policy the run's own, whatever came after it; its history of policies stays as it is."""
        key = self._key(run_id)
        row = {"run_key": key, "update": snapshot.update, "env_steps": snapshot.env_steps, "state": snapshot.state}
        with self._writing() as connection:
            self._update_run(connection, key)
            connection.execute(self._upsert(chosen_policies), row)

    def policies(self, run_id: str) -> list[tuple[int, int]]:
        """(update, env_steps) of the policies there are, oldest first: the learning, to be replayed."""
        return self._states(policies, run_id)

    def save_evaluation(self, run_id: str, kind: str, result: dict[str, Any]) -> None:
        """Keep a result made of dicts, lists, texts and numbers, NaN and NumPy's included, under a name of its own.

        One that takes the place of another and does not name its checkpoint is of the same: the run's own policy.
        """
        if "checkpoint" not in result and (earlier := self.evaluation(run_id, kind)) and "checkpoint" in earlier:
            result = result | {"checkpoint": earlier["checkpoint"]}
        text = json.dumps(result, default=_plain)
        sharpe = sharpe_on_test(result)
        row = {"run_key": self._key(run_id), "kind": kind, "result": text, "test_sharpe": sharpe}
        with self._writing() as connection:
            connection.execute(self._upsert(evaluations), row)

    def evaluation(self, run_id: str, kind: str) -> dict[str, Any] | None:
        where = (evaluations.c.run_key == self._key(run_id)) & (evaluations.c.kind == kind)
        with self._reading() as connection:
            text = connection.scalar(sa.select(evaluations.c.result).where(where))
        return None if text is None else json.loads(text)

    def evaluations(self, run_id: str) -> list[str]:
        """The names of the results there are."""
        statement = sa.select(evaluations.c.kind).where(evaluations.c.run_key == self._key(run_id)).order_by(evaluations.c.kind)
        with self._reading() as connection:
            return list(connection.scalars(statement))

    def add_event(self, run_id: str, kind: str, message: str) -> None:
        row = {"run_key": self._key(run_id), "at": time.time(), "kind": kind, "message": message}
        with self._writing() as connection:
            connection.execute(sa.insert(events), row)

    def events(self, run_id: str) -> list[Event]:
        """What happened to it, oldest first."""
        statement = sa.select(events).where(events.c.run_key == self._key(run_id)).order_by(events.c.key)
        with self._reading() as connection:
            rows = connection.execute(statement).all()
        return [Event(datetime.fromtimestamp(row.at, UTC), row.kind, row.message) for row in rows]

    # ---- prices

    def save_prices(self, series: PriceSeries, owner: str = "") -> str:
        """Keep a history under the hash of its content, and its name for this owner; that hash."""
        digest, data = series.digest, pack_prices(series)
        days = {"first": str(series.dates[0])[:10], "last": str(series.dates[-1])[:10]}
        name = {"owner": self.owner or owner, "digest": digest, "name": one_line(series.name), "created": time.time()}
        with self._writing(durable=True) as connection:
            row = {"digest": digest, "length": len(series), "data": data, **days}
            connection.execute(self._upsert(prices), row)
            connection.execute(self._upsert(price_names), name)
        return digest

    def prices(self, digest: str) -> PriceSeries:
        """A stored history. Raises BadInput where there is none of this hash, or only somebody else's."""
        statement = sa.select(prices.c.data, price_names.c.name).join(price_names).where(prices.c.digest == digest)
        if self.owner:
            statement = statement.where(price_names.c.owner == self.owner)
        with self._reading() as connection:
            row = connection.execute(statement.order_by(price_names.c.created)).first()
        if row is None:
            raise no_prices(digest)
        return unpack_prices(row.data, row.name)

    def price_list(self, owner: str | None = None) -> list[StoredPrices]:
        """The stored histories, newest first."""
        columns = (
            price_names.c.digest,
            price_names.c.name,
            prices.c.length,
            prices.c.first,
            prices.c.last,
            price_names.c.created,
        )
        listed = sa.select(*columns).join(prices).where(price_names.c.deleted.is_(None))
        statement = listed.order_by(price_names.c.created.desc())
        if self.owner or owner:
            statement = statement.where(price_names.c.owner == (self.owner or owner))
        with self._reading() as connection:
            rows = connection.execute(statement).all()
        return [StoredPrices(*row[:-1], created=datetime.fromtimestamp(row[-1], UTC)) for row in rows]

    def delete_prices(self, digest: str) -> None:
        """Take a history out of the list; its data go once no run that was trained on it is left either.

        Raises BadInput as `prices` does.
        """
        named = price_names.c.digest == digest
        if self.owner:
            named &= price_names.c.owner == self.owner
        with self._writing(durable=True) as connection:
            if not connection.execute(sa.update(price_names).where(named).values(deleted=time.time())).rowcount:
                raise no_prices(digest)
            drop_unused_prices(connection)

    # ---- how it finds and changes rows

    def _key(self, run_id: str) -> int:
        """The key of a run this person may see: the one door through which every read and every command goes."""
        known = self._keys.get(run_id)
        if known is None:
            if not re.fullmatch("[0-9a-f-]{4,36}", run_id):
                raise no_run(run_id)
            statement = sa.select(runs.c.key, runs.c.owner, runs.c.id).where(runs.c.id.startswith(run_id)).limit(2)
            if self.owner:
                statement = statement.where(runs.c.owner == self.owner)
            with self._reading() as connection:
                found = connection.execute(statement).all()
            if not found:
                raise no_run(run_id)
            if len(found) > 1:
                raise BadInput(f"More than one run begins with {run_id}: give more of its id.")
            known = (found[0].key, found[0].owner)
            self._keys[found[0].id] = known
        key, owner = known
        if self.owner and owner != self.owner:
            raise no_run(run_id)
        return key

    def _reading(self) -> AbstractContextManager[Connection]:
        return nullcontext(self._transaction) if self._transaction is not None else self._database.read()

    def _writing(self, durable: bool = False) -> AbstractContextManager[Connection]:
        return nullcontext(self._transaction) if self._transaction is not None else self._database.write(durable)

    def _change(self, run_id: str, *, durable: bool = False, **values: Any) -> None:
        key = self._key(run_id)
        with self._writing(durable) as connection:
            self._update_run(connection, key, **values)

    def _update_run(self, connection: Connection, key: int, **values: Any) -> None:
        """Change a run's row; in the hands of a trainer a sign of life, and refused once the run is another's."""
        statement, which = _ANY_RUN, {"of_key": key}
        if self._attempt is not None and not self._is_mine:
            statement, which = _OWN_RUN, {"of_key": key, "of_attempt": self._attempt}
            values.setdefault("heartbeat", time.time())
        if values and connection.execute(statement, which | values).rowcount == 0:
            raise Superseded("Another process trains this run now, or it was removed: this one ends.")
        self._is_mine = self._transaction is not None  # and stays so until that transaction ends

    def _upsert(self, table: sa.Table) -> Any:
        return upsert(table, self._database.is_sqlite)

    def _state(self, table: sa.Table, run_id: str, update: int | None) -> bytes | None:
        statement = sa.select(table.c.state).where(table.c.run_key == self._key(run_id))
        if update is not None:
            statement = statement.where(table.c["update"] == update)
        with self._reading() as connection:
            return connection.scalar(statement.order_by(table.c["update"].desc()).limit(1))

    def _states(self, table: sa.Table, run_id: str) -> list[tuple[int, int]]:
        statement = sa.select(table.c["update"], table.c.env_steps).where(table.c.run_key == self._key(run_id))
        with self._reading() as connection:
            return [(row[0], row[1]) for row in connection.execute(statement.order_by(table.c["update"]))]


# What is said many times a second, built once.
_RECORDS = (
    sa.select(*(records.c[name] for name in COLUMNS))
    .where(records.c.run_key == sa.bindparam("of_key"), records.c["update"] > sa.bindparam("after"))
    .order_by(records.c["update"])
)
_LAST = sa.select(sa.func.max(records.c["update"])).where(records.c.run_key == sa.bindparam("of_key")).scalar_subquery()
_SOME_RECORDS = _RECORDS.where((records.c["update"] % sa.bindparam("every") == 0) | (records.c["update"] == _LAST))
_ANY_RUN = sa.update(runs).where(runs.c.key == sa.bindparam("of_key"))
_BETTER = _ANY_RUN.where(
    runs.c.return_best.is_(None) | (runs.c.return_best < sa.bindparam("best", type_=runs.c.return_best.type))
).values(return_best=sa.bindparam("best", type_=runs.c.return_best.type))
_OWN_RUN = _ANY_RUN.where(runs.c.attempt == sa.bindparam("of_attempt"))


def no_run(run_id: str) -> BadInput:
    return BadInput(f"There is no run {run_id[:40]!r}: choose one from the list of runs.")


def no_prices(digest: str) -> BadInput:
    return BadInput(f"There are no prices {digest[:40]!r}: upload the file again, or choose another history.")


def drop_unused_prices(connection: Connection) -> None:
    """Remove deleted histories that no run of their owner was trained on."""
    is_used = sa.exists().where(runs.c.prices == price_names.c.digest, runs.c.owner == price_names.c.owner)
    connection.execute(sa.delete(price_names).where(price_names.c.deleted.is_not(None), ~is_used))
    connection.execute(sa.delete(prices).where(~sa.exists().where(price_names.c.digest == prices.c.digest)))


def one_line(text: str) -> str:
    """A name fit for one line and for a spreadsheet's cell: no control characters, no formula, not endless."""
    return "".join(c if c.isprintable() else " " for c in text).lstrip(FORMULA).rstrip()[:MAX_NAME]


def _plain(value: Any) -> Any:
    """What json.dumps does not know: NumPy's numbers and arrays."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
