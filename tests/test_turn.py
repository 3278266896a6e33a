"""A turn: an update that is left between two of its steps and gone on with elsewhere comes out the same to the bit."""

import time
from functools import partial

import pytest
import torch

from pgcore import optimisers, rollout
from pgcore.config import TrainConfig, estimators_for
from pgcore.estimators import ESTIMATORS
from pgcore.market.prices import load_sample
from pgcore.runs import attempt
from pgcore.runs.attempt import Attempt
from pgcore.runs.journal import Journal
from pgcore.snapshot import pack, unpack
from pgcore.trainer import Trainer
from pgcore.turn import Turn
from tests.walker import alike

SHORT = {"num_envs": 4, "rollout_steps": 8, "max_steps": 200, "hidden_sizes": (8,)}
SETTINGS = {
    "dqn": {"replay_start": 30, "gradient_steps": 5, "target_every": 3, "rollout_steps": 32},
    "ppo": {"target_kl": 0.05, "epochs": 3},
}


class TestTurn:
    def test_each_step_is_done_once_however_often_it_is_told(self):
        turn, done = Turn(), []
        with turn:
            assert turn.do(lambda: done.append("a") or (1.5, 2)) == (1.5, 2)
            saved = unpack(pack(turn.state()))
        again = Turn()
        again.restore(saved)
        with again:
            assert tuple(again.do(lambda: done.append("a, once more"))) == (1.5, 2)
            assert again.do(lambda: done.append("b") or 3.0) == 3.0
        assert done == ["a", "b"]

    def test_tensors_stay_tensors(self):
        turn = Turn()
        with turn:
            given = turn.do(lambda: torch.arange(6.0).reshape(2, 3))
            saved = unpack(pack(turn.state()))
        again = Turn()
        again.restore(saved)
        with again:
            assert torch.equal(again.do(lambda: pytest.fail("it was done")), given)

    def test_of_a_sum_only_the_sum_is_kept_and_no_part_of_it_done_twice(self):
        vectors = torch.arange(12, dtype=torch.float64).reshape(4, 3)
        turn, saved, done = Turn(), [], []

        def part(i):
            done.append(i)
            return vectors[i]

        turn.between_steps = lambda: saved.append(pack(turn.state()))
        parts = [partial(part, i) for i in range(4)]
        with turn:
            assert torch.equal(turn.sum(parts), vectors.sum(0))
            assert turn.do(lambda: 7) == 7
        assert len(unpack(saved[-1])) == 2
        for already, state in enumerate(saved[:4], 1):
            again, done[:] = Turn(), []
            again.restore(unpack(state))
            with again:
                assert torch.equal(again.sum(parts), vectors.sum(0))
                assert done == [0, 1, 2, 3][already:]
                assert again.do(lambda: 7) == 7

    def test_the_next_turn_begins_with_nothing(self):
        turn = Turn()
        for number in (1, 2):
            with turn:
                assert turn.do(lambda: number) == number  # noqa: B023
        with pytest.raises(ZeroDivisionError), turn:
            turn.do(lambda: 1 / 0)
        assert turn.state() == []


CONFIGS = {
    f"{task}, {name}": TrainConfig(task=task, estimator=name, episode_rows=30, critic_steps=3, **SHORT | SETTINGS.get(name, {}))
    for task in ("CartPole-v1", "stocks")
    for name in estimators_for(task)
    if ESTIMATORS[name].repeatable
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(
    ("stretch_s", "rows"),
    [(0.0, optimisers.ROWS_AT_ONCE), (rollout.STRETCH_S, optimisers.ROWS_AT_ONCE), (rollout.STRETCH_S, 9)],
    ids=["played in pieces", "at once", "learned from in pieces"],
)
def test_an_update_left_after_any_of_its_steps_is_gone_on_with_to_the_bit(config, stretch_s, rows, monkeypatch):
    series = load_sample(config.prices) if config.task == "stocks" else None
    monkeypatch.setattr(optimisers, "ROWS_AT_ONCE", rows)
    undisturbed = alike(list(Trainer(config, series)))
    monkeypatch.setattr(rollout, "STRETCH_S", stretch_s)
    left: list[tuple[int, bytes]] = []
    whole = Trainer(config, series)
    whole.between_steps(lambda: left.append((whole.update, whole.state())))
    records = alike(list(whole))
    assert records == undisturbed
    assert len(left) > len(records), "more than one step an update"
    within = [state for update, state in left if update == len(records) // 2]
    for state in within[:: 1 + len(within) // 8]:
        trainer = Trainer(config, series)
        trainer.restore(state)
        assert alike(list(trainer)) == records[len(records) // 2 :]
        assert trainer.policy.to_bytes() == whole.policy.to_bytes()


def test_a_long_update_leaves_checkpoints_and_counts_the_time_before_them(store, monkeypatch):
    monkeypatch.setattr(attempt, "CHECKPOINT_EVERY_S", 0.0)
    config = TrainConfig(estimator="ppo", **SHORT)
    run_id = store.create_run(config)
    journal = Journal(store, run_id)
    journal.claim()
    trainer = Trainer(config)
    kept = []

    class Killed(BaseException):
        pass

    beat = Attempt(journal, trainer, lambda: False, None, 60.0)

    def kill_in_the_second_update():
        beat._between_steps()
        kept.append(trainer.update)
        if trainer.update == 1 and kept.count(1) == 5:
            raise Killed

    trainer.between_steps(kill_in_the_second_update)
    with pytest.raises(Killed):
        beat.train()
    again = Trainer(config)
    again.restore(store.checkpoint(run_id))
    assert again.update == 1
    assert len(again.loop.turn.given) == 5
    assert 0 < again.wall_s < time.monotonic()
    assert alike([again.step()]) == alike([list(Trainer(config))[1]])
