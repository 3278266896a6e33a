"""Which process trains a run, so that nobody mistakes another process for it, or a dead one for a living one."""

import contextlib
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

CLOCK_TOLERANCE_S = 2.0


@dataclass(frozen=True)
class Process:
    """A process, named so that no other can be taken for it.

    `boot` tells one boot of the machine (and one container on it) from another: `host` counts only where that is not known,
    for a machine may be renamed while it runs. `started` is the second the process was started in, as `_start_time` counts.
    A process id alone would be given out again.
    """

    host: str
    boot: str
    pid: int
    started: float

    def is_alive(self) -> bool | None:
        """Whether it still runs; None where that cannot be seen from here: another machine, or another container."""
        host, boot = this_machine()
        is_here = self.boot == boot and (boot != "" or self.host == host)
        return _alive_since(self.pid, self.started) if is_here else None

    def kill(self) -> None:
        """End it at once, if it is on this machine and still that process."""
        if self.is_alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(self.pid).kill()

    def ended_with_its_machine(self, last_seen: float) -> bool:
        """Whether this machine has been started anew since it was last seen. One that was seen later than that runs on another
        machine of the same name."""
        host, boot = this_machine()
        return self.host == host and _boot_id(self.boot) != _boot_id(boot) != "" and last_seen < booted_at()


def this_process() -> Process:
    return process_of(os.getpid())


def process_of(pid: int) -> Process:
    """The running process of this id. Raises psutil.NoSuchProcess."""
    return Process(*this_machine(), pid, _start_time(psutil.Process(pid)))


def this_machine() -> tuple[str, str]:
    """The name of this machine as it is now, and what tells its present boot and container from others ("" where unknown)."""
    return socket.gethostname(), _this_boot()


@cache
def _this_boot() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    container = Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text().strip()} {container.readlink()}"
    except OSError:
        return ""


def booted_at() -> float:
    """When this machine was started, in seconds since the epoch."""
    return psutil.boot_time()


def _boot_id(boot: str) -> str:
    return boot.partition(" ")[0]


def _start_time(process: psutil.Process) -> float:
    """Seconds since boot on Linux, where the kernel counts so and setting the clock changes the time of day of a start;
    since the epoch elsewhere, where the time of day is what was noted."""
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0.0)


def _alive_since(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(_start_time(process) - started) < CLOCK_TOLERANCE_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
