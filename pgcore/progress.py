"""How far work is that takes long."""

from collections.abc import Callable

Progress = Callable[[float], object]  # is told the share that is done, from 0 to 1


def unheard(_: float) -> None:
    """The progress of what nobody waits for."""
