"""Sampled gradients against exact ones: the short corridor, and a random tabular MDP."""

import gymnasium
import numpy as np
import pytest
import torch

from pgcore.config import TrainConfig
from pgcore.estimators import ESTIMATORS
from pgcore.optimisers import Learnable
from pgcore.policies import Policy
from pgcore.trainer import Trainer
from tests.playgrounds import TabularMDP, task

UNBIASED = [name for name, row in ESTIMATORS.items() if row.gathers == "episodes"]


def frozen_trainer(name, playground, discount, num_envs):
    """A trainer whose networks stay as they are, so that all its gradients are samples of one."""
    config = TrainConfig(
        task=task(playground),
        estimator=name,
        policy="linear",
        discount=discount,
        discount_weighting=True,
        normalise_advantages=False,
        normalise_observations=False,
        num_envs=num_envs,
        hidden_sizes=(4,),
        critic_steps=1,
    )
    trainer = Trainer(config)
    for part in trainer.loop.learner.parts:
        part.optimise = lambda *_: None
    return trainer


def assert_gradient(trainer, rounds, exact):
    """The mean over many updates of the gradient lies within 4 standard errors of the exact one, in every component.

    Returns the undiscounted returns of the episodes it took.
    """
    samples, returns = [], []
    for _ in range(rounds):
        returns += trainer.step().episode_returns
        samples.append(trainer.loop.learner.policy.gradient.double().numpy().copy())
    mean, error = np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1) / np.sqrt(rounds)
    assert (np.abs(mean - exact) <= 4 * error + 1e-6).all(), (mean, error, exact)
    assert (error < 0.3 * np.abs(exact).max()).all(), "too noisy to tell"
    return np.array(returns)


def corridor_value(p):
    return (2 * p - 4) / (p * (1 - p))


def corridor_gradient(p):
    """∂J/∂θ_right of π = softmax(θ_left, θ_right); that of θ_left is its negative."""
    return (2 * p**2 - 8 * p + 4) / (p * (1 - p))


def test_the_corridors_numbers_agree_with_each_other():
    best = 2 - np.sqrt(2)
    assert corridor_gradient(best) == pytest.approx(0, abs=1e-12)
    assert corridor_value(best) == pytest.approx(-(6 + 4 * np.sqrt(2)))
    assert corridor_value(0.5) == pytest.approx(-12)
    assert corridor_value(0.05) == pytest.approx(-82.105, abs=1e-3)
    assert corridor_value(0.95) == pytest.approx(-44.211, abs=1e-3)
    assert corridor_gradient(0.5) == pytest.approx(2)
    p = 1 / (1 + np.exp(2 * 1.47))  # θ = (−1.47, +1.47) for (right, left)
    assert (p, corridor_value(p), corridor_gradient(p)) == pytest.approx((0.050211, -81.769, 75.558), rel=1e-5)


