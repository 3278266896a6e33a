"""Steps of the policy and the critic: ascent, the clipped surrogate, the natural gradient."""

import copy
import math
from collections import namedtuple
from dataclasses import asdict

import numpy as np
import pytest
import torch

from pgcore import optimisers
from pgcore.config import TrainConfig
from pgcore.optimisers import Learnable, TrainingDiverged, rmsprop
from pgcore.policies import Critic, Policy
from pgcore.turn import Turn
from pgcore.updates import UPDATES, Batch, Learner, ascent, clipped, conjugate_gradient, natural, natural_step

ESTIMATOR_OF = {"ascent": "gae", "clipped": "ppo", "natural": "trpo"}
Setup = namedtuple("Setup", "learner batch config")


def make(update="ascent", kind="categorical", hidden=(8,), activation="tanh", rows=200, **settings):
    """A learner whose policy leans, a batch it could have gathered, and the config."""
    config = TrainConfig(estimator=ESTIMATOR_OF[update], **settings)
    torch.manual_seed(1)
    policy = Policy(3, 2, kind, hidden, activation)
    critic = Critic(3, (8,), "tanh")
    critic.measure(np.ones(1))
    learner = Learner(Learnable(policy, config.optimiser, "policy's rate"), Learnable(critic, rate_name="critic's rate"))
    learner.policy.theta.add_(0.3 * torch.randn_like(learner.policy.theta))
    obs = torch.randn(rows, 3)
    action = torch.from_numpy(policy.act(obs.numpy(), np.random.default_rng(0)))
    weight = torch.randn(rows)
    return Setup(learner, Batch(obs, action, weight, obs.sum(1) * 2, None), config)


def run(update, setup, rate=1e-2, seed=0):
    return UPDATES[update](setup.learner, setup.batch, setup.config, rate, np.random.default_rng(seed))


def distribution(setup):
    policy = setup.learner.policy.network
    return policy.distribution(policy.network(setup.batch.obs)).detach()


def test_every_update_is_known_by_the_name_of_its_function():
    assert {name: update.__name__ for name, update in UPDATES.items()} == {name: name for name in UPDATES}


# ---- what all of them do


@pytest.mark.parametrize("update", UPDATES)
def test_good_actions_become_more_likely_and_bad_ones_less(update):
    setup = make(update)
    policy, batch = setup.learner.policy.network, setup.batch
    before = policy.log_prob(distribution(setup), batch.action)
    run(update, setup)
    change = policy.log_prob(distribution(setup), batch.action) - before
    assert torch.dot(change, batch.weight) > 0


@pytest.mark.parametrize("update", UPDATES)
def test_the_entropy_bonus_raises_the_entropy(update):
    setup = make(update, entropy_bonus=0.5)
    flat = setup._replace(batch=Batch(setup.batch.obs, setup.batch.action, torch.zeros(200), setup.batch.target, None))
    policy = setup.learner.policy.network
    before = policy.entropy(distribution(flat)).mean()
    run(update, flat)
    assert policy.entropy(distribution(flat)).mean() > before


@pytest.mark.parametrize("update", UPDATES)
def test_the_policys_loss_leaves_the_critic_alone_and_the_critics_loss_moves_it(update):
    setup = make(update, value_learning_rate=0.01)
    critic, policy = setup.learner.critic, setup.learner.policy
    trace = policy.network.network.trace(setup.batch.obs)
    policy.network.policy_gradient(trace, distribution(setup), setup.batch.action, setup.batch.weight)
    assert (critic.gradient == 0).all()
    theta, first = critic.theta.clone(), run(update, setup).value_loss
    assert not torch.equal(theta, critic.theta)
    for _ in range(30):
        last = run(update, setup).value_loss
    assert last < first / 2, "the critic learns what it is told"


@pytest.mark.parametrize("update", UPDATES)
def test_the_divergence_reported_is_that_of_the_policy_before_from_the_one_after(update):
    setup = make(update)
    before = distribution(setup)
    progress = run(update, setup)
    policy = setup.learner.policy.network
    assert progress.kl == pytest.approx(policy.kl(before, distribution(setup)).mean().item(), abs=1e-7)
    assert progress.kl > 0
    assert progress.entropy == pytest.approx(policy.entropy(before).mean().item())


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("part", ["weight", "target"])
def test_what_is_not_a_number_stops_the_run_and_names_a_cause(update, part):
    setup = make(update, value_learning_rate=0.03, max_kl=0.02)
    getattr(setup.batch, part)[3] = math.nan
    of_the_policy = "policy's rate 0.02 is too high: try 0.002" if update == "natural" else "policy's rate 0.01 is too high: "
    cause = of_the_policy if part == "weight" else "critic's rate 0.03 is too high: try 0.003"
    with pytest.raises(TrainingDiverged, match=f"no longer a number; most likely the {cause}"):
        run(update, setup)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
