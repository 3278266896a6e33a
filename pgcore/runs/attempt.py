"""The loop around a trainer: keep what it yields, make checkpoints, do what the page asks."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from pgcore.record import UpdateRecord
from pgcore.runs.data import Snapshot
from pgcore.runs.journal import Journal
from pgcore.runs.run import Status

CHECKPOINT_EVERY_S = 4.0  # at most 5 s of work may be lost
LOOK_EVERY_S = 0.05
BEAT_EVERY_S = 2.0
RECORDS_WAITING = 20_000
POLICIES_KEPT = 64
POLICY_BYTES_KEPT = 32_000_000


class StoredPolicy(Protocol):
    def to_bytes(self) -> bytes: ...


class Trainable(Protocol):
    """What is asked of a trainer; pgcore.trainer.Trainer is the one there is."""

    @property
    def finished(self) -> bool: ...
    @property
    def solved(self) -> bool: ...
    @property
    def policy(self) -> StoredPolicy: ...
    @property
    def is_midway(self) -> bool: ...
    def __iter__(self) -> Iterator[UpdateRecord]: ...
    def between_steps(self, act: Callable[[], object]) -> None: ...
    def state(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...


class _Left(BaseException):
    """Ends an update between two of its steps; how the attempt ends."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class Attempt:
    """One attempt to train a run to its end. `is_ended` tells when the process has been asked to end.

    With `park_after_s`, a run that is paused longer gives its process up. `is_midway` tells when the trainer stands within an
    update, with a policy that is neither the last whole one nor the next; its checkpoint is there then.
    """

    def __init__(
        self,
        journal: Journal,
        trainer: Trainable,
        is_ended: Callable[[], bool],
        on_record: Callable[[UpdateRecord], None] | None,
        park_after_s: float,
    ) -> None:
        self.journal = journal
        self.trainer = trainer
        self.is_ended = is_ended
        self.on_record = on_record
        self.park_after_s = park_after_s
        self.env_steps = 0
        self.is_midway = False
        self.stride = 1
        self.policy_bytes = 1
        self.update_s = 0.0
        self.began_at = -math.inf
        self.checkpoint_at = time.monotonic()
        trainer.between_steps(self._between_steps)

    def train(self) -> Status:
        """Train on from the last checkpoint: until "finished", or until the run is to be "stopped" or left "paused"."""
        self._restore()
        status = self._obey()
        if status is None:
            try:
                status = self._go_on()
            except _Left as left:
                self.is_midway = True
                return left.status
        if status != "paused" and not self.is_midway:
            self._checkpoint()
            self.keep_policy()
        return status or "finished"

    def _go_on(self) -> Status | None:
        """Update after update; how the attempt ends, None where the trainer has finished. Raises _Left."""
        for record in self.trainer:
            self._keep(record)
            if self.journal.is_due():
                self._sync()
            status = self._obey()
            if status is not None:
                return status
        return None

    def keep_policy(self) -> None:
        """Keep the policy as it is now."""
        state = self.trainer.policy.to_bytes()
        self.policy_bytes = len(state)
        self.journal.policies.append(Snapshot(self.journal.update, self.env_steps, state))

    def _restore(self) -> None:
        store, run_id = self.journal.store, self.journal.run_id
        checkpoints = self.journal.insist(lambda: store.checkpoints(run_id))
        if checkpoints:
            update, self.env_steps = checkpoints[-1]
            state = self.journal.insist(lambda: store.checkpoint(run_id, update))
            assert state is not None
            self.trainer.restore(state)
            self.journal.update = update
            self.is_midway = self.trainer.is_midway
        else:
            self.keep_policy()
        self.journal.control = self.journal.insist(lambda: store.control(run_id))

    def _keep(self, record: UpdateRecord) -> None:
        now = time.monotonic()
        self.update_s = now - self.began_at
        self.is_midway = False
        self.journal.update, self.env_steps = record.update, record.env_steps
        self.journal.records.append(record)
        self._show(record)
        stride = policy_stride(record.update, self.policy_bytes)
        if stride != self.stride:
            self.journal.keep_every = self.stride = stride
            self.journal.policies = [policy for policy in self.journal.policies if policy.update % stride == 0]
        if record.update % stride == 0:
            self.keep_policy()
        if now - self.checkpoint_at + self.update_s >= CHECKPOINT_EVERY_S:
            self._checkpoint()

    def _between_steps(self) -> None:
        """In an update that takes long no more work is at risk, and nothing asked waits longer, than in many short ones."""
        if time.monotonic() - self.checkpoint_at >= CHECKPOINT_EVERY_S:
            self._checkpoint()
            self._sync()
            asked_at = time.monotonic()
            status = self._heed()
            if status is not None:
                raise _Left(status)
            self.began_at += time.monotonic() - asked_at

    def _show(self, record: UpdateRecord) -> None:
        if self.on_record is not None:
            try:
                self.on_record(record)
            except BrokenPipeError:  # whoever read along has left
                self.on_record = None

    def _checkpoint(self) -> None:
        self.journal.checkpoint = Snapshot(self.journal.update, self.env_steps, self.trainer.state())
        self.checkpoint_at = time.monotonic()

    def _sync(self) -> bool:
        return self.journal.sync(expected_next_s=max(10.0, 10 * self.update_s))

    # ---- what the page asks

    def _obey(self) -> Status | None:
        """Do what is wanted between two updates; how the attempt ends, if it is to end here."""
        while not self.trainer.finished:
            status = self._heed()
            if status is not None:
                return status
            wait_s = self._wait_s()
            if wait_s <= 0:
                self.began_at = time.monotonic()
                return None
            self._idle(wait_s)
        return None

    def _heed(self) -> Status | None:
        """Wait while a pause is wanted; how the attempt ends, if it is to end here."""
        while not self._is_to_stop():
            if not self._is_to_pause():
                return None
            if not self._pause():
                return "paused"
        return "stopped"

    def _is_to_stop(self) -> bool:
        return self.is_ended() or self.journal.control.desired == "stop"

    def _is_to_pause(self) -> bool:
        wanted = self.journal.control
        return wanted.desired == "pause" or (wanted.pause_at is not None and self.journal.update >= wanted.pause_at)

    def _wait_s(self) -> float:
        """How much too early it is for the next update at the pace wanted, or while too much waits for the store."""
        if len(self.journal.records) > RECORDS_WAITING:
            return LOOK_EVERY_S
        pace = self.journal.control.pace
        return self.began_at + 1 / pace - time.monotonic() if pace else 0.0

    def _pause(self) -> bool:
        """Wait while a pause is wanted; False where the run is to be left paused without a process."""
        self._checkpoint()
        self.journal.status = "paused"
        self._sync()
        started = time.monotonic()
        while self._is_to_pause() and not self._is_to_stop():
            if time.monotonic() - started > self.park_after_s:
                return False
            self._idle(LOOK_EVERY_S)
        self.journal.status = "running"
        self._sync()
        return True

    def _idle(self, seconds: float) -> None:
        time.sleep(min(seconds, LOOK_EVERY_S))
        if self.journal.is_due() and (self.journal.records or time.monotonic() - self.journal.synced_at > BEAT_EVERY_S):
            self._sync()
        elif not self.journal.is_failing:
            self.journal.listen()


def policy_stride(update: int, policy_bytes: int) -> int:
    """Every how many updates a policy is kept: a power of two, so that those kept stay evenly spread while they are thinned.

    Keeps at most 64, and at most 32 MB but for two.
    """
    room = max(2, min(POLICIES_KEPT, POLICY_BYTES_KEPT // policy_bytes))
    return 1 << max(0, math.ceil(math.log2(update / room))) if update > room else 1
