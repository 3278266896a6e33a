"""How a run goes from one state to the next: each step is one conditional statement, so two processes cannot both take it."""

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pgcore.errors import BadInput
from pgcore.runs.process import CLOCK_TOLERANCE_S, Process
from pgcore.runs.run import ATTENDED, Desired, true_status
from pgcore.runs.schema import checkpoints, events, runs

FIRST_SIGN_S = 60.0
KEEP: Any = object()
SUPERSEDED = {"attempt": runs.c.attempt + 1}
GONE = "The process that trained it is gone: it was killed, ran out of memory, or its machine went down. Resume it to go on."


def attended_by(process: Process | None) -> dict[str, Any]:
    """The columns that name the process of a run, and its promise of a first sign of life."""
    if process is None:
        return dict.fromkeys(("host", "boot", "pid", "process_started", "heartbeat", "expected", "judged"))
    now = time.time()
    identity = {"host": process.host, "boot": process.boot, "pid": process.pid, "process_started": process.started}
    return identity | {"heartbeat": now, "expected": now + FIRST_SIGN_S, "judged": None}


def waiting(process: Process | None) -> dict[str, Any]:
    """The columns of a run that waits in the queue, or is handed to a process at once and was never `queued`."""
    place = {"status": "starting", "queued": None} if process else {"status": "queued", "queued": time.time()}
    return attended_by(process) | place | {"desired": "run", "ended": None, "error": ""}


def claim(connection: Connection, key: int, process: Process) -> int | None:
    """Begin to train: the number of this attempt, or None where the run is not for this process to train."""
    handed_over = (runs.c.status == "starting") & _is_with(process)
    return connection.scalar(
        sa.update(runs)
        .where(runs.c.key == key, runs.c.deleted.is_(None), (runs.c.status == "queued") | handed_over)
        .values(
            attended_by(process)
            | {"status": "running", "attempt": runs.c.attempt + 1, "started": sa.func.coalesce(runs.c.started, time.time())}
        )
        .returning(runs.c.attempt)
    )


def assign(connection: Connection, process: Process, cap: int) -> str | None:
    """Hand the run that waits longest to an idle process, unless `cap` runs have a place on its machine; the run's id.

    A paused one keeps its place until it parks, since it goes on the moment it is asked to. One that was never queued, as
    from a terminal, does not park and would hold the queue up for good: paused, it has no place.
    """
    has_place = runs.c.status.in_(("starting", "running")) | ((runs.c.status == "paused") & runs.c.queued.is_not(None))
    busy = sa.select(sa.func.count()).where(_is_on_machine_of(process), has_place)
    if connection.execute(busy).scalar_one() >= cap:
        return None
    waiting_runs = sa.select(runs.c.key).where(runs.c.status == "queued", runs.c.deleted.is_(None))
    first = connection.scalar(waiting_runs.order_by(runs.c.queued, runs.c.key).limit(1))
    return connection.scalar(
        sa.update(runs)
        .where(runs.c.key == first, runs.c.status == "queued")
        .values(attended_by(process) | {"status": "starting"})
        .returning(runs.c.id)
    )


def resume(connection: Connection, key: int, process: Process | None) -> None:
    """Queue a run that ended early or is stale, or let a paused one go on; whoever trained it before may no longer write."""
    row = connection.execute(sa.select(runs).where(runs.c.key == key).with_for_update()).one()
    if row.deleted is not None:
        raise BadInput(f"Run {row.id} is deleted: restore it first.")
    if row.status == "finished":
        raise BadInput(f"Run {row.id} is finished: to train longer, start a new run with a larger step budget.")
    if row.updates and _came_without_checkpoint(connection, key):
        raise BadInput(
            f"Run {row.id} was trained elsewhere, and its file held no checkpoint to go on from: train anew instead."
        )
    if row.status in ATTENDED and row.status != "stale" and row.pid is not None:
        if process is not None:
            raise BadInput(f"Run {row.id} is {row.status} in process {row.pid} on {row.host}: stop it there first.")
        request(connection, key, "run", KEEP, KEEP)
    elif row.status != "queued" or process is not None:
        connection.execute(sa.update(runs).where(runs.c.key == key).values(waiting(process) | {"pause_at": None} | SUPERSEDED))


def _came_without_checkpoint(connection: Connection, key: int) -> bool:
    """Whether a run was imported: to train it on would mean to begin again, and to lose what it has learned."""
    imported = sa.exists().where(events.c.run_key == key, events.c.kind == "imported")
    return bool(connection.scalar(sa.select(imported & ~sa.exists().where(checkpoints.c.run_key == key))))


def request(connection: Connection, key: int, desired: Desired | None, pace: float | None, pause_at: int | None) -> None:
    """Note what is wanted; a run that no process attends obeys at once, a stale one where it is to stop."""
    row = connection.execute(sa.select(runs.c.status, runs.c.pid).where(runs.c.key == key).with_for_update()).one()
    values: dict[str, Any] = {name: given for name, given in (("pace", pace), ("pause_at", pause_at)) if given is not KEEP}
    if desired is not None and (row.status == "queued" or row.status in ATTENDED):
        values |= {"desired": desired, "desired_at": time.time()}
        parked = row.status == "paused" and row.pid is None
        if desired == "stop" and (parked or row.status in ("queued", "stale")):
            values |= {"status": "stopped", "ended": time.time()} | SUPERSEDED
        elif desired == "run" and parked:
            values |= waiting(None)
    if values:
        connection.execute(sa.update(runs).where(runs.c.key == key).values(values))


def obey_unheard(connection: Connection, key: int) -> None:
    """Do what was asked of a run after its trainer had listened last; this transaction has parked it, so nobody else will."""
    desired = connection.execute(sa.select(runs.c.desired).where(runs.c.key == key)).scalar_one()
    if desired != "pause":
        request(connection, key, desired, KEEP, KEEP)


def settle(connection: Connection, row: Any) -> bool:
    """Make a row say the truth about its process; whether it had to be changed and nobody else changed it first."""
    status = true_status(row, time.time())
    if status == row.status:
        return False
    values: dict[str, Any] = {"status": status}
    if status == "queued":
        values |= attended_by(None) | {"queued": sa.func.coalesce(runs.c.queued, time.time())}
    elif status == "crashed":
        values |= {"ended": row.heartbeat, "error": GONE}
    unchanged = (runs.c.status == row.status) & (runs.c.attempt == row.attempt)
    return connection.execute(sa.update(runs).where(runs.c.key == row.key, unchanged).values(values)).rowcount > 0


def _is_with(process: Process) -> sa.ColumnElement[bool]:
    return (
        _is_on_machine_of(process)
        & (runs.c.pid == process.pid)
        & runs.c.process_started.between(process.started - CLOCK_TOLERANCE_S, process.started + CLOCK_TOLERANCE_S)
    )


def _is_on_machine_of(process: Process) -> sa.ColumnElement[bool]:
    """By the boot, where one is known: the machine may have been renamed since."""
    same_boot = runs.c.boot == process.boot
    return same_boot if process.boot else same_boot & (runs.c.host == process.host)
