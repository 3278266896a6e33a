"""The policy π(a|s) and the critic V(s): networks in torch, played in NumPy.

Acting is thousands of tiny forward passes, where NumPy on the very same memory costs a third of torch. Learning needs
Σ c_b ∇log π(a_b|s_b), and for TRPO the Fisher matrix times a vector, and writes both out: the score with respect to the
network's output, pulled back through its layers. Written out it costs less than half of autograd, which the tests hold it
against.
"""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import linear

from pgcore.acting import Actor, Kind, read_architecture
from pgcore.actions import AS_ANSWERED, Units
from pgcore.errors import BadInput
from pgcore.exported import POLICY, read_exported

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
TINY = np.float32(1e-30)  # a float32 exponential can be exactly 0


class Network(nn.Module):
    """Fully connected layers behind a fixed scaling of the input: y = W_k g(… g(W_1 (x − mean) / scale + b_1) …) + b_k.

    Without hidden layers it is linear. Input [B, D], output [B, K]. `mean` and `scale` are the running statistics of the
    observations where these are normalised, else 0 and 1. Weights start orthogonal, the last ones times `last_gain`; without
    one, as PyTorch starts them.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, activation: str, last_gain: float | None) -> None:
        super().__init__()
        sizes = [inputs, *hidden, outputs]
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        if last_gain is not None:
            for weight, bias in self.layers:
                nn.init.orthogonal_(weight, last_gain if weight is self.layers[-1][0] else math.sqrt(2))
                nn.init.zeros_(bias)
        self.activation = activation
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.scales_input = False

    def forward(self, x: Tensor) -> Tensor:
        return self.trace(x)[-1]

    @cached_property
    def layers(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Weight [out, in] and bias [out] of each layer."""
        return [(cast(nn.Parameter, layer.weight), cast(nn.Parameter, layer.bias)) for layer in self.linear]

    def trace(self, x: Tensor) -> list[Tensor]:
        """What each layer saw, and the output: [x [B, D], h_1, …, y [B, K]]."""
        trace = [(x - self.mean) / self.scale if self.scales_input else x]
        *hidden, (weight, bias) = self.layers
        for w, b in hidden:
            trace.append(self.activate(linear(trace[-1], w, b)))
        return [*trace, linear(trace[-1], weight, bias)]

    @torch.no_grad()
    def pull_back(self, trace: list[Tensor], output_gradient: Tensor) -> None:
        """Jᵀ u: parameters' .grad ← Σ_b u_b ∂y_b/∂θ for u [B, K], by the chain rule from the last layer to the first."""
        gradient = output_gradient
        for i in reversed(range(len(self.layers))):
            weight, bias = self.layers[i]
            torch.mm(gradient.T, trace[i], out=weight.grad)
            torch.sum(gradient, 0, out=bias.grad)
            if i > 0:
                gradient = self.slope(gradient @ weight, trace[i])

    @torch.no_grad()
    def push_forward(self, trace: list[Tensor], direction: Mapping[nn.Parameter, Tensor]) -> Tensor:
        """J v: how the output [B, K] moves as the parameters move along v, by the chain rule from first layer to last."""
        tangent = None
        for i, (weight, bias) in enumerate(self.layers):
            moved = linear(trace[i], direction[weight], direction[bias])
            if tangent is not None:
                moved += linear(self.slope(tangent, trace[i]), weight)
            tangent = moved
        assert tangent is not None
        return tangent

    def activate(self, x: Tensor) -> Tensor:
        return torch.relu(x) if self.activation == "relu" else torch.tanh(x)

    def slope(self, gradient: Tensor, activated: Tensor) -> Tensor:
        """gradient · g′, from g itself: passed on where relu passed, times 1 − tanh²."""
        if self.activation == "relu":
            return torch.ops.aten.threshold_backward(gradient, activated, 0)
        return torch.ops.aten.tanh_backward(gradient, activated)

    def normalise_by(self, mean: NDArray[np.floating], scale: NDArray[np.floating]) -> None:
        """From now on see (x − mean) / scale."""
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))
        self.scales_input = True


