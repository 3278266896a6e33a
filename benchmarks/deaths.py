"""Processes that die: trainers killed while their runs are resumed, a server killed while runs train and wait."""

import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.processes import Served, await_healthy, complaints, ended, eventually, serve
from benchmarks.streamlit_client import Session
from pgcore.config import TrainConfig
from pgcore.record import UpdateRecord
from pgcore.runs.pool import Pool, cores
from pgcore.runs.process import this_process
from pgcore.runs.run import ENDED, Run
from pgcore.runs.store import RunStore
from pgcore.runs.worker import train_run
from tests.walker import alike

PATIENCE_S = 600.0
SEED = 7


def killing(seconds: float, steps: int) -> dict[str, Any]:
    """Trainers are killed at random while their runs are resumed; then each is compared with one that nobody disturbed."""
    configs = [TrainConfig(seed=seed, max_steps=steps, stop_when_solved=False) for seed in range(3)]
    configs.append(TrainConfig(task="stocks", seed=3, max_steps=steps // 2))
    with tempfile.TemporaryDirectory() as home, _environment(PGLAB_HOME=home):
        store = RunStore(f"sqlite:///{home}/runs.sqlite")
        pool = Pool(store)
        pool.start()
        try:
            ids = [store.create_run(config) for config in configs]
            found = _kill_and_resume(store, pool, ids, seconds)
        finally:
            pool.shutdown()
        undisturbed = [train_run(store, store.create_run(config, process=this_process())) for config in configs]
        if any(run.status != "finished" for run in undisturbed):
            raise RuntimeError(f"Runs that were to be left alone were not: {[run.status for run in undisturbed]}.")
        differences = [_differences(store, run_id, whole.id) for run_id, whole in zip(ids, undisturbed, strict=True)]
    return found | {"differences": [each for each in differences if each]}


def _kill_and_resume(store: RunStore, pool: Pool, ids: list[str], seconds: float) -> dict[str, Any]:
    rng = random.Random(SEED)
    committed: dict[str, list[str]] = {run_id: [] for run_id in ids}
    kills = resumes = lost = untrue = 0
    pool.wake()
    asyncio.run(eventually(lambda: any(store.run(run_id).updates for run_id in ids), "a run trains"))
    began, next_kill = time.monotonic(), 0.0
    while True:
        runs = [store.run(run_id) for run_id in ids]
        for run in runs:
            rows = _said(store, run.id)
            lost += rows[: len(committed[run.id])] != committed[run.id]
            committed[run.id] = rows
            untrue += _is_untrue(store, run)
            if run.status == "crashed":
                store.resume(run.id)
                resumes += 1
        pool.wake()
        elapsed = time.monotonic() - began
        if all(run.status == "finished" for run in runs) or elapsed > seconds + PATIENCE_S:
            break
        victims = [run.process.pid for run in runs if run.status == "running" and run.process is not None and run.updates]
        if victims and next_kill < elapsed < seconds:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
                kills += 1
            next_kill = elapsed + rng.uniform(0.02, 0.06) * seconds
        time.sleep(0.2)
    states = dict(Counter(store.run(run_id).status for run_id in ids))
    return {"kills": kills, "resumes": resumes, "lost": lost, "untrue": untrue, "states": states, "runs": len(ids)}


def _differences(store: RunStore, one: str, other: str) -> str:
    """In what the outcome of two runs of one config differs."""
    rows, others = _said(store, one), _said(store, other)
    pairs = zip(rows, others, strict=False)
    alike_until = next((k for k, (row, its) in enumerate(pairs) if row != its), min(len(rows), len(others)))
    parts = {
        f"records after update {alike_until} of {len(others)}": rows == others,
        "policy": store.policy_bytes(one) == store.policy_bytes(other),
        "evaluation": store.evaluation(one, "final") == store.evaluation(other, "final"),
    }
    differing = ", ".join(part for part, same in parts.items() if not same)
    return f"{store.run(one).task}: {differing}" if differing else ""


def _said(store: RunStore, run_id: str) -> list[str]:
    """The records of a run but for the time they took."""
    rows: list[UpdateRecord] = store.records(run_id).rows()
    return [repr(row) for row in alike(rows)]


def _is_untrue(store: RunStore, run: Run) -> bool:
    """Whether a run was said to be trained whose process had been gone for a while, or ended while its process lives."""
    if run.process is None:
        return False
    if run.status in ("starting", "running"):
        return run.process.is_alive() is False and store.run(run.id) == run
    return run.status in ("crashed", "failed") and bool(run.process.is_alive())


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def restarting(steps: int) -> dict[str, Any]:
    """The server is killed while a run trains and another waits, and started again."""
    with tempfile.TemporaryDirectory() as home:
        first = serve(Path(home))
        await_healthy(first)
        store = first.store
        config = TrainConfig(max_steps=steps, stop_when_solved=False)
        ids = [store.create_run(config.replace(seed=seed)) for seed in range(cores() + 1)]
        asyncio.run(eventually(lambda: store.run(ids[0]).updates > 3, "a run trains"))
        first.process.kill()
        first.process.wait()
        before = store.run(ids[0]).updates
        time.sleep(2.0)
        alone = store.run(ids[0]).updates - before
        with ended(serve(Path(home))) as second:
            await_healthy(second)
            healthy = time.perf_counter() - second.started_at
            shown = asyncio.run(_see(second, ids[0]))
            asyncio.run(eventually(lambda: all(store.run(i).status in ENDED for i in ids), "all runs end"))
            states = dict(Counter(store.run(run_id).status for run_id in ids))
            return {"updates_alone": alone, "healthy_s": healthy, "shown": shown, "states": states, "log": complaints(second)}


async def _see(app: Served, run_id: str) -> bool:
    """Whether the page of a run, once opened, shows it without an error."""
    session = await Session.open(app.address, query=f"run={run_id}")
    shown = session.query == f"run={run_id}" or run_id in session.query
    fine = not session.shown.errors and not session.shown.exceptions and not session.shown.warnings
    await session.close()
    return shown and fine
