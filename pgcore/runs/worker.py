"""The process that trains one run: `python -m pgcore.runs.worker` gets ready, reads a run id, trains that run and ends."""

import _thread
import contextlib
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.evaluate import evaluate
from pgcore.market.prices import PriceSeries
from pgcore.policies import Policy, policy_from_bytes
from pgcore.record import UpdateRecord
from pgcore.runs.attempt import Attempt, Trainable
from pgcore.runs.data import Snapshot, Superseded
from pgcore.runs.database import StoreError
from pgcore.runs.journal import Journal
from pgcore.runs.judgement import validated
from pgcore.runs.pool import cores, most_trainers
from pgcore.runs.run import Run, Status
from pgcore.runs.store import RunStore, resolve_prices
from pgcore.trainer import Trainer

READY = "ready"
EVALUATION_S = 600.0
LISTEN_EVERY_S = 0.3
PARK_AFTER_S = 60.0
NICENESS = 5
AUTOGROUP = Path("/proc/self/autogroup")
MAX_ERROR = 20_000

MakeTrainer = Callable[[TrainConfig, PriceSeries | None], Trainable]
Judge = Callable[..., dict[str, Any]]  # called as `evaluate` is


def train_run(
    store: RunStore,
    run_id: str,
    on_record: Callable[[UpdateRecord], None] | None = None,
    *,
    make_trainer: MakeTrainer = Trainer,
    judge: Judge = evaluate,
    park_after_s: float = float("inf"),
) -> Run:
    """Train a run that is queued, or was handed to this process, to its end, from its last checkpoint; how it stands then.

    It ends when the trainer does, on request, on SIGTERM or SIGINT (then without an evaluation), and as failed where the
    trainer raises. An update that takes long is left where it is, and gone on with when the run is resumed. A stop asked for
    while it is being judged ends that too: it is judged when resumed. Raises BadInput where the run is not to be had,
    Superseded where another process took it over, StoreError where the store would not let it be claimed, or stayed away for
    half a minute after a signal; otherwise a store that is away is waited for.
    """
    torch.set_num_threads(1)
    journal = Journal(store, run_id)
    run = journal.claim()
    mine = journal.store
    status: Status = "failed"
    error, solved = "", False
    attempt = None
    with _ending_signals() as is_ended:
        journal.is_ended = is_ended
        try:
            prices = journal.insist(lambda: resolve_prices(mine.as_user(run.owner), run.prices)) if run.prices else None
            attempt = Attempt(journal, make_trainer(run.config, prices), is_ended, on_record, park_after_s)
            status = attempt.train()
            solved = bool(attempt.trainer.solved)
            is_to_be_judged = journal.update > 0 and not (status == "stopped" and journal.is_behind)
            if status != "paused" and is_to_be_judged and not is_ended():
                try:
                    _evaluate(journal, lambda: _result(run, attempt, judge, prices))
                except _GivenUp as given_up:
                    status = "stopped"
                    if given_up.by_signal:
                        journal.is_ended = lambda: True
        except (Superseded, StoreError):
            raise
        except BadInput as problem:
            error = str(problem)
            if attempt is not None:
                attempt.keep_policy()
        except Exception:
            error = traceback.format_exc()[-MAX_ERROR:]
        journal.conclude(status, error=error.replace("\0", ""), solved=solved)  # which PostgreSQL would refuse for ever
    return journal.insist(lambda: mine.run(run.id))


def _result(run: Run, attempt: Attempt, judge: Judge, prices: PriceSeries | None) -> dict[str, Any]:
    """The evaluation of the last whole policy; on prices with a validation part, of the checkpoint that did best there.

    That one is then the run's own policy, whatever came after it.
    """
    journal = attempt.journal

    def tell(share: float) -> None:
        journal.judged = share
        if journal.is_due():
            journal.sync(EVALUATION_S)

    scores = journal.insist(lambda: validated(journal.store, run, lambda share: tell(share / 2))) if run.prices else []
    scores = [score for score in scores if score[0] <= journal.update]  # none of an attempt that got further, and crashed
    if not scores:
        policy = _last_whole_policy(journal) if attempt.is_midway else attempt.trainer.policy
        return judge(run.config, policy, prices, progress=tell)
    update, env_steps, growth = max(scores, key=lambda score: score[2])
    state = journal.insist(lambda: journal.store.policy_bytes(run.id, update))
    assert state is not None
    journal.chosen = Snapshot(update, env_steps, state)
    result = judge(run.config, policy_from_bytes(state), prices, progress=lambda share: tell((1 + share) / 2))
    among = [dict(zip(("update", "env_steps", "validation_growth"), score, strict=True)) for score in scores]
    return result | {"checkpoint": {"update": update, "env_steps": env_steps, "validation_growth": growth, "among": among}}


