"""A learned policy without torch: what a page needs to ask it, from the bytes that Policy.to_bytes wrote."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from pgcore.actions import AS_ANSWERED, Units, read_units
from pgcore.errors import BadInput

Array = NDArray[np.float32]
Kind = Literal["categorical", "gaussian", "values"]
Activation = Literal["relu", "tanh"]


@dataclass(frozen=True, eq=False)
class Actor:
    """y = W_k g(… g(W_1 (x − mean) / scale + b_1) …) + b_k, as arrays: each layer W [out, in] and b [out].

    `kind` says what y is: logits ("categorical"), means ("gaussian") or values of the actions ("values").
    """

    kind: str
    activation: str
    layers: tuple[tuple[Array, Array], ...]
    mean: Array
    scale: Array

    def outputs(self, obs: NDArray[np.floating]) -> Array:
        """y [B, A] for observations [B, D]."""
        x = ((obs - self.mean) / self.scale).astype(np.float32, copy=False)
        for weight, bias in self.layers[:-1]:
            x = x @ weight.T
            x += bias
            x = np.maximum(x, 0.0, out=x) if self.activation == "relu" else np.tanh(x, out=x)
        weight, bias = self.layers[-1]
        return x @ weight.T + bias

    def probabilities(self, obs: NDArray[np.floating]) -> Array:
        """π(·|s) [B, A] for observations [B, D]; for values, all on the best action."""
        y = self.outputs(obs)
        if self.kind == "values":
            return np.eye(y.shape[1], dtype=np.float32)[y.argmax(axis=1)]
        p = np.exp(y - y.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Architecture:
    """What the header of a policy's file says of its network: enough to build it, before there is anything of it."""

    observations: int
    actions: int
    kind: Kind
    hidden: tuple[int, ...]
    activation: Activation
    scales_input: bool
    units: Units

    @property
    def layers(self) -> list[str]:
        """The names of the layers in the file, first to last."""
        return [f"network.linear.{i}" for i in range(len(self.hidden) + 1)]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array that such a network has to have in the file."""
        sizes = pairwise((self.observations, *self.hidden, self.actions))
        shapes: dict[str, tuple[int, ...]] = {"network.mean": (self.observations,), "network.scale": (self.observations,)}
        for name, (seen, given) in zip(self.layers, sizes, strict=True):
            shapes |= {f"{name}.weight": (given, seen), f"{name}.bias": (given,)}
        return shapes | ({"log_std": (self.actions,)} if self.kind == "gaussian" else {})


def read_architecture(data: bytes, arrays: Mapping[str, Any]) -> Architecture:
    """What the header in the bytes of a policy.safetensors says, held against the arrays that are in them.

    Nothing that the header names is larger than what the file holds. Raises ValueError or KeyError.
    """
    said = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["policy"])
    if not isinstance(said, dict):
        raise ValueError("its header is no JSON object")
    kind, activation, scales_input, hidden = (said[name] for name in ("kind", "activation", "scales_input", "hidden"))
    counts = [said["observations"], said["actions"], *(hidden if isinstance(hidden, list) else [None])]
    if kind not in get_args(Kind) or activation not in get_args(Activation) or type(scales_input) is not bool:
        raise ValueError("its header describes no network")
    if len(counts) > len(arrays) or any(type(count) is not int or count < 1 for count in counts):
        raise ValueError("its header names layers that there cannot be")
    seen, given, *hidden = counts
    units = read_units(said["action_space"], given, kind == "gaussian") if "action_space" in said else AS_ANSWERED
    described = Architecture(seen, given, kind, tuple(hidden), activation, scales_input, units)
    if any(name not in arrays or tuple(arrays[name].shape) != shape for name, shape in described.shapes.items()):
        raise ValueError("its arrays are not those of the network in its header")
    return described


def read_actor(data: bytes) -> Actor:
    """The policy in the bytes of a policy.safetensors. Raises BadInput where they hold none."""
    try:
        arrays = load(data)
        described = read_architecture(data, arrays)
        layers = tuple((arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in described.layers)
        mean, scale = arrays["network.mean"], arrays["network.scale"]
        if not described.scales_input:
            mean, scale = np.zeros_like(mean), np.ones_like(scale)
        return Actor(described.kind, described.activation, layers, mean, scale)
    except (KeyError, ValueError, IndexError, SafetensorError) as error:
        raise BadInput(f"These bytes hold no policy of this program ({error}): give the policy.safetensors of a run.") from None