class Critic(Network):
    """V(s) in units of a typical reward: V = unit · y(s), so that the size of the rewards makes no difference.

    Adam's steps have a fixed size: where a reward is 0.01 they would jump about V, where it is 100 they would crawl.
    """

    unit: Tensor

    def __init__(self, inputs: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__(inputs, hidden, 1, activation, last_gain=1.0)
        self.register_buffer("unit", torch.zeros(()))

    def value(self, x: Tensor) -> Tensor:
        """V [B] of observations [B, D]; 0 until a reward was seen."""
        return self.unit * self.trace(x)[-1].squeeze(-1)

    def measure(self, reward: NDArray[np.floating]) -> None:
        """Take the root mean square of the first rewards that are not all 0 as the unit."""
        if self.unit == 0:
            self.unit.fill_(float(np.sqrt(np.mean(np.square(reward)))))


class Policy(nn.Module):
    """π(a|s): a softmax over discrete actions, or a diagonal Gaussian whose deviation is learned but state-independent.

    `linear` is the article's softmax(θᵀ f(s,a)) with f(s,a) the features and a 1 in the block of action a, so each action
    has its own weights and bias; `mlp` is its network of hidden layers. The Gaussian is not squashed: actions beyond the
    bounds of a Box are clipped by the environment only, and its log-probability is that of the unclipped action.
    The kind "values" has learned Q(s, ·) instead: it takes the best action or, with the chance `exploration`, any.
    """

    exploration: Tensor

    def __init__(
        self,
        observations: int,
        actions: int,
        kind: Kind = "categorical",
        hidden: Sequence[int] = (),
        activation: str = "relu",
        units: Units = AS_ANSWERED,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.actions = actions
        self.units = units
        self.network = Network(observations, hidden, actions, activation, None if kind == "values" else 0.01)
        self.log_std = nn.Parameter(torch.zeros(actions)) if kind == "gaussian" else None
        if kind == "values":
            self.register_buffer("exploration", torch.zeros(()))

    # ---- playing, in NumPy

    @cached_property
    def actor(self) -> Actor:
        """The same network in NumPy, on the very memory of the parameters: it follows every update."""
        network = self.network
        layers = tuple((weight.detach().numpy(), bias.detach().numpy()) for weight, bias in network.layers)
        return Actor(self.kind, network.activation, layers, network.mean.numpy(), network.scale.numpy())

    @np.errstate(over="ignore", invalid="ignore")  # of a policy that has diverged; its gradient tells
    def preferences(self, obs: NDArray[np.floating]) -> NDArray[np.float32]:
        """Logits [B, A] of a softmax policy, means of a Gaussian one, or values of the actions, for observations [B, D]."""
        return self.actor.outputs(obs)

    def act(self, obs: NDArray[np.floating], rng: np.random.Generator, greedy: bool = False) -> NDArray[Any]:
        """Actions [B, …] for observations [B, …], both as the environment has them: drawn from π, or its most probable ones."""
        return self.units(self.choose(obs.reshape(len(obs), -1), rng, greedy))

    def choose(self, obs: NDArray[np.floating], rng: np.random.Generator, greedy: bool = False) -> NDArray[Any]:
        """The same as π has them, and `make_environment` takes them: 0, 1, … [B] or [B, A] for observations [B, D]."""
        out = self.preferences(obs)
        if self.kind == "gaussian":
            assert self.log_std is not None
            return out if greedy else out + np.exp(self.log_std.detach().numpy()) * rng.standard_normal(out.shape, np.float32)
        if self.kind == "values":
            best = out.argmax(axis=1)
            if greedy:
                return best
            explores = rng.random(len(out)) < float(self.exploration)
            return np.where(explores, rng.integers(out.shape[1], size=len(out)), best)
        if not greedy:  # Gumbel-max: argmax of logit − log E, E standard exponential, is a draw from the softmax
            out -= np.log(rng.standard_exponential(out.shape, np.float32) + TINY)
        return out.argmax(axis=1)

    def probabilities(self, obs: NDArray[np.floating]) -> NDArray[np.floating]:
        """π(·|s) [B, A] over discrete actions for observations [B, D]."""
        out = self.preferences(obs)
        if self.kind == "values":
            chance, actions = float(self.exploration), out.shape[1]
            return (1 - chance) * np.eye(actions, dtype=np.float32)[out.argmax(axis=1)] + chance / actions
        out = np.exp(out - out.max(axis=1, keepdims=True))
        return out / out.sum(axis=1, keepdims=True)

    # ---- learning, in torch

    def distribution(self, output: Tensor) -> Tensor:
        """What the network's output says: log π(·|s) [B, A], or means beside log deviations [B, 2A]."""
        if self.log_std is None:
            return torch.log_softmax(output, dim=-1)
        return torch.cat([output, self.log_std.expand_as(output)], dim=-1)

    def log_prob(self, distribution: Tensor, action: Tensor) -> Tensor:
        """log π(a|s) [B] of actions [B] or [B, A]."""
        if self.log_std is None:
            return distribution.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        mean, log_std = distribution.chunk(2, dim=-1)
        return (-0.5 * ((action - mean) / log_std.exp()) ** 2 - log_std - LOG_SQRT_2PI).sum(-1)

    def entropy(self, distribution: Tensor) -> Tensor:
        """H(π(·|s)) [B] in nats."""
        if self.log_std is None:
            return -(distribution.exp() * distribution).sum(-1)
        return (distribution.chunk(2, dim=-1)[1] + 0.5 + LOG_SQRT_2PI).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """KL(π_old(·|s) ‖ π_new(·|s)) [B] in nats, in closed form."""
        if self.log_std is None:
            return (old.exp() * (old - new)).sum(-1)
        (mean0, log_std0), (mean1, log_std1) = old.chunk(2, dim=-1), new.chunk(2, dim=-1)
        spread = ((2 * log_std0).exp() + (mean0 - mean1) ** 2) / (2 * (2 * log_std1).exp())
        return (log_std1 - log_std0 + spread - 0.5).sum(-1)

    @torch.no_grad()
    def policy_gradient(
        self, trace: list[Tensor], distribution: Tensor, action: Tensor, weight: Tensor, entropy_weight: float = 0.0
    ) -> None:
        """parameters' .grad ← Σ_b w_b ∇log π(a_b|s_b) + β Σ_b ∇H(π(·|s_b)), for weights w [B].

        With respect to logits z the score is 1[a] − π and ∂H/∂z = −π (log π + H); with respect to the mean of a Gaussian it
        is (a − μ) / σ², with respect to log σ it is (a − μ)² / σ² − 1 and ∂H/∂log σ = 1 (Sutton & Barto 2e, §13.3, §13.7).
        """
        if self.log_std is None:
            probability = distribution.exp()
            gradient = probability * -weight.unsqueeze(-1)
            gradient.scatter_add_(1, action.unsqueeze(-1), weight.unsqueeze(-1))
            if entropy_weight:
                gradient -= entropy_weight * probability * (distribution + self.entropy(distribution).unsqueeze(-1))
        else:
            mean, log_std = distribution.chunk(2, dim=-1)
            error = (action - mean) / log_std.exp()
            gradient = weight.unsqueeze(-1) * error / log_std.exp()
            score = (weight.unsqueeze(-1) * (error**2 - 1)).sum(0)
            torch.add(score, entropy_weight * len(weight), out=self.log_std.grad)
        self.network.pull_back(trace, gradient)

    @torch.no_grad()
    def fisher_product(self, trace: list[Tensor], distribution: Tensor, vector: Tensor) -> None:
        """parameters' .grad ← F v for v [P], F = mean_b J_bᵀ M_b J_b: the Hessian of the mean KL divergence where it is 0.

        J is the Jacobian of the network's output, and M the Fisher matrix with respect to it: diag(π) − ππᵀ of logits,
        diag(1/σ²) of the means of a Gaussian; that of log σ is 2 (Schulman et al. 2015, appendix C).
        """
        sizes = [parameter.numel() for parameter in self.parameters()]
        direction = {p: part.view_as(p) for p, part in zip(self.parameters(), vector.split(sizes), strict=True)}
        moved = self.network.push_forward(trace, direction)
        if self.log_std is None:
            probability = distribution.exp()
            moved = probability * (moved - (probability * moved).sum(-1, keepdim=True))
        else:
            moved = moved * (-2 * self.log_std).exp()
            self.log_std.grad = torch.mul(direction[self.log_std], 2, out=self.log_std.grad)
        self.network.pull_back(trace, moved / len(moved))

    # ---- storing

    def to_bytes(self) -> bytes:
        """The policy as a safetensors file: parameters, and what rebuilds the networks as JSON in its header."""
        weights = [weight for weight, _ in self.network.layers]
        shape: dict[str, Any] = {
            "observations": weights[0].shape[1],
            "actions": weights[-1].shape[0],
            "kind": self.kind,
            "hidden": [weight.shape[0] for weight in weights[:-1]],
            "activation": self.network.activation,
            "scales_input": self.network.scales_input,
        }
        if self.units != AS_ANSWERED:
            shape["action_space"] = self.units.described()
        return save({name: value.detach() for name, value in self.state_dict().items()}, {"policy": json.dumps(shape)})


def policy_from_bytes(data: bytes) -> Policy:
    """The policy in the bytes of a safetensors file. Raises BadInput where they hold none."""
    try:
        arrays = load(data)
        described = read_architecture(data, arrays)
        policy = Policy(
            described.observations,
            described.actions,
            described.kind,
            described.hidden,
            described.activation,
            described.units,
        )
        policy.load_state_dict(arrays)
    except Exception as error:
        raise BadInput(
            f"This is no policy of this program ({error}): give the policy.safetensors of an exported run."
        ) from None
    policy.network.scales_input = described.scales_input
    return policy


def load_policy(path: str | Path) -> Policy:
    """The policy in a safetensors file, or in the folder or zip of an exported run. Raises BadInput where there is none.

    It acts in the units of the environment it was trained in, but where the file is of a version that did not keep them.
    """
    path = Path(path)
    file = path / POLICY if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            is_zip = opened.read(2) == b"PK" and zipfile.is_zipfile(opened)
        data = None if is_zip else file.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{file} cannot be read ({error.strerror}): give the folder, the zip or the {POLICY} of an exported run."
        ) from None
    if data is None:
        data = read_exported(file, [POLICY]).get(POLICY)
    if data is None:
        raise BadInput(f"{file} holds no {POLICY}: give the zip of an exported run that has made an update.")
    return policy_from_bytes(data)
