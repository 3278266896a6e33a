"""What a result of a run looks like, held against one out of a file: as far as reading it back relies on it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from pgcore.errors import BadInput
from pgcore.market.accounting import ACTIONS
from pgcore.runs.formats import damaged

FILE = "evaluation.json"
KINDS = ("final",)
MOST = 2**63 - 1
DEEPEST = 8

Check = Callable[[Any], bool]


def check_results(results: dict[str, Any], decisions: Mapping[str, int]) -> None:
    """Raises BadInput for what this program does not write. `decisions`: how many there are on a part, by its name.

    What is not there is not missed: another version may not have known it.
    """
    checks = _checks(decisions)
    for kind, result in results.items():
        if kind not in KINDS:
            raise _damaged(f"it holds a result {kind[:40]!a}, which is none of {', '.join(KINDS)}")
        if not isinstance(result, dict) or not _is_plain(result, DEEPEST):
            raise _damaged(f"its {kind} result is no object of texts and finite numbers")
        for name, is_right in checks.items():
            if name in result and not is_right(result[name]):
                raise _damaged(f"{name} of its {kind} result is not as this program writes it")


def _checks(decisions: Mapping[str, int]) -> dict[str, Check]:
    def is_part(part: Any) -> bool:
        return (
            isinstance(part, dict)
            and part.get("part") in list(decisions)
            and _is_number(part.get("sharpe"))
            and _are_numbers(part.get("actions", {}))
            and _is_object(part.get("features_by_action", {}), _are_numbers)
            and isinstance(part.get("collapse"), str | None)
        )

    def are_curves(curves: Any) -> bool:
        return _is_object(curves, lambda curve: isinstance(curve, dict)) and all(
            _are_actions(curve.get("actions"), decisions.get(name)) for name, curve in curves.items()
        )

    return {
        "episodes": _is_count,
        "greedy": _are_numbers,
        "sampled": _are_numbers,
        "checkpoint": _is_checkpoint,
        "parts": lambda given: isinstance(given, list) and all(map(is_part, given)),
        "curves": are_curves,
    }


def _is_plain(value: Any, depth: int) -> bool:
    """Whether it is no deeper than that, its numbers are finite and within 64 bits, and its texts can be written."""
    if isinstance(value, dict):
        return depth > 0 and all(_is_text(key) and _is_plain(each, depth - 1) for key, each in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(each, depth - 1) for each in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_text(value) if isinstance(value, str) else value is None or abs(value) <= MOST


def _is_text(text: str) -> bool:
    return "\0" not in text and text.encode(errors="replace").decode() == text


def _is_object(value: Any, is_right: Check) -> bool:
    return isinstance(value, dict) and all(map(is_right, value.values()))


def _is_number(value: Any) -> bool:
    """A number that is none is null in a file."""
    return value is None or type(value) in (int, float)


def _are_numbers(value: Any) -> bool:
    return _is_object(value, _is_number)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_checkpoint(value: Any) -> bool:
    """The one that was chosen says among which: checkpoints like it, each with its growth."""
    if not isinstance(value, dict) or not (_is_count(value.get("update")) and _is_count(value.get("env_steps"))):
        return False
    among = value.get("among", [])
    return isinstance(among, list) and all(
        _is_checkpoint(each) and "among" not in each and _is_number(each.get("validation_growth", "")) for each in among
    )


def _are_actions(value: Any, count: int | None) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(action) is int and 0 <= action < len(ACTIONS) for action in value)
    )


def _damaged(what: str) -> BadInput:
    return damaged(FILE, what)