@pytest.mark.parametrize("at_once", [1, 33, 199])
def test_a_batch_that_is_learned_from_in_pieces_teaches_the_same(update, kind, at_once, monkeypatch):
    settings = {"entropy_bonus": 0.01, "critic_steps": 2, "gradient_clip": 1.0, "fisher_rows": 100, "minibatches": 2}
    whole = make(update, kind, **settings)
    expected = run(update, whole)
    monkeypatch.setattr(optimisers, "ROWS_AT_ONCE", at_once)
    cut = make(update, kind, **settings)
    got = run(update, cut)
    for name, number in asdict(expected).items():
        assert getattr(got, name) == pytest.approx(number, rel=1e-3, abs=1e-6, nan_ok=True), name
    for theta, other in zip(cut.learner.parts, whole.learner.parts, strict=True):
        torch.testing.assert_close(theta.theta, other.theta, rtol=1e-3, atol=1e-5)


# ---- plain ascent


def test_ascent_takes_exactly_one_step_a_rollout():
    setup = make()
    for expected in (1, 2, 3):
        run("ascent", setup)
        assert setup.learner.policy.moments[2] == expected


def test_plain_ascent_moves_by_the_learning_rate_times_the_gradient():
    setup = make(optimiser="ascent")
    before = setup.learner.policy.theta.clone()
    run("ascent", setup, rate=0.25)
    torch.testing.assert_close(setup.learner.policy.theta, before + 0.25 * setup.learner.policy.gradient)


def test_whole_episodes_are_summed_over_their_steps_and_averaged_over_episodes():
    per_step, per_episode = make(optimiser="ascent"), make(optimiser="ascent")
    run("ascent", per_step)
    batch = per_episode.batch
    run("ascent", per_episode._replace(batch=Batch(batch.obs, batch.action, batch.weight, batch.target, 10)))
    torch.testing.assert_close(per_episode.learner.policy.gradient, per_step.learner.policy.gradient * 200 / 10)


def test_a_long_gradient_is_shortened():
    long, short = make(optimiser="ascent"), make(optimiser="ascent", gradient_clip=0.01)
    norm = run("ascent", long).grad_norm
    assert run("ascent", short).grad_norm == pytest.approx(norm), "what is reported is the norm before"
    torch.testing.assert_close(short.learner.policy.gradient, long.learner.policy.gradient * 0.01 / norm)


def test_the_critic_takes_as_many_steps_as_it_is_told():
    setup = make(critic_steps=7)
    run("ascent", setup)
    assert setup.learner.critic.moments[2] == 7


def test_rmsprop_by_hand():
    """v = 0.01 · 4, θ = 1 + 0.1 · 2 / √(0.04 + 1e-5)."""
    theta, square = torch.ones(1), torch.zeros(1)
    rmsprop(theta, torch.full((1,), 2.0), square, 0.1)
    assert square.item() == pytest.approx(0.04)
    assert theta.item() == pytest.approx(1 + 0.2 / math.sqrt(0.04001))


# ---- PPO


def test_the_first_step_of_ppo_is_that_of_plain_ascent():
    """Every ratio is 1 on the first minibatch, so nothing is clipped and the gradient is Σ A ∇log π."""
    plain, ppo = make(optimiser="ascent"), make("clipped", optimiser="ascent", epochs=1, minibatches=1)
    run("ascent", plain)
    run("clipped", ppo)
    torch.testing.assert_close(ppo.learner.policy.gradient, plain.learner.policy.gradient)


def test_an_action_that_has_become_likely_enough_pays_no_more():
    """With one good action repeated, ascent would go on for ever; the clip stops at ratio 1 + ε, one step beyond at most."""
    setup = make("clipped", epochs=50, minibatches=1, clip_range=0.1, optimiser="ascent")
    policy, rows = setup.learner.policy.network, 20
    obs, action = setup.batch.obs[:1].repeat(rows, 1), distribution(setup)[:1].argmin(1).repeat(rows)
    batch = Batch(obs, action, torch.ones(rows), torch.ones(rows), None)
    before = policy.log_prob(policy.distribution(policy.network(obs)), action)[0]
    clipped(setup.learner, batch, setup.config, 0.01, np.random.default_rng(0))
    ratio = (policy.log_prob(policy.distribution(policy.network(obs)), action)[0] - before).exp()
    assert 1.1 <= ratio < 1.2
    assert (setup.learner.policy.gradient == 0).all(), "the last gradient was clipped away"


def test_the_sampled_divergence_is_never_negative_and_near_the_exact_one():
    """k3 = (ρ − 1) − log ρ ≥ 0 for every sample, with the mean KL(old ‖ new) (Schulman 2020)."""
    setup = make("clipped", rows=5000)
    policy, before = setup.learner.policy.network, distribution(setup)
    exact = run("clipped", setup).kl
    log_ratio = policy.log_prob(distribution(setup), setup.batch.action) - policy.log_prob(before, setup.batch.action)
    k3 = log_ratio.exp() - 1 - log_ratio
    assert (k3 >= -1e-6).all(), "but for rounding"
    assert k3.mean() == pytest.approx(exact, rel=0.1)
    assert exact < 0.02


