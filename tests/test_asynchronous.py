"""A3C: workers that are processes of their own, what they share, and what becomes of them."""

import gc
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pgcore import asynchronous
from pgcore.asynchronous import Asynchronous, attach
from pgcore.config import TrainConfig
from pgcore.on_policy import OnPolicy
from pgcore.optimisers import TrainingDiverged
from pgcore.runs.process import process_of
from pgcore.trainer import Trainer
from tests.playgrounds import task

ROOT = Path(__file__).parents[1]
PATIENCE_S = 30


def config(playground="Bandit", **settings):
    small = {"workers": 2, "num_envs": 8, "rollout_steps": 8, "hidden_sizes": (8,), "max_steps": 10**6}
    return TrainConfig(task=task(playground), estimator="a3c", **{**small, **settings})


def everything(loop):
    """What is shared, by name, as it is now."""
    return {name: array.copy() for name, array in loop._arrays().items()}


def turns(loop, count):
    for _ in range(count):
        loop.advance(0)


def comes_true(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


# ---- what it learns


def test_it_finds_the_better_arm_of_a_bandit():
    trainer = Trainer(config(learning_rate=0.03, normalise_observations=False))
    heard = set()
    for _ in range(400):
        record = trainer.step()
        heard |= {worker.process.pid for worker in trainer.loop.workers if worker.is_idle}
        chance = trainer.policy.probabilities(np.ones((1, 1), dtype=np.float32))[0, 1]
        if chance > 0.9 and len(heard) == 2:
            break
    assert chance > 0.9
    assert len(heard) == 2, "both workers had turns"
    assert record.env_steps == trainer.env_steps > 0
    assert record.episodes > 0


def test_what_a_worker_learns_moves_what_is_shared_and_the_policy_that_is_shown():
    loop = Asynchronous(config("Endless", normalise_observations=True), None)
    before, shown = everything(loop), loop.policy.preferences(np.ones((1, 1), np.float32))
    turns(loop, 4)
    after = everything(loop)
    assert set(after) == {"theta0", "square0", "theta1", "square1", "unit", "statistics"}
    for name, array in after.items():
        assert not np.array_equal(array, before[name]), f"{name} stayed as it was"
    assert not np.array_equal(loop.policy.preferences(np.ones((1, 1), np.float32)), shown)


# ---- what is shared


def test_a_step_of_one_loop_is_a_step_of_shared_rmsprop_which_the_other_builds_on(tmp_path):
    """v ← 0.99 v + 0.01 g², θ ← θ + η g / √(v + ε), one θ and one v for both (Mnih et al. 2016, eq. 8-9)."""
    loops = OnPolicy(config(seed=0), None), OnPolicy(config(seed=1), None)
    shared = [attach(loop, tmp_path) for loop in loops]
    one, other = (loop.learner.policy for loop in loops)
    theta, square = shared[1][0]
    start = theta.clone()
    assert torch.equal(one.theta, start)
    assert torch.equal(other.theta, start), "who comes later begins with what is there"

    one.gradient.fill_(2.0)
    one.climb(0.1)
    torch.testing.assert_close(square, torch.full_like(square, 0.04))
    torch.testing.assert_close(theta, start + 0.1 * 2 / (0.04 + 1e-5) ** 0.5)
    assert torch.equal(one.theta, theta)
    assert torch.equal(other.theta, start), "what is computed from stays as it was until the next step"

    halfway = theta.clone()
    other.gradient.fill_(-1.0)
    other.climb(0.1)
    v = 0.99 * 0.04 + 0.01
    torch.testing.assert_close(square, torch.full_like(square, v))
    torch.testing.assert_close(other.theta, halfway - 0.1 / (v + 1e-5) ** 0.5)
    assert torch.equal(other.theta, theta)
    for (a, _), (b, _) in zip(*shared, strict=True):
        assert torch.equal(a, b)


def test_loops_share_the_unit_of_the_critic_and_the_statistics_of_observations(tmp_path):
    one, other = OnPolicy(config(seed=0), None), OnPolicy(config(seed=1), None)
    attach(one, tmp_path), attach(other, tmp_path)
    one.learner.critic.network.measure(np.full(10, 3.0))
    one.statistics.add(np.full((5, 1), 2.0, dtype=np.float32))
    assert other.learner.critic.network.unit == one.learner.critic.network.unit > 0
    np.testing.assert_array_equal(other.statistics.table, one.statistics.table)
    assert other.statistics.parts[0] == 5


# ---- going on


def test_a_run_goes_on_with_the_parameters_the_statistics_and_the_unit_that_it_had():
    first = Trainer(config("Endless", normalise_observations=True))
    for _ in range(4):
        first.step()
    for worker in first.loop.workers:  # else they go on while one looks
        worker.process.kill()
        worker.process.wait()
    state, kept = first.state(), everything(first.loop)

    later = Trainer(first.config)
    later.restore(state)
    assert (later.update, later.env_steps) == (first.update, first.env_steps)
    now = everything(later.loop)
    assert all(np.array_equal(now[name], kept[name]) for name in kept)
    assert all(kept[name].any() for name in kept), "nothing of it is still empty"
    seen = np.ones((1, 1), np.float32)
    np.testing.assert_array_equal(later.policy.preferences(seen), first.policy.preferences(seen))
    assert later.step().update == 5


# ---- what goes wrong


def test_a_task_that_gives_what_is_no_number_stops_the_run_and_leaves_numbers():
    trainer = Trainer(config("Broken", num_envs=2, rollout_steps=60))
    with pytest.raises(TrainingDiverged, match=r"^Update \d+ went wrong: the task gave an observation or a reward that is not"):
        list(trainer)
    assert trainer.loop.seen.learner.policy.theta.isfinite().all()


def test_while_a_turn_takes_long_what_is_shared_may_be_asked_for(monkeypatch):
    monkeypatch.setattr(asynchronous, "LISTEN_S", 0.01)
    trainer = Trainer(TrainConfig(estimator="a3c", workers=1, rollout_steps=4_000, num_envs=16, max_steps=64_000))
    states = []
    trainer.between_steps(lambda: states.append(trainer.state()))
    next(iter(trainer))
    assert states
    Trainer(trainer.config).restore(states[0])


def test_a_worker_that_is_killed_ends_the_run_and_is_named_as_the_cause():
    loop = Asynchronous(config(), None)
    loop.advance(0)
    loop.workers[1].process.kill()
    with pytest.raises(RuntimeError, match=rf"worker process .* ended unexpectedly, with exit code -{signal.SIGKILL:d}"):
        turns(loop, 1000)


# ---- what is left


@pytest.mark.parametrize("ending", ["finished", "a worker killed"])
def test_no_process_and_no_directory_is_left_behind(ending):
    loop = Asynchronous(config(), None)
    loop.advance(0)
    workers, directory = [process_of(worker.process.pid) for worker in loop.workers], loop.directory
    assert directory.exists()
    assert all(worker.is_alive() for worker in workers)
    if ending == "a worker killed":
        workers[0].kill()
    del loop
    gc.collect()
    assert not any(worker.is_alive() for worker in workers)
    assert not directory.exists()


def test_nothing_is_left_where_the_process_that_trains_is_killed():
    script = (
        "from pgcore.asynchronous import Asynchronous\n"
        "from tests.test_asynchronous import config\n"
        "loop = Asynchronous(config(), None)\n"
        "loop.advance(0)\n"
        "print(loop.directory, *(worker.process.pid for worker in loop.workers), flush=True)\n"
        "while True: loop.advance(0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    directory, *pids = process.stdout.readline().split()
    workers = [process_of(int(pid)) for pid in pids]
    assert Path(directory).exists()
    assert all(worker.is_alive() for worker in workers)
    process.kill()
    process.wait()
    process.stdout.close()
    assert comes_true(lambda: not any(worker.is_alive() for worker in workers))
    assert comes_true(lambda: not Path(directory).exists())
