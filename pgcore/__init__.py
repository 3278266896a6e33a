"""Policy gradients: train, watch and judge. Heavy parts are loaded when first asked for, so pages never pay for torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgcore.config import TrainConfig as TrainConfig
    from pgcore.errors import BadInput as BadInput
    from pgcore.market.prices import PriceSeries as PriceSeries
    from pgcore.policies import Policy as Policy
    from pgcore.policies import load_policy as load_policy
    from pgcore.trainer import Trainer as Trainer

_ROOMS = {
    "BadInput": "errors",
    "Policy": "policies",
    "PriceSeries": "market.prices",
    "TrainConfig": "config",
    "Trainer": "trainer",
    "load_policy": "policies",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'pgcore' has no attribute {name!r}")
    return getattr(import_module(f"pgcore.{_ROOMS[name]}"), name)
