"""Trainer: every estimator learns through it; one seed, one run; a run goes on bit for bit where it was interrupted."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from pgcore.config import SETTINGS, TrainConfig, relevant
from pgcore.errors import BadInput
from pgcore.estimators import ESTIMATORS
from pgcore.market.prices import load_sample
from pgcore.on_policy import OnPolicy
from pgcore.optimisers import TrainingDiverged
from pgcore.policies import Policy
from pgcore.trainer import LOOPS, Trainer
from pgcore.updates import UPDATES
from tests.playgrounds import task

ROOT = Path(__file__).parents[1]
REPEATABLE = [name for name, row in ESTIMATORS.items() if row.repeatable]
ON_POLICY = [name for name, row in ESTIMATORS.items() if row.loop == "on-policy"]
SMALL = {"replay_start": 100, "replay_size": 150, "gradient_steps": 8, "target_every": 5, "hidden_sizes": (8,)}


def make(estimator, task="CartPole-v1", prices=None, **settings):
    """A trainer that is quick to a few updates, with what that task needs."""
    small = {**SMALL, "num_envs": 4, "rollout_steps": 32, "max_steps": 100_000}
    config = TrainConfig(**{"task": task, "estimator": estimator, **small, **settings})
    return Trainer(config, load_sample("sp500") if config.task == "stocks" else prices)


def some(trainer, updates=3):
    """The next records, without the time they took."""
    return [untimed(trainer.step()) for _ in range(updates)]


def untimed(record):
    return dataclasses.asdict(dataclasses.replace(record, wall_s=0.0))


def same(one, other):
    """Equal to the bit, NaN included."""
    return json.dumps(one) == json.dumps(other)


# ---- one seed, one run


@pytest.mark.parametrize("estimator", REPEATABLE)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(estimator):
    first, again, other = (some(make(estimator, seed=seed)) for seed in (3, 3, 4))
    assert same(first, again)
    assert not same(first, other)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Records of interrupted runs as a fresh process goes on with them, by (task, estimator); and as this one does."""
    folder = tmp_path_factory.mktemp("states")
    here, orders = {}, []
    for kind in ("CartPole-v1", "stocks"):
        for estimator in REPEATABLE:
            settings = {"learning_rate_schedule": "linear", "normalise_observations": True, "discount_weighting": True}
            trainer = make(estimator, kind, **settings)
            some(trainer)
            (folder / f"{kind}-{estimator}").write_bytes(trainer.state())
            orders.append([kind, estimator, trainer.config.to_json(), str(folder / f"{kind}-{estimator}")])
            here[kind, estimator] = some(trainer)
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from pgcore.config import TrainConfig\n"
        "from pgcore.market.prices import load_sample\n"
        "from pgcore.trainer import Trainer\n"
        "from tests.test_trainer import some\n"
        "for kind, estimator, config, state in json.load(sys.stdin):\n"
        "    trainer = Trainer(TrainConfig.from_json(config), load_sample('sp500'))\n"
        "    trainer.restore(Path(state).read_bytes())\n"
        "    print(json.dumps([kind, estimator, some(trainer)]))\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(orders),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    there = {(kind, estimator): records for kind, estimator, records in map(json.loads, process.stdout.splitlines())}
    return here, there


@pytest.mark.parametrize("kind", ["CartPole-v1", "stocks"])
@pytest.mark.parametrize("estimator", REPEATABLE)
def test_an_interrupted_run_goes_on_bit_for_bit_in_a_fresh_process(elsewhere, kind, estimator):
    here, there = elsewhere
    assert same(here[kind, estimator], there[kind, estimator])


@pytest.mark.parametrize("estimator", REPEATABLE)
def test_taking_a_state_changes_nothing_and_going_back_repeats(estimator):
    trainer, undisturbed = make(estimator), make(estimator)
    some(trainer)
    some(undisturbed)
    state = trainer.state()
    first = some(trainer)
    assert same(first, some(undisturbed))
    trainer.restore(state)
    assert same(first, some(trainer))


# ---- what counts


@pytest.mark.parametrize("estimator", REPEATABLE)
def test_records_count_decisions_and_episodes(estimator):
    trainer = make(estimator)
    records = [trainer.step() for _ in range(6)]
    returns = [r for record in records for r in record.episode_returns]
    assert [record.update for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1].episodes == len(returns) > 0
    assert records[-1].return_mean == pytest.approx(np.mean(returns[-100:]))
    assert sum(returns) <= records[-1].env_steps, "CartPole pays 1 a step"
    if ESTIMATORS[estimator].gathers == "episodes" and ESTIMATORS[estimator].loop == "on-policy":
        assert sum(returns) == records[-1].env_steps
    assert all(sum(record.action_share) == pytest.approx(1) for record in records)
    assert all(record.entropy >= 0 and math.isfinite(record.entropy) for record in records)