def test_the_corridor_played_many_at_once_is_that_played_one_at_a_time():
    together = gymnasium.make_vec(task("Corridor"), num_envs=5, vectorization_mode="vector_entry_point")
    alone = gymnasium.make_vec(task("OneCorridor"), num_envs=5, vectorization_mode="sync")
    together.reset(seed=0), alone.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        actions = rng.integers(2, size=5)
        for one, other in zip(together.step(actions)[:4], alone.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", UNBIASED)
@pytest.mark.parametrize("p", [0.050211, 0.5, 0.7])
def test_the_corridors_gradient_and_value_are_met_by_every_unbiased_estimator(name, p):
    trainer = frozen_trainer(name, "Corridor", 1.0, 400)
    weight, bias = trainer.policy.network.layers[0]
    with torch.no_grad():
        weight.zero_()
        bias.copy_(torch.tensor([-0.5, 0.5]) * np.log(p / (1 - p)))
    exact = corridor_gradient(p)
    returns = assert_gradient(trainer, 20, np.array([-exact, exact, -exact, exact]))
    assert len(returns) == 20 * 400
    assert abs(returns.mean() - corridor_value(p)) <= 4 * returns.std(ddof=1) / np.sqrt(len(returns))


DISCOUNT = 0.9


def exact_tabular_gradient(preference):
    """d(s) π(a|s) A(s,a), with V = (I − γP_π)⁻¹ r_π and d = μᵀ(I − γP_π)⁻¹."""
    pi = np.exp(preference) / np.exp(preference).sum(axis=1, keepdims=True)
    resolvent = np.linalg.inv(np.eye(4) - DISCOUNT * np.einsum("sa,sat->st", pi, TabularMDP.transition))
    value = resolvent @ (pi * TabularMDP.reward).sum(axis=1)
    action_value = TabularMDP.reward + DISCOUNT * TabularMDP.transition @ value
    visits = TabularMDP.start @ resolvent
    return value, visits[:, None] * pi * (action_value - value[:, None])


def objective(preference):
    return TabularMDP.start @ exact_tabular_gradient(preference)[0]


PREFERENCE = np.random.default_rng(3).normal(size=(4, 3))


def test_the_exact_gradient_is_that_of_central_differences():
    exact = exact_tabular_gradient(PREFERENCE)[1]
    numeric = np.zeros_like(PREFERENCE)
    for index in np.ndindex(PREFERENCE.shape):
        step = np.zeros_like(PREFERENCE)
        step[index] = 1e-5
        numeric[index] = (objective(PREFERENCE + step) - objective(PREFERENCE - step)) / 2e-5
    np.testing.assert_allclose(numeric, exact, rtol=1e-6, atol=1e-10)


def test_the_exact_gradient_is_that_of_autograd_through_the_solve():
    theta = torch.tensor(PREFERENCE, requires_grad=True)
    pi = torch.softmax(theta, dim=1)
    chances = torch.einsum("sa,sat->st", pi, torch.tensor(TabularMDP.transition))
    paid = (pi * torch.tensor(TabularMDP.reward)).sum(1)
    value = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - DISCOUNT * chances, paid)
    (gradient,) = torch.autograd.grad(torch.tensor(TabularMDP.start) @ value, theta)
    np.testing.assert_allclose(gradient.numpy(), exact_tabular_gradient(PREFERENCE)[1], rtol=1e-10)


@pytest.mark.parametrize("name", UNBIASED)
def test_the_tabular_gradient_is_met_by_every_unbiased_estimator(name):
    trainer = frozen_trainer(name, "TabularMDP", DISCOUNT, 400)
    weight, bias = trainer.policy.network.layers[0]
    with torch.no_grad():
        weight.copy_(torch.tensor(PREFERENCE.T))
        bias.zero_()
    exact = exact_tabular_gradient(PREFERENCE)[1]
    assert_gradient(trainer, 30, np.concatenate([exact.T.ravel(), exact.sum(axis=0)]))


def test_the_variance_optimal_baseline_of_a_two_armed_bandit_leaves_no_variance():
    """b* = (1−p) q₁ + p q₂, the weights swapped against the value p q₁ + (1−p) q₂ (Greensmith et al. 2004)."""
    p, paid = 0.3, torch.tensor([2.0, -1.0])
    (q1, q2), chance = paid.tolist(), np.array([p, 1 - p])
    policy = Policy(1, 2, "categorical", (), "tanh")
    learnable = Learnable(policy)
    weight, bias = policy.network.layers[0]
    with torch.no_grad():
        weight.zero_()
        bias.copy_(torch.log(torch.tensor([p, 1 - p])))

    def samples(weights):
        """What an episode adds to the gradient when it pulled arm 1, and when arm 2; [2, P]."""
        trace = policy.network.trace(torch.ones(1, 1))
        found = []
        for arm in range(2):
            policy.policy_gradient(trace, policy.distribution(trace[-1]), torch.tensor([arm]), weights[arm : arm + 1])
            found.append(learnable.gradient.double().numpy().copy())
        return np.array(found)

    exact = p * (1 - p) * (q1 - q2) * np.array([1, -1, 1, -1])
    best, value = (1 - p) * q1 + p * q2, p * q1 + (1 - p) * q2
    for baseline in (0.0, value, best):
        np.testing.assert_allclose(chance @ samples(paid - baseline), exact, rtol=1e-5, err_msg="no baseline changes the mean")
    np.testing.assert_allclose(samples(paid - best), [exact, exact], rtol=1e-5)
    for baseline in (0.0, value):
        assert np.ptp(samples(paid - baseline), axis=0).min() > 0.1, "any other leaves variance"
    size = (samples(torch.ones(2)) ** 2).sum(axis=1)
    assert chance @ (size * paid.numpy()) / (chance @ size) == pytest.approx(best), "E[‖g‖² R] / E[‖g‖²]"
