"""A policy read without torch says what the policy in torch says."""

import json
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from pgcore.acting import read_actor
from pgcore.errors import BadInput
from pgcore.policies import Policy


@pytest.mark.parametrize("kind", ["categorical", "gaussian", "values"])
@pytest.mark.parametrize(("hidden", "activation"), [((), "relu"), ((16,), "relu"), ((8, 8), "tanh")])
@pytest.mark.parametrize("normalised", [False, True])
def test_an_actor_plays_like_its_policy(kind, hidden, activation, normalised):
    torch.manual_seed(0)
    policy = Policy(3, 4, kind, hidden, activation)
    if normalised:
        policy.network.normalise_by(np.array([0.5, -1.0, 2.0]), np.array([2.0, 0.1, 1.0]))
    actor = read_actor(policy.to_bytes())
    obs = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    np.testing.assert_allclose(actor.outputs(obs), policy.preferences(obs), rtol=1e-5, atol=1e-6)
    if kind != "gaussian":
        greedy = policy.act(obs, np.random.default_rng(0), greedy=True)
        np.testing.assert_array_equal(actor.probabilities(obs).argmax(axis=1), greedy)
        np.testing.assert_allclose(actor.probabilities(obs).sum(axis=1), 1, rtol=1e-6)


SHAPE = {"observations": 3, "actions": 4, "kind": "values", "hidden": [5], "activation": "relu", "scales_input": False}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"observations": wrong} for wrong in (10_000_000, True)),
        *({"hidden": wrong} for wrong in ([10_000_000], [5] * 100_000, [5.0], [0], 5)),
        *({"actions": 10_000_000}, {"scales_input": 1}, {"kind": "other"}, {"activation": []}),
    ],
)
def test_a_network_that_is_not_in_the_file_is_refused_and_takes_no_room(wrong):
    arrays = load(Policy(3, 4, "values", (5,)).to_bytes())
    read_actor(save(arrays, {"policy": json.dumps(SHAPE)}))
    file = save(arrays, {"policy": json.dumps(SHAPE | wrong)})
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"policy\.safetensors"):
        read_actor(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(file) + 1_000_000


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\xff" * 100, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_bytes_that_hold_no_policy_are_refused(data):
    with pytest.raises(BadInput, match=r"policy\.safetensors"):
        read_actor(data)
