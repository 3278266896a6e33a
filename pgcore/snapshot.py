"""Exact state: of an environment in the middle of an episode, and of anything made of arrays, as bytes."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from safetensors.numpy import load, save

State = dict[str, Any]


def pack(tree: Any) -> bytes:
    """Nested dicts and lists of NumPy arrays and JSON values, as one safetensors file: no pickle, exact to the bit."""
    arrays: dict[str, np.ndarray] = {}

    def encode(node: Any) -> Any:
        if isinstance(node, (np.ndarray, np.generic)):
            arrays[str(len(arrays))] = np.ascontiguousarray(node)
            return {"array": len(arrays) - 1, "shape": list(np.shape(node))}
        if isinstance(node, dict):
            return {"dict": [[key, encode(value)] for key, value in node.items()]}
        if isinstance(node, (list, tuple)):
            return {"list": [encode(value) for value in node]}
        return {"json": node}

    skeleton = json.dumps(encode(tree))
    return save(arrays, {"tree": skeleton})


def unpack(data: bytes) -> Any:
    """What `pack` packed; tuples come back as lists."""
    header_length = int.from_bytes(data[:8], "little")
    skeleton = json.loads(json.loads(data[8 : 8 + header_length])["__metadata__"]["tree"])
    arrays = load(data)

    def decode(node: dict[str, Any]) -> Any:
        if "array" in node:
            return arrays[str(node["array"])].reshape(node["shape"])
        if "dict" in node:
            return {key: decode(value) for key, value in node["dict"]}
        if "list" in node:
            return [decode(value) for value in node["list"]]
        return node["json"]

    return decode(skeleton)


def take(env: Any) -> State:
    """What changes inside an environment while it is played: path -> array, number or generator state.

    An environment that offers `get_state()` and `set_state()` is asked; else every attribute that is an array, a number or
    a random generator is read, through wrappers and sub-environments. State kept elsewhere (in a C library, say) is not
    seen: such an environment goes on from its last reset.
    """
    return {path: _copy(value) for path, _, _, value in _parts(env)}


def put_back(env: Any, state: State) -> None:
    """Return an environment built the same way to a state that `take` read."""
    for path, owner, name, value in list(_parts(env)):
        if path not in state:
            continue
        saved = state[path]
        if name is None:
            owner.set_state(saved)
        elif isinstance(value, np.random.Generator):
            value.bit_generator.state = saved
        elif isinstance(owner, list):
            owner[name] = _like(value, saved)
        else:
            setattr(owner, name, _like(value, saved))


def _copy(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return np.array(value) if isinstance(value, (np.ndarray, np.generic)) else value


def _like(value: Any, saved: Any) -> Any:
    if isinstance(saved, np.ndarray):
        return saved.copy() if saved.ndim else saved[()]
    return tuple(saved) if isinstance(value, tuple) and isinstance(saved, list) else saved


def _is_plain(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, bool, int, float, type(None)))


def _parts(env: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """(path, owner, attribute or index, value) of everything that can change, each object once."""
    seen: set[int] = set()

    def walk(owner: Any, at: str) -> Iterator[tuple[str, Any, Any, Any]]:
        if id(owner) in seen:
            return
        seen.add(id(owner))
        if hasattr(owner, "get_state") and hasattr(owner, "set_state"):
            yield at, owner, None, owner.get_state()
            return
        items: Any = enumerate(owner) if isinstance(owner, list) else vars(owner).items()
        for name, value in list(items):
            path = f"{at}.{name}"
            is_row = isinstance(value, tuple) and all(_is_plain(x) for x in value)
            if is_row or _is_plain(value) or isinstance(value, np.random.Generator):
                yield path, owner, name, value
            elif isinstance(value, tuple) and any(hasattr(x, "step") for x in value):
                for i, sub in enumerate(value):
                    yield from walk(sub, f"{path}.{i}")
            elif isinstance(value, list) or (hasattr(value, "step") and hasattr(value, "reset")):
                yield from walk(value, path)

    yield from walk(env, "env")
