"""Policies: the written-out gradient against autograd, acting against the distribution, storing and loading."""

import json
import pickle

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load, save

from pgcore import policies
from pgcore.actions import units_of
from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.evaluate import FRESH, play
from pgcore.optimisers import Learnable
from pgcore.policies import Critic, Network, Policy, load_policy, policy_from_bytes
from pgcore.trainer import Trainer
from tests.playgrounds import task

SWINGER = Policy(3, 1, "gaussian", units=units_of(spaces.Box(-2.0, 2.0, (1,)))).to_bytes()
KINDS = [
    ("categorical", (), "relu"),
    ("categorical", (8,), "relu"),
    ("categorical", (8, 5), "tanh"),
    ("gaussian", (8,), "tanh"),
]


def make_policy(kind="categorical", hidden=(8,), activation="relu", observations=3, actions=4):
    torch.manual_seed(1)
    policy = Policy(observations, actions, kind, hidden, activation)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return policy


def make_batch(policy, rows=50, actions=4):
    generator = torch.Generator().manual_seed(2)
    obs = torch.randn(rows, 3, generator=generator)
    if policy.kind == "categorical":
        action = torch.randint(0, actions, (rows,), generator=generator)
    else:
        action = torch.randn(rows, actions, generator=generator)
    return obs, action, torch.randn(rows, generator=generator)


