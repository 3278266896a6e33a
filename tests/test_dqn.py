"""Deep Q-learning: what it remembers, what it learns from that, how it explores."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from pgcore.config import TrainConfig
from pgcore.dqn import Memory, Replay, huber, learn
from pgcore.optimisers import Learnable, TrainingDiverged
from pgcore.policies import Policy
from pgcore.rollout import Lanes, Rollout, collect
from pgcore.trainer import Trainer
from pgcore.turn import Turn
from tests.playgrounds import Countdown, task


def make(**settings):
    small = {"num_envs": 4, "rollout_steps": 16, "hidden_sizes": (8,), "replay_start": 100, "gradient_steps": 4}
    return Replay(TrainConfig(estimator="dqn", **{**small, **settings}), None)


def steps(rows=20, seed=0, terminated=None):
    """Steps that do not follow each other, of a task with three numbers to see and two actions."""
    rng = np.random.default_rng(seed)
    over = np.zeros(rows, dtype=bool) if terminated is None else np.full(rows, terminated)
    obs, following = rng.normal(size=(2, rows, 3)).astype(np.float32)
    return Rollout.of_steps(obs, rng.integers(2, size=rows), rng.normal(size=rows), over, following)


# ---- what is remembered


def test_the_row_spent_on_resetting_is_not_remembered():
    env = Countdown([2, 3])
    rollout, _, _ = collect(env, lambda obs: np.zeros(2, dtype=int), Lanes.start(env.reset()[0]), 12)
    memory = Memory(100, 1)
    memory.add(rollout)
    assert memory.held == rollout.steps == 8 + 9
    taken = memory.obs[: memory.held, 0], memory.next_obs[: memory.held, 0]
    np.testing.assert_array_equal(taken[1], taken[0] + 1, "no step leads from an ending to a beginning")
    np.testing.assert_array_equal(memory.reward[: memory.held], taken[1])


def test_a_time_limit_is_remembered_as_no_end():
    for truncates in (False, True):
        env, memory = Countdown([2], truncates), Memory(100, 1)
        memory.add(collect(env, lambda obs: np.zeros(1, dtype=int), Lanes.start(env.reset()[0]), 2)[0])
        assert memory.terminated[:2].tolist() == [False, not truncates]


def test_the_oldest_steps_give_way_to_the_newest():
    env, memory = Countdown([50, 50]), Memory(10, 1)
    lanes = Lanes.start(env.reset()[0])
    for _ in range(4):
        rollout, lanes, _ = collect(env, lambda obs: np.zeros(2, dtype=int), lanes, 4)
        memory.add(rollout)
    assert (memory.added, memory.held) == (32, 10)
    assert sorted(memory.obs[:, 0].tolist()) == sorted(2 * [11, 12, 13, 14, 15])


def test_steps_are_drawn_evenly_and_whole():
    env, memory = Countdown([50]), Memory(100, 1)
    memory.add(collect(env, lambda obs: np.zeros(1, dtype=int), Lanes.start(env.reset()[0]), 20)[0])
    drawn = memory.steps(memory.draw(20_000, np.random.default_rng(0)))
    np.testing.assert_array_equal(drawn.next_obs, drawn.obs + 1)
    np.testing.assert_allclose(np.bincount(drawn.obs[0, :, 0].astype(int)) / 20_000, 1 / 20, atol=0.01)


# ---- what is learned from it


@pytest.mark.parametrize("terminated", [False, True])
@pytest.mark.parametrize("at_once", [20, 7])
def test_the_gradient_is_that_of_the_huber_loss_with_the_target_held_fixed(terminated, at_once):
    torch.manual_seed(0)
    policy = Policy(3, 2, "values", (8,), "tanh")
    target = copy.deepcopy(policy.network)
    for parameter in target.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    learnable, batch = Learnable(policy), steps(terminated=terminated)
    learnable.optimise, learnable.rows_at_once = lambda *_: None, at_once
    config = TrainConfig(estimator="dqn", discount=0.9)
    (judged, error), norm = learn(learnable, target, batch, 2.0, config, 0.1, Turn())

    obs, following, action = (torch.from_numpy(x[0]) for x in (batch.obs, batch.next_obs, batch.action))
    aim = torch.from_numpy(batch.reward[0] / 2).float() + 0.9 * (not terminated) * target(following).amax(1).detach()
    value = policy.network(obs).gather(1, action[:, None])[:, 0]
    loss = torch.nn.functional.smooth_l1_loss(value, aim)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(policy.parameters()))])
    torch.testing.assert_close(learnable.gradient, -expected, rtol=1e-4, atol=1e-6)
    assert norm == pytest.approx(expected.norm().item(), rel=1e-4)
    assert huber(error).mean() == pytest.approx(loss.item(), rel=1e-5)
    assert judged == pytest.approx(value.detach().numpy(), rel=1e-5)


def test_an_infinite_difference_stops_the_run_before_a_step_is_taken_on_it():
    """Cut to ±1 it has a gradient like any other."""
    policy = Policy(3, 2, "values", (8,), "tanh")
    learnable, target = Learnable(policy), copy.deepcopy(policy.network)
    policy.network.layers[-1][1].data.fill_(torch.inf)
    before = learnable.theta.clone()
    with pytest.raises(
        TrainingDiverged, match=r"a loss or a gradient is no longer a number; .* learning rate 0\.1 is too high"
    ):
        learn(learnable, target, steps(), 1.0, TrainConfig(estimator="dqn"), 0.1, Turn())
    assert torch.equal(learnable.theta, before)


def test_the_target_network_stays_behind_and_is_copied_when_due():
    loop = make(target_every=6, gradient_steps=4)
    while loop.taken < 4:
        loop.advance(0)
    weights = [loop.target.layers[0][0].clone()]
    for _ in range(3):
        loop.advance(0)
        weights.append(loop.target.layers[0][0].clone())
    assert loop.taken == 16
    assert [torch.equal(a, b) for a, b in pairwise(weights)] == [False, True, False], "at 6 and 12, between 4, 8, 12 and 16"
    assert not torch.equal(loop.target.layers[0][0], loop.policy.network.layers[0][0])


def test_nothing_is_learned_before_there_is_enough_to_learn_from():
    loop = make(replay_start=200)
    before = loop.learnable.theta.clone()
    while loop.memory.held < 200 - 64:
        assert np.isnan(loop.advance(0).progress.value_loss)
    assert torch.equal(loop.learnable.theta, before)
    for _ in range(3):
        loop.advance(0)
    assert not torch.equal(loop.learnable.theta, before)


def test_it_finds_the_better_arm_of_a_bandit_and_what_it_is_worth():
    config = TrainConfig(
        task=task("Bandit"), estimator="dqn", num_envs=8, rollout_steps=16, hidden_sizes=(8,), max_steps=2500,
        replay_start=100, gradient_steps=16, normalise_observations=False, learning_rate=0.01, stop_when_solved=False,
    )  # fmt: skip
    trainer = Trainer(config)
    last = list(trainer)[-1]
    np.testing.assert_allclose(
        trainer.policy.preferences(np.ones((1, 1), np.float32)) * trainer.loop.reward_unit, [[0, 1]], atol=0.1
    )
    assert last.action_share[1] > 0.9


# ---- how it explores


def test_exploration_falls_on_a_straight_line_from_all_to_little():
    loop = make(max_steps=10_000, exploration_share=0.5, final_exploration=0.1)
    assert loop._exploration(3000) == 1, "at random while there is nothing to learn from"
    loop.memory.added = 1000
    assert [loop._exploration(steps) for steps in (0, 2500, 5000, 9000)] == pytest.approx([1, 0.55, 0.1, 0.1])


def test_the_entropy_is_that_of_how_it_explores():
    loop = make(exploration_share=0.0, final_exploration=0.5)
    assert loop.advance(0).progress.entropy == pytest.approx(np.log(2))
    while loop.memory.held < 100:
        loop.advance(0)
    chances = np.array([0.75, 0.25])
    assert loop.advance(0).progress.entropy == pytest.approx(-(chances * np.log(chances)).sum())
    assert loop.policy.exploration == 0.5
