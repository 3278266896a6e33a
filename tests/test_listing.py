"""The article's listing: its computation as printed, and why it cannot learn."""

import numpy as np
import pytest
import torch

from pgcore.config import TrainConfig
from pgcore.evaluate import play
from pgcore.listing import learn
from pgcore.optimisers import Learnable, TrainingDiverged
from pgcore.policies import Policy
from pgcore.rollout import Rollout
from pgcore.trainer import Trainer

CONFIG = TrainConfig(estimator="article")


def step(reward=1.0, done=False):
    rng = np.random.default_rng(0)
    obs, following = rng.normal(size=(2, 1, 3)).astype(np.float32)
    return Rollout.of_steps(obs, np.array([1]), np.array([reward]), np.array([done]), following)


def make():
    torch.manual_seed(0)
    return Learnable(Policy(3, 2, "values", (64,), "relu"))


@pytest.mark.parametrize("done", [False, True])
def test_the_step_is_that_of_the_printed_lines(done):
    """`learn` of §5.2, with (1, 2)[action] read as the output of the action taken, on autograd and torch's own Adam."""
    ours, printed, it = make(), make().network.network, step(done=done)
    state, next_state = torch.from_numpy(it.obs[0]), torch.from_numpy(it.next_obs[0])
    optimizer = torch.optim.Adam(printed.parameters(), lr=0.01)
    for _ in range(3):
        td_target = torch.tensor([1.0]) + 0.99 * (0 if done else printed(next_state).max())
        loss = td_target - printed(state)[0, 1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        told, _ = learn(ours, it, CONFIG)
        assert told == pytest.approx(loss.item(), rel=1e-4)
    for parameter, expected in zip(ours.network.network.parameters(), printed.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-3, atol=1e-4)


def test_what_is_earned_changes_nothing_at_all():
    praised, blamed = make(), make()
    for _ in range(5):
        learn(praised, step(reward=1000.0), CONFIG)
        learn(blamed, step(reward=-1000.0), CONFIG)
    assert torch.equal(praised.theta, blamed.theta)


def test_what_is_done_is_made_more_preferable_without_bound():
    learnable, done = make(), step(reward=-1.0, done=True)
    values = []
    for _ in range(200):
        learn(learnable, done, CONFIG)
        values.append(learnable.network.preferences(done.obs[0])[0, 1])
    assert (np.diff(values) > 0).all()
    assert values[-1] > 50


@pytest.mark.parametrize("what", ["reward", "output"])
def test_a_loss_that_is_no_number_stops_it_before_a_step_is_taken(what):
    """The reward is not in the gradient, nor is what is added to every output: neither would show there."""
    learnable = make()
    if what == "output":
        learnable.network.network.layers[-1][1].data.fill_(torch.inf)
    before = learnable.theta.clone()
    with pytest.raises(
        TrainingDiverged, match=r"a loss or a gradient is no longer a number; .* learning rate 0\.01 is too high"
    ):
        learn(learnable, step(reward=np.nan if what == "reward" else 1.0), CONFIG)
    assert torch.equal(learnable.theta, before)


def test_it_does_not_learn_cartpole():
    trainer = Trainer(CONFIG.replace(max_steps=1200))
    last = list(trainer)[-1]
    assert last.return_mean < 50
    assert last.episodes > 50
    assert play(trainer.config, trainer.policy, 100, greedy=True).mean() < 50
