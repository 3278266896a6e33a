"""Sampled gradients against exact ones: the short corridor, and a random tabular MDP."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from pgcore.estimators import ESTIMATORS
from pgcore.optimisers import Learnable
from pgcore.policies import Policy
from pgcore.rollout import Lanes, collect

UNBIASED = ["reinforce", "reward-to-go", "mean-baseline", "value-baseline"]


class Corridor(gymnasium.Env):
    """The short corridor of Sutton & Barto, example 13.1: left and right are swapped in the middle of three states.

    Every step pays −1. Left in the first state stays. All states look alike: the observation is always 1.
    """

    observation_space = spaces.Box(0.0, 1.0, (1,), dtype=np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return np.ones(1, dtype=np.float32), {}

    def step(self, action):
        step = 1 if action == 1 else -1
        self.place = max(0, self.place + (-step if self.place == 1 else step))
        return np.ones(1, dtype=np.float32), -1.0, self.place == 3, False, {}


gymnasium.register("Corridor-v0", entry_point=Corridor)


def corridor_value(p):
    return (2 * p - 4) / (p * (1 - p))


def corridor_gradient(p):
    """∂J/∂θ_right of π = softmax(θ_left, θ_right); that of θ_left is its negative."""
    return (2 * p**2 - 8 * p + 4) / (p * (1 - p))


def corridor_policy(p):
    policy = Policy(1, 2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        policy.network.linear[0].bias.copy_(torch.tensor([0.0, np.log(p / (1 - p))]))
    return policy


def test_the_corridors_numbers_agree_with_each_other():
    best = 2 - np.sqrt(2)
    assert corridor_gradient(best) == pytest.approx(0, abs=1e-12)
    assert corridor_value(best) == pytest.approx(-(6 + 4 * np.sqrt(2)))
    assert corridor_value(0.5) == pytest.approx(-12)
    assert corridor_value(0.05) == pytest.approx(-82.105, abs=1e-3)
    assert corridor_value(0.95) == pytest.approx(-44.211, abs=1e-3)
    assert corridor_gradient(0.5) == pytest.approx(2)
    p = 1 / (1 + np.exp(2 * 1.47))
    assert (p, corridor_value(p), corridor_gradient(p)) == pytest.approx((0.050211, -81.769, 75.558), rel=1e-5)


def sample_gradient(env, policy, name, rounds, critic, discount=1.0):
    """Mean and standard error, over batches of whole episodes, of the gradient that an estimator gives."""
    learnable, rng, samples = Learnable(policy), np.random.default_rng(0), []
    obs = env.reset(seed=0)[0]
    for _ in range(rounds):
        rollout, _, _ = collect(env, lambda o: policy.act(o, rng), Lanes.start(obs), 100_000, whole_episodes=True)
        rollout = rollout.with_values(critic(rollout.obs), critic(rollout.next_obs))
        row = ESTIMATORS[name]
        weight = row.weight(rollout, discount) * (1.0 if row.from_start else discount**rollout.time)
        valid = rollout.valid
        trace = policy.network.trace(torch.from_numpy(rollout.obs[valid]).float())
        scale = torch.from_numpy(weight[valid]).float() / env.num_envs
        policy.policy_gradient(trace, policy.distribution(trace[-1]), torch.from_numpy(rollout.action[valid]), scale)
        samples.append(learnable.gradient.clone().double().numpy())
        obs = env.reset()[0]
    samples = np.array(samples)
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(rounds)


def assert_within_4_standard_errors(mean, error, exact):
    assert (np.abs(mean - exact) <= 4 * error + 1e-6).all(), (mean, error, exact)


@pytest.mark.parametrize("name", [name for name in UNBIASED if name in ESTIMATORS])
@pytest.mark.parametrize("p", [0.5, 0.7])
def test_the_corridors_gradient_is_met_by_every_unbiased_estimator(name, p):
    env = gymnasium.make_vec("Corridor-v0", num_envs=20)
    mean, error = sample_gradient(env, corridor_policy(p), name, 80, critic=lambda obs: obs[..., 0] * -7.5)
    exact = corridor_gradient(p)
    assert_within_4_standard_errors(mean, error, np.array([-exact, exact, -exact, exact]))


class TabularMDP(gymnasium.Env):
    """A random Markov decision process with one-hot observations; every step may end with a known probability."""

    STATES, ACTIONS = 4, 3
    observation_space = spaces.Box(0.0, 1.0, (4,), dtype=np.float32)
    action_space = spaces.Discrete(3)
    rng = np.random.default_rng(7)
    reward = rng.normal(size=(4, 3))
    transition = rng.dirichlet(np.ones(4), size=(4, 3)) * 0.8
    start = rng.dirichlet(np.ones(4))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.choice(4, p=self.start)
        return np.eye(4, dtype=np.float32)[self.state], {}

    def step(self, action):
        paid, chances = self.reward[self.state, action], self.transition[self.state, action]
        following = self.np_random.choice(5, p=[*chances, 1 - chances.sum()])
        ended = following == 4
        self.state = self.state if ended else following
        return np.eye(4, dtype=np.float32)[self.state], paid, ended, False, {}


gymnasium.register("TabularMDP-v0", entry_point=TabularMDP)
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


@pytest.mark.parametrize("name", [name for name in UNBIASED if name in ESTIMATORS])
def test_the_tabular_gradient_is_met_by_every_unbiased_estimator(name):
    policy = Policy(4, 3)
    with torch.no_grad():
        policy.network.linear[0].weight.copy_(torch.tensor(PREFERENCE.T))
        policy.network.linear[0].bias.zero_()
    value, exact = exact_tabular_gradient(PREFERENCE)
    env = gymnasium.make_vec("TabularMDP-v0", num_envs=40)
    mean, error = sample_gradient(env, policy, name, 50, lambda obs: obs @ (value + 0.3), DISCOUNT)
    assert_within_4_standard_errors(mean, error, np.concatenate([exact.T.ravel(), exact.sum(axis=0)]))


def test_the_variance_optimal_baseline_of_a_two_armed_bandit_leaves_no_variance():
    """b* = (1−p) q₁ + p q₂, the weights swapped against the value p q₁ + (1−p) q₂ (Greensmith et al. 2004)."""
    p, q1, q2 = 0.3, 2.0, -1.0
    score = np.array([1 - p, -p])  # ∇log π(1), ∇log π(2) with respect to the preference of arm 1
    paid, chance = np.array([q1, q2]), np.array([p, 1 - p])

    def moments(baseline):
        sample = score * (paid - baseline)
        mean = chance @ sample
        return mean, chance @ (sample - mean) ** 2

    for baseline in (0.0, p * q1 + (1 - p) * q2, (1 - p) * q1 + p * q2):
        assert moments(baseline)[0] == pytest.approx(p * (1 - p) * (q1 - q2)), "no baseline changes the mean"
    assert moments((1 - p) * q1 + p * q2)[1] == pytest.approx(0)
    general = (chance @ (score**2 * paid)) / (chance @ score**2)
    assert general == pytest.approx((1 - p) * q1 + p * q2)