def test_a_run_ends_when_it_is_solved_or_its_budget_is_used_up():
    used_up = make("gae", max_steps=1000)
    assert list(used_up)[-1].env_steps >= 1000
    assert (used_up.finished, used_up.solved, list(used_up)) == (True, False, [])
    solved = make("gae", target_return=5.0)
    last = list(solved)[-1]
    assert (solved.finished, solved.solved) == (True, True)
    assert 100 <= last.episodes < 300
    on_and_on = make("gae", target_return=5.0, stop_when_solved=False, max_steps=20_000)
    assert list(on_and_on)[-1].env_steps >= 20_000
    assert on_and_on.solved


def test_a_segment_is_cut_to_what_is_left_of_the_budget():
    last = list(make("gae", num_envs=4, rollout_steps=100, max_steps=1000))[-1]
    assert 1000 <= last.env_steps < 1000 + 4 + 40


# ---- what is learned from


def begins_anew(row):
    """Whether each update begins with a reset of the environments."""
    return (row.loop, row.gathers) == ("on-policy", "episodes") or row.loop == "listing"


def batches(monkeypatch, trainer, updates):
    """What reaches the update."""
    seen, name = [], trainer.loop.estimator.update
    original = UPDATES[name]

    def spy(learner, batch, *rest):
        seen.append(batch)
        return original(learner, batch, *rest)

    monkeypatch.setitem(UPDATES, name, spy)
    some(trainer, updates)
    return seen


def test_the_row_that_is_spent_on_resetting_is_never_learned_from(monkeypatch):
    trainer = make("gae", num_envs=8, rollout_steps=64)
    steps = 0
    for batch in batches(monkeypatch, trainer, 4):
        steps += len(batch)
        angle = batch.obs[:, 2].abs()
        assert (angle < 0.2095).all(), "only a pole that has fallen is seen at a larger angle"
    assert steps == trainer.env_steps
    assert trainer.episodes > 20
    assert steps <= 4 * 8 * 64 - trainer.episodes + 8


def test_whole_episodes_reach_the_update_as_many_as_there_are_environments(monkeypatch):
    (batch,) = batches(monkeypatch, make("reward-to-go", num_envs=5), 1)
    assert batch.episodes == 5
    assert batch.weight.shape == batch.target.shape == (len(batch),)


def test_weights_are_normalised_and_their_deviation_before_that_is_reported(monkeypatch):
    trainer = make("reward-to-go")
    (batch,) = batches(monkeypatch, trainer, 1)
    assert batch.weight.mean() == pytest.approx(0, abs=1e-5)
    assert batch.weight.std(correction=0) == pytest.approx(1, abs=1e-5)
    assert make("reward-to-go").step().weight_std > 3


@pytest.mark.parametrize("constant", [False, True])
def test_normalising_one_weight_or_equal_ones_gives_no_nonsense(monkeypatch, constant):
    playground, discount = ("Endless", 0.0) if constant else ("Bandit", 1.0)
    trainer = make("reward-to-go" if not constant else "gae", task(playground), num_envs=1, rollout_steps=8, discount=discount)
    if constant:
        trainer.loop.learner.critic.network.unit.fill_(1e-30)  # a critic that says 0: every weight is the reward, 1
        trainer.loop.learner.critic.optimise = lambda *_: None
    (batch,) = batches(monkeypatch, trainer, 1)
    assert batch.weight.isfinite().all()
    assert (batch.weight.abs() < 1e-3).all() if constant else len(batch) == 1


def test_the_discount_factor_weighs_later_steps_less_where_told(monkeypatch):
    settings = {"normalise_advantages": False, "num_envs": 1, "discount": 0.9}
    (plain,) = batches(monkeypatch, make("reward-to-go", **settings), 1)
    (weighed,) = batches(monkeypatch, make("reward-to-go", discount_weighting=True, **settings), 1)
    torch.testing.assert_close(weighed.weight, plain.weight * 0.9 ** torch.arange(len(plain.weight)))


@pytest.mark.parametrize("estimator", [name for name, row in ESTIMATORS.items() if begins_anew(row)])
def test_whole_episodes_begin_each_time_somewhere_else(estimator):
    """An environment that is seeded at each reset would play the same beginnings again and again."""
    trainer, beginnings = make(estimator), []
    reset = trainer.loop.env.reset

    def spy(**given):
        obs, info = reset(**given)
        beginnings.append(obs)
        return obs, info

    trainer.loop.env.reset = spy
    some(trainer, 3)
    first = make(estimator).loop.env.reset(seed=trainer.config.seed)[0]
    assert len(beginnings) == 3
    for one, other in combinations([first, *beginnings], 2):
        assert not np.isin(one, other).any()


