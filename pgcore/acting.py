"""A learned policy without torch: what a page needs to ask it, from the bytes that Policy.to_bytes wrote."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from pgcore.errors import BadInput

Array = NDArray[np.float32]


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


def read_actor(data: bytes) -> Actor:
    """The policy in the bytes of a policy.safetensors. Raises BadInput where they hold none."""
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        shape: dict[str, Any] = json.loads(header["__metadata__"]["policy"])
        arrays = load(data)
        names = sorted((name for name in arrays if name.endswith(".weight")), key=lambda name: int(name.split(".")[-2]))
        layers = tuple((arrays[name], arrays[name.removesuffix("weight") + "bias"]) for name in names)
        seen = shape["observations"]
        scales = shape["scales_input"]
        mean = arrays["network.mean"] if scales else np.zeros(seen, dtype=np.float32)
        scale = arrays["network.scale"] if scales else np.ones(seen, dtype=np.float32)
        return Actor(shape["kind"], shape["activation"], layers, mean, scale)
    except (KeyError, ValueError, IndexError, SafetensorError) as error:
        raise BadInput(f"These bytes hold no policy of this program ({error}): give the policy.safetensors of a run.") from None
