"""Many people at once: sessions that watch runs as they train, and sessions that press Train in the same moment."""

import asyncio
import time
from collections import Counter
from statistics import median
from typing import Any

import psutil

from benchmarks.processes import Served, await_warm, complaints, eventually, served
from benchmarks.streamlit_client import Session, watch
from pgcore.config import TrainConfig
from pgcore.runs.pool import cores


def share(values: list[float], part: float) -> float:
    """The value below which a part of them lie."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def watching(sessions: int, runs: int, seconds: float, updates: int) -> dict[str, Any]:
    """Sessions watch runs that all train, on however few cores.

    They begin once each has made so many updates: soon after, pages keep the most they ever do, and from then on the memory
    does not grow, or something is wrong.
    """
    with served({"PGLAB_TRAINERS": str(runs)}) as app:
        await_warm(app)
        configs = (
            TrainConfig(estimator="a2c", seed=seed, stop_when_solved=False, max_steps=1_000_000_000) for seed in range(runs)
        )
        ids = [app.store.create_run(config) for config in configs]
        while min(run.updates for run in app.store.runs()) <= updates:
            time.sleep(0.5)
        found = asyncio.run(_watch_all(app, ids, sessions, seconds))
        found["training_at_once"] = sum(run.updates > 0 for run in app.store.runs())
        found["log"] = complaints(app)
    return found


async def _watch_all(app: Served, ids: list[str], count: int, seconds: float) -> dict[str, Any]:
    sessions = [await Session.open(app.address, query=f"run={ids[i % len(ids)]}") for i in range(count)]
    server = psutil.Process(app.process.pid)
    latencies: list[float] = []
    memory: list[float] = []
    before = sum(server.cpu_times()[:2])
    watchers = asyncio.gather(*(watch(session, seconds, latencies) for session in sessions))
    while not watchers.done():
        memory.append(server.memory_info().rss / 2**20)
        await asyncio.sleep(seconds / 120)
    await watchers
    errors = [text for session in sessions for text in (*session.shown.errors, *session.shown.exceptions)]
    for session in sessions:
        await session.close()
    quarter = len(memory) // 4
    early, late = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
    return {
        "sessions": len(sessions),
        "runs": len(ids),
        "seconds": seconds,
        "polls": len(latencies),
        "median_ms": 1000 * median(latencies),
        "p95_ms": 1000 * share(latencies, 0.95),
        "longest_ms": 1000 * max(latencies),
        "server_cpu": (sum(server.cpu_times()[:2]) - before) / seconds,
        "memory_mb": [early, late],
        "errors": errors,
    }


def clicking(clicks: int) -> dict[str, Any]:
    """People who press Train in the same moment, each on a page of their own."""
    with served() as app:
        found = asyncio.run(_click_all(app, clicks))
        runs = app.store.runs()
        return found | {"runs": len(runs), "states": dict(Counter(run.status for run in runs)), "log": complaints(app)}


async def _click_all(app: Served, clicks: int) -> dict[str, Any]:
    queries = [f"max_steps=2000&seed={seed}" for seed in range(clicks)]
    sessions = [await Session.open(app.address, query=query) for query in queries]

    async def click(session: Session) -> float:
        pressed = time.monotonic()
        await session.press("cartpole.train")
        return time.monotonic() - pressed

    began = time.monotonic()
    took = await asyncio.gather(*(click(session) for session in sessions))
    at_once = 0

    def all_over() -> bool:
        nonlocal at_once
        runs = app.store.runs()
        at_once = max(at_once, sum(run.status in ("starting", "running") for run in runs))
        return len(runs) >= clicks and all(run.is_over for run in runs)

    await eventually(all_over, "all runs end")
    named = {session.query.partition("run=")[2] for session in sessions}
    for session in sessions:
        await session.close()
    return {
        "clicks": clicks,
        "p95_ms": 1000 * share(list(took), 0.95),
        "all_done_s": time.monotonic() - began,
        "at_once": at_once,
        "cores": cores(),
        "pages_with_a_run_of_their_own": len(named - {""}),
    }
