"""Processes that benchmarks measure: the peers' environment, commands that answer in JSON, the app with a browser before it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pgcore.runs.store import RunStore

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = HERE / ".venv-peers"
READY_WITHIN_S = 60.0
PATIENCE_S = 600.0


def peers_python() -> Path:
    """The interpreter of the peers' environment, made or brought up to requirements.txt where need be."""
    python = PEERS / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted, stamp = HERE / "requirements.txt", PEERS / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        print("Installing the peers …", file=sys.stderr)
        venv.create(PEERS, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", wanted], check=True)
        stamp.write_bytes(wanted.read_bytes())
    return python


def ask(python: str | Path, *arguments: object) -> dict[str, Any]:
    """The JSON object that a command prints last; what it says on stderr is shown where it fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(python), *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(*arguments: object) -> dict[str, Any]:
    """What `benchmarks.ours` answers, in a fresh process."""
    return ask(sys.executable, "-m", "benchmarks.ours", *arguments)


@dataclass(frozen=True)
class Served:
    """The app on a free port of this machine, with a data directory of its own."""

    address: str
    home: Path
    process: subprocess.Popen[bytes]
    started_at: float

    @property
    def store(self) -> RunStore:
        return RunStore(f"sqlite:///{self.home / 'runs.sqlite'}")


def serve(home: Path, environment: Mapping[str, str] = {}) -> Served:
    """Start the app's server on this data directory; it need not answer yet."""
    inherited = {name: value for name, value in os.environ.items() if name != "PGLAB_DATABASE_URL"}
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}", "--server.headless=true"]
    with open(home / "server.log", "ab") as log:
        started_at = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env={**inherited, "PGLAB_HOME": str(home), **environment}, stdout=log, stderr=log
        )
    return Served(f"http://127.0.0.1:{port}", home, process, started_at)


@contextmanager
def served(environment: Mapping[str, str] = {}, *, wait: bool = True) -> Iterator[Served]:
    """Serve the app as long as the block lasts; without `wait`, from the moment its process was started."""
    with tempfile.TemporaryDirectory() as directory, ended(serve(Path(directory), environment)) as app:
        if wait:
            await_healthy(app)
        yield app


@contextmanager
def ended(app: Served) -> Iterator[Served]:
    """End the server with the block, and what trains: that goes on without it, as it should."""
    try:
        yield app
    finally:
        app.process.terminate()
        app.process.wait(timeout=30)
        for run in app.store.runs():
            if run.process is not None and not run.is_over:
                run.process.kill()


def await_healthy(app: Served) -> None:
    """Wait until the server answers."""
    while time.perf_counter() - app.started_at < READY_WITHIN_S:
        try:
            urllib.request.urlopen(f"{app.address}/_stcore/health", timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit((app.home / "server.log").read_text())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_warm(app: Served) -> None:
    """Wait until the app's workers stand ready: its child processes use no more time."""
    server, used, give_up_at = psutil.Process(app.process.pid), -1.0, time.perf_counter() + READY_WITHIN_S
    while time.perf_counter() < give_up_at:
        workers = server.children(recursive=True)
        with suppress(psutil.NoSuchProcess):  # one that has trained ends
            now = sum(sum(worker.cpu_times()[:2]) for worker in workers)
            if workers and now == used:
                return
            used = now
        time.sleep(0.5)
    sys.exit("The app's workers do not get ready.")


def complaints(app: Served) -> list[str]:
    """What the server's log says of errors."""
    return [line for line in (app.home / "server.log").read_text().splitlines() if "Traceback" in line or "Error" in line]


async def eventually(condition: Callable[[], bool], what: str, every_s: float = 0.25) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"It did not happen that {what}.")
        await asyncio.sleep(every_s)