def test_epochs_stop_once_the_policy_has_moved_far_enough():
    free, stopped = make("clipped", epochs=20), make("clipped", epochs=20, target_kl=0.01)
    far, near = run("clipped", free, rate=0.03).kl, run("clipped", stopped, rate=0.03).kl
    assert 0.01 < near < far
    assert stopped.learner.policy.moments[2] % stopped.config.minibatches == 0, "whole epochs"


# ---- TRPO


def test_conjugate_gradients_give_what_a_direct_solve_gives():
    torch.manual_seed(0)
    half = torch.randn(12, 12, dtype=torch.float64)
    matrix, b = half @ half.T + torch.eye(12), torch.randn(12, dtype=torch.float64)
    x = conjugate_gradient(lambda v: matrix @ v, b, 30)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, b), rtol=1e-4, atol=1e-6)


def test_conjugate_gradients_stop_where_the_matrix_is_not_positive():
    matrix = torch.diag(torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64))
    x = conjugate_gradient(lambda v: matrix @ v, torch.ones(3, dtype=torch.float64), 10)
    assert x.isfinite().all()


def fisher(policy, obs, vector):
    learnable = Learnable(copy.deepcopy(policy).double())
    trace = learnable.network.network.trace(obs.double())
    learnable.network.fisher_product(trace, learnable.network.distribution(trace[-1]), vector)
    return learnable.gradient


def step_of(setup, max_kl, steps=60, damping=0.0):
    policy, batch = setup.learner.policy.network, setup.batch
    trace = policy.network.trace(batch.obs)
    policy.policy_gradient(trace, policy.distribution(trace[-1]), batch.action, batch.weight / len(batch))
    return natural_step(policy, batch.obs, setup.learner.policy.gradient, max_kl, steps, damping, Turn())


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_the_full_step_has_the_divergence_asked_for_to_second_order(kind):
    setup = make("natural", kind)
    step = step_of(setup, max_kl=0.01)
    assert 0.5 * (step @ fisher(setup.learner.policy.network, setup.batch.obs, step)) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_a_small_step_has_the_divergence_asked_for(kind):
    setup = make("natural", kind, hidden=())
    before, step = distribution(setup), step_of(setup, max_kl=1e-4)
    setup.learner.policy.theta.add_(step.float())
    assert setup.learner.policy.network.kl(before, distribution(setup)).mean() == pytest.approx(1e-4, rel=0.03)


def test_the_natural_step_does_not_depend_on_how_the_features_are_written():
    """Features x or A x with weights W or W A⁻¹ are one policy; without damping the step leads to one new policy too."""
    plain, mixed = make("natural", hidden=()), make("natural", hidden=())
    mixing = torch.tensor([[2.0, 0.5, 0.0], [0.0, 0.3, 0.1], [0.4, 0.0, 5.0]])
    with torch.no_grad():
        mixed.learner.policy.network.network.layers[0][0].copy_(
            plain.learner.policy.network.network.layers[0][0] @ mixing.inverse()
        )
    mixed.batch.obs.copy_(plain.batch.obs @ mixing.T)
    torch.testing.assert_close(distribution(plain), distribution(mixed), rtol=1e-4, atol=1e-5)
    before = distribution(plain)
    for setup in (plain, mixed):
        setup.learner.policy.theta.add_(step_of(setup, max_kl=0.01).float())
    assert (distribution(plain) - before).abs().max() > 0.05
    torch.testing.assert_close(distribution(plain), distribution(mixed), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("max_kl", [0.001, 0.05, 0.5])
def test_the_line_search_keeps_the_policy_in_the_trust_region_and_makes_the_step_pay(max_kl):
    setup = make("natural", max_kl=max_kl)
    policy, batch = setup.learner.policy.network, setup.batch
    before = distribution(setup)
    progress = run("natural", setup)
    ratio = (policy.log_prob(distribution(setup), batch.action) - policy.log_prob(before, batch.action)).exp()
    assert 0 < progress.kl <= max_kl
    assert torch.dot(ratio, batch.weight) > batch.weight.sum()


def test_where_no_step_pays_the_policy_stays():
    setup = make("natural")
    setup.batch.weight.zero_()
    before = setup.learner.policy.theta.clone()
    assert run("natural", setup).kl == 0
    assert torch.equal(setup.learner.policy.theta, before)


def test_the_trust_region_takes_the_place_of_a_learning_rate():
    one, other = make("natural"), make("natural")
    natural(one.learner, one.batch, one.config, 1e-5, np.random.default_rng(0))
    natural(other.learner, other.batch, other.config, 1.0, np.random.default_rng(1))
    assert torch.equal(one.learner.policy.theta, other.learner.policy.theta)
    assert ascent is UPDATES["ascent"]