@pytest.mark.parametrize(("kind", "hidden", "activation"), KINDS)
@pytest.mark.parametrize("normalised", [False, True])
def test_the_policy_gradient_is_that_of_autograd(kind, hidden, activation, normalised):
    policy = make_policy(kind, hidden, activation).double()
    if normalised:
        policy.network.normalise_by(np.array([0.1, -0.2, 0.3]), np.array([2.0, 0.5, 1.0]))
    obs, action, weight = make_batch(policy)
    obs, weight = obs.double(), weight.double()
    action = action.double() if kind == "gaussian" else action
    learnable = Learnable(policy)
    trace = policy.network.trace(obs)
    policy.policy_gradient(trace, policy.distribution(trace[-1]), action, weight, entropy_weight=0.3)
    written_out = learnable.gradient.clone()

    distribution = policy.distribution(policy.network(obs))
    objective = (weight * policy.log_prob(distribution, action)).sum() + 0.3 * policy.entropy(distribution).sum()
    by_autograd = torch.cat([g.flatten() for g in torch.autograd.grad(objective, list(policy.parameters()))])
    torch.testing.assert_close(written_out, by_autograd, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_network_pulls_back_like_autograd(activation):
    torch.manual_seed(0)
    network = Network(3, (7, 6), 2, activation, last_gain=1.0).double()
    learnable = Learnable(network)
    x, upstream = torch.randn(20, 3).double(), torch.randn(20, 2).double()
    network.pull_back(network.trace(x), upstream)
    expected = torch.autograd.grad((network(x) * upstream).sum(), list(network.parameters()))
    torch.testing.assert_close(learnable.gradient, torch.cat([g.flatten() for g in expected]))


def output_of(network, flat, x):
    """The network's output as a function of all its parameters in one vector, for autograd."""
    sizes = [p.numel() for p in network.parameters()]
    values = [part.view_as(p) for p, part in zip(network.parameters(), flat.split(sizes), strict=True)]
    for i in range(0, len(values) - 2, 2):
        x = network.activate(torch.nn.functional.linear(x, values[i], values[i + 1]))
    return torch.nn.functional.linear(x, values[-2], values[-1])


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_network_pushes_forward_like_autograd(activation):
    torch.manual_seed(0)
    network = Network(3, (7, 6), 2, activation, last_gain=1.0).double()
    x, vector = torch.randn(20, 3).double(), torch.randn(len(flat(network))).double()
    _, expected = torch.func.jvp(lambda theta: output_of(network, theta, x), (flat(network),), (vector,))
    parts = vector.split([p.numel() for p in network.parameters()])
    direction = {p: part.view_as(p) for p, part in zip(network.parameters(), parts, strict=True)}
    torch.testing.assert_close(network.push_forward(network.trace(x), direction), expected)


def fisher_times(policy, obs, vector):
    learnable = Learnable(policy)
    trace = policy.network.trace(obs)
    policy.fisher_product(trace, policy.distribution(trace[-1]), vector)
    return learnable.gradient.clone()


def test_the_fisher_matrix_of_a_2_4_2_network_is_the_mean_of_jacobian_covariance_jacobian():
    policy = make_policy(hidden=(4,), activation="tanh", observations=2, actions=2).double()
    obs = torch.randn(30, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda theta: output_of(policy.network, theta, obs), flat(policy))
    pi = policy.network(obs).softmax(-1)
    covariance = torch.diag_embed(pi) - pi.unsqueeze(2) * pi.unsqueeze(1)
    fisher = torch.einsum("bip,bij,bjq->pq", jacobian, covariance, jacobian).detach() / len(obs)
    vector = torch.randn(len(fisher), dtype=torch.float64)
    torch.testing.assert_close(fisher_times(policy, obs, vector), fisher @ vector)


@pytest.mark.parametrize(("kind", "hidden", "activation"), [k for k in KINDS if k[2] == "tanh" or not k[1]])
def test_the_fisher_matrix_is_the_curvature_of_the_divergence_from_the_policy_as_it_was(kind, hidden, activation):
    """A divergence of the moving policy from itself, not held fixed, would have no curvature at all."""
    policy = make_policy(kind, hidden, activation).double()
    obs = torch.randn(30, 3, dtype=torch.float64)
    old = policy.distribution(policy.network(obs)).detach()

    def divergence(theta):
        deviations = 0 if policy.log_std is None else len(policy.log_std)  # the first parameters of a Gaussian
        out = output_of(policy.network, theta[deviations:], obs)
        if policy.log_std is None:
            return policy.kl(old, torch.log_softmax(out, -1)).mean()
        return policy.kl(old, torch.cat([out, theta[:deviations].expand_as(out)], -1)).mean()

    curvature = torch.autograd.functional.hessian(divergence, flat(policy))
    vector = torch.randn(len(curvature), dtype=torch.float64)
    torch.testing.assert_close(fisher_times(policy, obs, vector), curvature @ vector)


def test_critics_and_probabilities_keep_one_number_a_row():
    """(N, 1) − (N,) would broadcast to (N, N) without a word."""
    policy, critic = make_policy(), Critic(3, (8,), "relu")
    obs, action, weight = make_batch(policy)
    distribution = policy.distribution(policy.network(obs))
    assert critic.value(obs).shape == policy.log_prob(distribution, action).shape == policy.entropy(distribution).shape == (50,)
    assert policy.kl(distribution, distribution).shape == weight.shape


@pytest.mark.parametrize(("kind", "hidden", "activation"), KINDS)
def test_numpy_acts_on_the_very_weights_that_torch_learns(kind, hidden, activation):
    policy = make_policy(kind, hidden, activation)
    learnable = Learnable(policy)
    obs = torch.randn(10, 3)
    policy.preferences(obs.numpy())
    learnable.theta.mul_(1.5)
    np.testing.assert_allclose(policy.preferences(obs.numpy()), policy.network(obs).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_actions_are_drawn_with_their_probabilities():
    policy = make_policy()
    obs = np.tile(np.array([[0.3, -1.0, 0.5]], dtype=np.float32), (100_000, 1))
    share = np.bincount(policy.act(obs, np.random.default_rng(0)), minlength=4) / len(obs)
    expected = policy.probabilities(obs[:1])[0]
    np.testing.assert_allclose(share, expected, atol=4 * np.sqrt(0.25 / len(obs)))
    assert policy.act(obs[:1], np.random.default_rng(0), greedy=True) == expected.argmax()


def test_gaussian_actions_have_the_learned_mean_and_deviation():
    policy = make_policy("gaussian", (), actions=2)
    obs = np.zeros((100_000, 3), dtype=np.float32)
    actions = policy.act(obs, np.random.default_rng(0))
    deviation = np.exp(policy.log_std.detach().numpy())
    np.testing.assert_allclose(actions.mean(axis=0), policy.act(obs[:1], None, greedy=True)[0], atol=0.03)
    np.testing.assert_allclose(actions.std(axis=0), deviation, rtol=0.02)


@pytest.mark.parametrize(("kind", "hidden", "activation"), KINDS)
def test_log_probability_entropy_and_divergence_are_those_of_torch_distributions(kind, hidden, activation):
    old, new = make_policy(kind, hidden, activation), make_policy(kind, hidden, activation)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.add_(0.3)
    obs, action, _ = make_batch(old)

    def reference(policy):
        out = policy.network(obs)
        if kind == "categorical":
            return torch.distributions.Categorical(logits=out)
        return torch.distributions.Independent(torch.distributions.Normal(out, policy.log_std.exp()), 1)

    a, b = (policy.distribution(policy.network(obs)) for policy in (old, new))
    torch.testing.assert_close(old.log_prob(a, action), reference(old).log_prob(action))
    torch.testing.assert_close(old.entropy(a), reference(old).entropy())
    torch.testing.assert_close(
        old.kl(a, b), torch.distributions.kl_divergence(reference(old), reference(new)), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(old.kl(a, a), torch.zeros(len(obs)), rtol=0, atol=1e-6)


def test_the_linear_policy_is_the_articles_softmax_of_theta_f():
    policy = make_policy(hidden=())
    obs = np.array([[1.0, 2.0, 3.0]], dtype=np.float32)
    weight, bias = (p.detach().numpy() for p in policy.parameters())
    preference = np.array([weight[a] @ obs[0] + bias[a] for a in range(4)])
    np.testing.assert_allclose(policy.probabilities(obs)[0], np.exp(preference) / np.exp(preference).sum(), rtol=1e-5)


def test_a_policy_of_values_takes_the_best_action_but_for_a_chance_of_any():
    policy = make_policy("values")
    obs = np.tile(np.array([[0.3, -1.0, 0.5]], dtype=np.float32), (50_000, 1))
    best = policy.preferences(obs[:1]).argmax()
    assert (policy.act(obs, np.random.default_rng(0)) == best).all()
    policy.exploration.fill_(0.2)
    assert (policy.act(obs, None, greedy=True) == best).all()
    share = np.bincount(policy.act(obs, np.random.default_rng(0)), minlength=4) / len(obs)
    np.testing.assert_allclose(share, policy.probabilities(obs[:1])[0], atol=4 * np.sqrt(0.25 / len(obs)))
    assert policy.probabilities(obs[:1])[0, best] == pytest.approx(0.8 + 0.2 / 4)
    assert policy_from_bytes(policy.to_bytes()).exploration == pytest.approx(0.2)


@pytest.mark.parametrize(("kind", "hidden", "activation"), KINDS)
def test_a_policy_comes_back_from_its_file(tmp_path, kind, hidden, activation):
    policy = make_policy(kind, hidden, activation)
    policy.network.normalise_by(np.array([0.1, -0.2, 0.3]), np.array([2.0, 0.5, 1.0]))
    (tmp_path / "policy.safetensors").write_bytes(policy.to_bytes())
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for again in (load_policy(tmp_path / "policy.safetensors"), load_policy(tmp_path), policy_from_bytes(policy.to_bytes())):
        np.testing.assert_array_equal(again.preferences(obs), policy.preferences(obs))


def with_header(file, changes):
    """The same arrays under another description of the network."""
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    return save(load(file), {"policy": json.dumps(json.loads(header["__metadata__"]["policy"]) | changes)})


def play_raw(name, policy, seed):
    """The return of an episode in Gymnasium's own environment, played as README says."""
    env, rng = gymnasium.make(name), np.random.default_rng(0)
    observation, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = policy.act(observation[None], rng, greedy=True)[0]
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + reward, terminated or truncated
    return total


@pytest.mark.parametrize("name", ["Pendulum-v1", task("Reaching"), task("Shifted")])
@pytest.mark.parametrize("kept", [True, False])
def test_a_loaded_policy_acts_in_the_units_of_its_environment(tmp_path, name, kept):
    """Evaluation plays the same from the same beginning, whether the policy was read from its file or not."""
    config = TrainConfig(task=name, seed=3)
    policy = Trainer(config).policy
    with torch.no_grad():
        policy.network.layers[-1][1].fill_(0.6)  # within the bounds, and beyond half of them
    (tmp_path / "policy.safetensors").write_bytes(policy.to_bytes())
    loaded = load_policy(tmp_path)
    assert loaded.to_bytes() == policy.to_bytes()
    expected = play(config, loaded if kept else policy, 1, greedy=True)
    np.testing.assert_allclose(play_raw(name, loaded, config.seed + FRESH), expected[0], rtol=1e-5)


@pytest.mark.parametrize(
    "box",
    [
        spaces.Box(np.float32([-0.1, -np.inf, 0.0, -np.inf]), np.float32([0.3, np.inf, np.inf, 7.0])),
        spaces.Box(np.array([[-1e-300, 0.1], [3.0, -7.5]]), np.array([[1e300, 0.7], [4.0, 7.5]]), dtype=np.float64),
        spaces.Box(3, 90, (4,), np.uint8),
        spaces.Discrete(4, start=-2),
    ],
)
def test_the_units_of_an_action_space_come_back_from_a_file_to_the_bit(box):
    continuous = isinstance(box, spaces.Box)
    policy = Policy(3, 4, "gaussian" if continuous else "categorical", units=units_of(box))
    units = policy_from_bytes(policy.to_bytes()).units
    assert units.described() == policy.units.described()
    answer = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32) * 3 if continuous else np.arange(4)
    np.testing.assert_array_equal(units(answer), policy.units(answer), strict=True)


def test_a_file_of_before_units_were_kept_answers_as_it_did():
    old = Policy(3, 1, "gaussian").to_bytes()
    assert b"action_space" not in old
    obs, policy = np.ones((2, 3), dtype=np.float32), policy_from_bytes(old)
    np.testing.assert_array_equal(policy.act(obs, None, greedy=True), policy.preferences(obs))
    assert policy.to_bytes() == old


BOX = {"low": [-2.0], "high": [2.0], "dtype": "float32"}


@pytest.mark.parametrize(
    "described",
    [5, [], {}, {"start": 1}, BOX | {"low": [-2.0, 1.0]}, BOX | {"low": ["x"]}, BOX | {"high": [[2.0, 1.0], [1.0]]}]
    + [BOX | {"dtype": dtype} for dtype in ("O", "U9", "S2000000000", "(50000000,)f8", "(1,f4", "f4,f4", "nonsense", None, {})]
    + [{"low": [10**400], "high": [2], "dtype": "int64"}, {"low": [None], "high": [2], "dtype": "int64"}],
)
def test_units_that_this_program_would_not_write_are_refused(described):
    with pytest.raises(BadInput, match="its action space is not as this program writes it"):
        policy_from_bytes(with_header(SWINGER, {"action_space": described}))


def test_a_file_that_holds_no_policy_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"PK\x03\x04 not a policy")
    for path in (tmp_path / "x.safetensors", tmp_path / "missing", tmp_path):
        with pytest.raises(BadInput, match=r"policy\.safetensors of an exported run"):
            load_policy(path)


@pytest.mark.parametrize("name", ["hidden", "observations", "actions"])
def test_a_network_that_is_not_in_the_file_is_refused_before_it_is_built(monkeypatch, name):
    large = {"hidden": [40_000, 40_000], "observations": 10**9, "actions": 10**9}[name]
    file = with_header(Policy(4, 2, hidden=(8,)).to_bytes(), {name: large})
    monkeypatch.setattr(policies, "Policy", lambda *_: pytest.fail("it was built"))
    with pytest.raises(BadInput, match=r"its arrays are not those of the network in its header"):
        policy_from_bytes(file)


def test_a_pickle_is_not_opened():
    """Reading one would run whatever it says."""

    class Trap:
        def __reduce__(self):
            return pytest.fail, ("the pickle was opened",)

    with pytest.raises(BadInput):
        policy_from_bytes(pickle.dumps(Trap()))