def _last_whole_policy(journal: Journal) -> Policy:
    """Of a run that was left within an update: the last of those it has kept."""
    kept = journal.insist(lambda: journal.store.policies(journal.run_id))
    update = max(update for update, _ in kept if update <= journal.update)
    state = journal.insist(lambda: journal.store.policy_bytes(journal.run_id, update))
    assert state is not None
    return policy_from_bytes(state)


class _GivenUp(BaseException):
    """Somebody would rather have an end than a result: on the page, or of the process, by a signal."""

    def __init__(self, by_signal: bool) -> None:
        super().__init__()
        self.by_signal = by_signal


def _evaluate(journal: Journal, judge: Callable[[], dict[str, Any]]) -> None:
    """A result that cannot be had is an event of the run, not its failure. Raises _GivenUp."""
    journal.flush(expected_next_s=EVALUATION_S)  # the last policies may be the best: they are chosen from what is in the store
    try:
        with _until_stopped(journal):
            journal.evaluation = judge()
    except (Superseded, StoreError):
        raise
    except Exception:
        message = traceback.format_exc()[-MAX_ERROR:].replace("\0", "")
        journal.insist(lambda: journal.store.add_event(journal.run_id, "evaluation failed", message))


@contextmanager
def _until_stopped(journal: Journal) -> Iterator[None]:
    """A judge has no moment at which to look what is wanted: a stop asked for from now on, or a signal, raises _GivenUp."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_done, is_asked, known = threading.Event(), threading.Event(), journal.control.desired_at

    def give_up(*_: object) -> None:
        if not is_done.is_set():
            is_done.set()
            raise _GivenUp(by_signal=not is_asked.is_set())

    def listen() -> None:
        while not is_done.wait(LISTEN_EVERY_S):
            with contextlib.suppress(BadInput, StoreError):  # without the run or the store the judge's own words come to it
                control = journal.store.control(journal.run_id)
                if control.desired == "stop" and control.desired_at != known:
                    is_asked.set()
                    _thread.interrupt_main(signal.SIGTERM)

    listener = threading.Thread(target=listen, name="until-stopped")
    with _handling_signals(give_up):
        listener.start()
        try:
            yield
        finally:
            is_done.set()
            listener.join()


@contextmanager
def _ending_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT ask for an orderly end; a second SIGINT does not wait for it."""
    received: list[int] = []

    def note(number: int, _: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    with _handling_signals(note):
        yield lambda: bool(received)


@contextmanager
def _handling_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class _TakenBack(Exception):
    """Ends a rehearsal."""


def warm_up(store: RunStore) -> None:
    """Pay what the first run of a process costs: one update of each task, and the first words with the store."""
    torch.set_num_threads(1)
    sample = resolve_prices(store, "sp500")
    for config, prices in ((TrainConfig(task="stocks", max_steps=100), sample), (TrainConfig(max_steps=100), None)):
        trainer = Trainer(config, prices)
        record = next(iter(trainer))
        snapshot = Snapshot(record.update, record.env_steps, trainer.state())
        trainer.policy.to_bytes()
    with contextlib.suppress(_TakenBack, StoreError), store.transaction() as together:
        journal = Journal(together, together.create_run(config), patience_s=0.0)
        journal.claim()
        journal.records, journal.policies, journal.checkpoint = [record], [snapshot], snapshot
        together.checkpoints(journal.run_id)
        journal.sync(expected_next_s=1.0)
        journal.conclude("stopped")
        raise _TakenBack


def main() -> int:
    try:
        _give_way()
        store = RunStore(patience_s=0.25)
        warm_up(store)
        print(READY, flush=True)
        run_id = sys.stdin.readline().strip()
        if run_id:
            _let_go()
            train_run(store, run_id, park_after_s=PARK_AFTER_S)
    except BadInput as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    return 0


def _let_go() -> None:
    """From here on it does not matter whether who started this process still lives."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)


def _give_way() -> None:
    """Getting ready and training take what the pages leave, so that they answer at once while every core trains; alone they
    are as fast. The more trainers there may be to a core, the more each gives way."""
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        return
    niceness = os.nice(min(19, NICENESS * math.ceil(most_trainers() / cores())))  # beyond the server's: less is not for all
    if os.getsid(0) == os.getpid():
        _have_session_give_way(niceness)


def _have_session_give_way(niceness: int) -> None:
    """Linux may share the cores among sessions, as equals, and look at niceness only within each."""
    with contextlib.suppress(OSError):  # it does not
        while True:
            try:
                AUTOGROUP.write_text(str(niceness), encoding="ascii")
            except BlockingIOError:  # it heard another one less than a tenth of a second ago
                time.sleep(0.1)
            else:
                return


if __name__ == "__main__":
    sys.exit(main())