@pytest.mark.parametrize("estimator", ["value-baseline", "actor-critic", "a2c", "gae", "ppo", "trpo"])
def test_the_critic_explains_more_and_more(estimator):
    trainer = make(estimator, num_envs=16, learning_rate=1e-5, max_kl=1e-4, hidden_sizes=(64,))
    explained = [trainer.step().explained_variance for _ in range(25)]
    assert np.mean(explained[-5:]) > np.mean(explained[:5]) + 0.2


def test_the_unit_of_the_rewards_makes_no_difference_to_what_is_learned():
    """CartPole paying 1 and stocks paying a hundredth a step must not need other learning rates."""
    one, other = make("gae"), make("gae")
    step = other.loop.env.step
    other.loop.env.step = lambda actions: (lambda o, r, *rest: (o, r * 1024.0, *rest))(*step(actions))
    for _ in range(4):
        a, b = one.step(), other.step()
        assert b.weight_std == pytest.approx(1024 * a.weight_std, rel=1e-4)
        assert (b.kl, b.grad_norm) == (pytest.approx(a.kl, rel=1e-3), pytest.approx(a.grad_norm, rel=1e-3))


def test_observations_are_seen_in_units_of_their_running_deviation():
    trainer = make("gae", normalise_observations=True, num_envs=16)
    some(trainer, 5)
    rows, mean, squares = trainer.loop.statistics.parts
    assert rows == trainer.env_steps
    for network in trainer.loop.networks:
        np.testing.assert_allclose(network.mean.numpy(), mean, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(network.scale.numpy(), np.sqrt(squares / rows), rtol=1e-5)
    assert not make("gae", normalise_observations=False).policy.network.scales_input


def test_running_statistics_are_those_of_all_observations_at_once():
    from pgcore.observations import RunningStatistics

    parts = [np.random.default_rng(i).normal(loc=i, scale=3, size=(7 * i + 1, 2)) for i in range(5)]
    statistics, everything = RunningStatistics(2), np.concatenate(parts)
    for part in parts:
        statistics.add(part)
    rows, mean, squares = statistics.parts
    assert rows == len(everything)
    np.testing.assert_allclose(mean, everything.mean(axis=0))
    np.testing.assert_allclose(squares / rows, everything.var(axis=0))


# ---- settings


FAR = {  # another value for each setting, one that shows within a few updates
    "policy": "linear",
    "optimiser": "ascent",
    "learning_rate_schedule": "linear",
    "activation": "tanh",
    "hidden_sizes": (5,),
    "num_envs": 3,
    "rollout_steps": 20,
    "gradient_clip": 1e-3,
    "target_kl": 1e-6,
    "entropy_bonus": 0.5,
    "clip_range": 0.01,
    "replay_size": 120,
    "replay_start": 140,
    "replay_batch": 32,
    "gradient_steps": 3,
    "target_every": 2,
    "fisher_rows": 16,
    "cg_steps": 1,
    "critic_steps": 3,
    "max_steps": 90_000,
    "seed": 9,
}
ENDS_ONLY = {"stop_when_solved", "target_return", "max_steps"}


def another(setting, now):
    if FAR.get(setting.name, now) != now:
        return FAR[setting.name]
    if setting.choices is not None:
        return next(choice for choice in setting.choices if choice != now)
    return not now if setting.kind is bool else setting.kind(now / 2)


@pytest.mark.parametrize("estimator", REPEATABLE)
def test_every_setting_that_is_offered_makes_a_difference_and_no_other_does(estimator):
    changes = {"learning_rate": 0.02, "num_envs": 4, "max_kl": 0.02, "clip_range": 0.1, "exploration_share": 0.01, "epochs": 4}
    usual = make(estimator, **changes)
    before, config = some(usual, 4), usual.config
    offered = {setting.name for setting in relevant("CartPole-v1", estimator)}
    for name in offered - ENDS_ONLY - {"task", "estimator"}:
        changed = config.replace(**{name: another(SETTINGS[name], getattr(config, name))})
        assert not same(before, some(Trainer(changed), 4)), f"{name} makes no difference to {estimator}"
    others = {
        s.name: another(s, getattr(config, s.name)) for s in SETTINGS.values() if s.name not in offered and s.kind is not str
    }
    others |= {name: FAR[name] for name in ("optimiser", "learning_rate_schedule") if name not in offered}
    others |= {"workers": 1, "borrow_bps": 1.0, "train_share": 0.5}
    assert same(before, some(Trainer(config.replace(**others)), 4)), "a setting that is not offered makes a difference"


# ---- what goes wrong


def test_a_step_that_is_too_long_stops_the_run_and_says_why():
    trainer = make("reward-to-go", task("Endless"), optimiser="ascent", learning_rate=1.0, normalise_advantages=False)
    step = trainer.loop.env.step
    trainer.loop.env.step = lambda actions: (lambda o, r, *rest: (o, r * 1e30, *rest))(*step(actions))
    with pytest.raises(TrainingDiverged, match=r"^Update \d+ went wrong: .* learning rate 1 is too high: try 0\.1") as error:
        some(trainer, 5)
    assert isinstance(error.value, BadInput)
    assert "\n" not in str(error.value)
    assert trainer.loop.learner.policy.theta.isfinite().all()


@pytest.mark.parametrize("estimator", REPEATABLE)
def test_the_last_good_policy_is_kept(estimator):
    trainer = make(estimator)
    for _ in range(3):
        good = parameters_to_vector(trainer.policy.parameters()).detach().clone()
        trainer.step()
    with torch.no_grad():
        for parameter in trainer.policy.parameters():
            parameter.fill_(1e38)
    with pytest.raises(TrainingDiverged):
        some(trainer, 6)
    assert torch.equal(parameters_to_vector(trainer.policy.parameters()), good), (
        "the last whose gradient was seen to be a number"
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_task_that_gives_what_is_no_number_is_blamed_for_it(estimator):
    trainer = make(estimator, task("Broken"), num_envs=2, rollout_steps=60, workers=2)
    with pytest.raises(TrainingDiverged, match=r"the task gave an observation or a reward that is not a finite number"):
        some(trainer, 6)


@pytest.mark.parametrize("estimator", REPEATABLE)
def test_a_policy_that_is_beyond_all_numbers_stops_the_run_and_the_step_size_is_named_as_the_likely_cause(estimator):
    trainer = make(estimator, learning_rate=0.002, max_kl=0.015)
    *_, (_, bias) = trainer.policy.network.layers
    with torch.no_grad():
        bias.fill_(math.inf)
    cause = (
        r"trust region δ 0\.015 is too high: try 0\.0015\.$" if estimator == "trpo" else r"learning rate 0\.002 is too high: "
    )
    with pytest.raises(TrainingDiverged, match=r"^Update \d+ went wrong: .*most likely the " + cause):
        some(trainer, 6)


# ---- the table


def test_every_row_of_the_table_can_be_learned_with():
    assert {row.loop for row in ESTIMATORS.values()} == set(LOOPS)
    assert {row.update for row in ESTIMATORS.values()} <= set(UPDATES)


@pytest.mark.parametrize("estimator", ON_POLICY)
def test_every_estimator_of_the_policy_gradient_finds_the_better_arm_of_a_bandit(estimator):
    trainer = make(estimator, task("Bandit"), num_envs=32, learning_rate=0.05, max_kl=0.1, normalise_observations=False)
    some(trainer, 40 if ESTIMATORS[estimator].gathers == "episodes" else 25)
    assert trainer.policy.probabilities(np.ones((1, 1), dtype=np.float32))[0, 1] > 0.9


@pytest.mark.parametrize("estimator", ON_POLICY)
def test_every_estimator_of_the_policy_gradient_takes_continuous_actions(estimator):
    trainer = make(estimator, "Pendulum-v1", rollout_steps=16)
    record = trainer.step()
    assert isinstance(trainer.loop, OnPolicy)
    assert trainer.policy.kind == "gaussian"
    assert len(record.action_share) == 1
    assert math.isfinite(record.entropy)


def test_a_gaussian_policy_learns_where_to_aim_and_how_widely():
    """Best is 25 of 10 … 30, half of the half-width above the middle."""
    trainer = make("ppo", task("Reaching"), num_envs=16, rollout_steps=10, learning_rate=0.03, discount=0.0, max_steps=10**6)
    before = trainer.policy.log_std.detach().clone()
    some(trainer, 120)
    aim = trainer.policy.choose(np.zeros((1, 4), dtype=np.float32), None, greedy=True)
    np.testing.assert_allclose(aim, [[0.5, 0.5]], atol=0.3)
    assert (trainer.policy.log_std < before - 0.3).all()
    assert isinstance(trainer.policy, Policy)


def test_what_is_done_between_steps_is_no_time_spent_on_training(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("pgcore.trainer.time", SimpleNamespace(perf_counter=lambda: clock.now))
    trainer = make("ppo")
    waits = []

    def wait():
        trainer.state()
        clock.now += 60.0
        waits.append(trainer.is_midway)

    trainer.between_steps(wait)
    play = trainer.loop._play

    def play_for_a_second(env_steps):
        clock.now += 1.0
        return play(env_steps)

    monkeypatch.setattr(trainer.loop, "_play", play_for_a_second)
    assert [trainer.step().wall_s for _ in range(3)] == [1.0, 2.0, 3.0]
    assert len(waits) > 3
    assert all(waits)
    assert not trainer.is_midway
