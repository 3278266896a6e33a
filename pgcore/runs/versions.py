"""What a run was trained with: a repetition to the bit needs the same."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "gymnasium", "numpy", "safetensors")


@cache
def versions() -> str:
    """Python, its packages that decide the numbers, and the kind of machine, in one line."""
    return ", ".join([f"Python {platform.python_version()}", *map(_version, PACKAGES), platform.machine()])


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"
