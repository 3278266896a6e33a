"""Policy Gradient Lab at the work of `benchmarks.speed`, in a process of its own; prints one JSON object.

python -m benchmarks.ours solve ppo|a2c|trpo SEED    CartPole-v1 until solved, with the defaults
python -m benchmarks.ours rate SEED                  a2c on CartPole-v1 for a fixed number of steps
python -m benchmarks.ours stocks SEED POLICY         a2c on 4,000 days of the S&P 500, linear or mlp
python -m benchmarks.ours acting SEED                CartPole-v1, 64 wide: played by a policy, and Gymnasium's environment alone
python -m benchmarks.ours market SEED                the stock environment alone, 256 wide, by rows of prices
python -m benchmarks.ours worker SEED                what a worker of the app does; its memory
python -m benchmarks.ours store SEED                 the same in a store of its own: what that costs
python -m benchmarks.ours read SEED                  reading a long run from its end
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import numpy as np
import torch

from pgcore.config import TrainConfig
from pgcore.market.env import StocksVectorEnv
from pgcore.market.prices import PriceSeries, load_sample
from pgcore.market.synthetic import generate
from pgcore.on_policy import make_policy
from pgcore.record import UpdateRecord
from pgcore.rollout import Lanes, collect
from pgcore.runs.store import RunStore
from pgcore.runs.worker import train_run, warm_up
from pgcore.tasks import make_environment
from pgcore.trainer import Trainer

DAYS = 4000
RATE_STEPS = 1_000_000
STORED_STEPS = 3_000_000
RUN_ROWS = 200_000


def train(config: TrainConfig, prices: PriceSeries | None = None) -> dict[str, Any]:
    """Train to the end; the clock starts with the making of environments and networks."""
    next(iter(Trainer(config, prices)))  # pays what is paid once a process
    started = time.perf_counter()
    trainer = Trainer(config, prices)
    for _ in trainer:
        pass
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "steps": trainer.env_steps, "solved": trainer.solved}


def solve(estimator: str, seed: str) -> dict[str, Any]:
    return train(TrainConfig(estimator=estimator, seed=int(seed)))


def rate(seed: str) -> dict[str, Any]:
    return train(TrainConfig(estimator="a2c", seed=int(seed), max_steps=RATE_STEPS, stop_when_solved=False))


def stocks(seed: str, policy: str) -> dict[str, Any]:
    config = TrainConfig(task="stocks", estimator="a2c", seed=int(seed), policy=policy, max_steps=RATE_STEPS)
    return train(config, load_sample("sp500").between(0, DAYS))


def acting(seed: str) -> dict[str, Any]:
    """Steps a second of a policy that has not learned, and of its own actions in Gymnasium's environment without it."""
    config = TrainConfig(seed=int(seed), num_envs=64)
    env = make_environment(config)
    policy, rng = make_policy(config, env), np.random.default_rng(int(seed))
    lanes = Lanes.start(env.reset(seed=int(seed))[0])
    bare = gymnasium.make_vec("CartPole-v1", 64, vectorization_mode="vector_entry_point")
    played, alone = [], []
    for _ in range(20):
        started = time.perf_counter()
        rollout, lanes, _ = collect(env, lambda obs: policy.choose(obs, rng), lanes, 500)
        played.append(rollout.action.size / (time.perf_counter() - started))
        bare.reset(seed=int(seed))
        started = time.perf_counter()
        for action in rollout.action:
            bare.step(action)
        alone.append(rollout.action.size / (time.perf_counter() - started))
    return {"played": median(played), "alone": median(alone)}


def market(seed: str) -> dict[str, Any]:
    """Steps a second of the stock environment alone, by rows of prices."""
    return {str(rows): market_rate(rows, 256, int(seed)) for rows in (1_000, 10_000, 100_000, 1_000_000)}


def market_rate(rows: int, width: int, seed: int, steps: int = 2000) -> float:
    """Steps a second over so many rows of prices."""
    env = StocksVectorEnv(width, history(rows, seed), episode_rows=250)
    env.reset(seed=seed)
    actions = np.random.default_rng(seed).integers(0, 3, (steps, width))
    for action in actions[:100]:
        env.step(action)
    started = time.perf_counter()
    for action in actions:
        env.step(action)
    return steps * width / (time.perf_counter() - started)


def history(rows: int, seed: int) -> PriceSeries:
    """A random walk of so many minutes."""
    if rows <= 100_000:
        return generate("random-walk", seed, rows).series
    steps = np.random.default_rng(seed).normal(0.0, 0.001, rows)
    dates = np.datetime64("2000-01-03", "us") + np.arange(rows) * np.timedelta64(1, "m")
    return PriceSeries.from_close(dates, 100 * np.exp(np.cumsum(steps)))


def worker(seed: str) -> dict[str, Any]:
    """A worker's whole life: warm up, train the default run until solved, judge it."""
    with tempfile.TemporaryDirectory() as directory:
        store = RunStore(f"sqlite:///{directory}/runs.sqlite")
        started = time.perf_counter()
        warm_up(store)
        ready_s = time.perf_counter() - started
        run = train_run(store, store.create_run(TrainConfig(seed=int(seed))))
        return {"peak_mb": peak_mb(), "solved": run.solved, "warm_up_s": ready_s}


def store(seed: str) -> dict[str, Any]:
    """The share of a run's time between its first and last update that is not spent in the trainer."""
    config = TrainConfig(seed=int(seed), max_steps=STORED_STEPS, stop_when_solved=False)
    seen: list[tuple[float, UpdateRecord]] = []
    with tempfile.TemporaryDirectory() as directory:
        store = RunStore(f"sqlite:///{directory}/runs.sqlite")
        warm_up(store)
        train_run(store, store.create_run(config), lambda record: seen.append((time.perf_counter(), record)))
        size = sum(file.stat().st_size for file in Path(directory).iterdir())
    (first_at, first), (last_at, last) = seen[0], seen[-1]
    elapsed, trained = last_at - first_at, last.wall_s - first.wall_s
    return {"share": 1 - trained / elapsed, "elapsed": elapsed, "updates": last.update, "mb": size / 2**20}


def read(seed: str) -> dict[str, Any]:
    """Milliseconds to read the 500 newest records of a run, by its length, and all of it once."""
    times: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        store = RunStore(f"sqlite:///{directory}/runs.sqlite")
        for length in (1_000, 20_000, RUN_ROWS):
            run_id = store.create_run(TrainConfig(seed=int(seed)))
            for start in range(0, length, 10_000):
                store.append_records(run_id, [made_up(update) for update in range(start + 1, min(start + 10_000, length) + 1)])
            times[str(length)] = median(read_ms(store, run_id, length - 500) for _ in range(20))
        times["all"] = read_ms(store, run_id, 0)
    return times


def made_up(update: int) -> UpdateRecord:
    numbers = dict.fromkeys(UpdateRecord.__dataclass_fields__, float(update))
    counters = {"update": update, "env_steps": 2048 * update, "episodes": 4 * update}
    return UpdateRecord(**numbers | counters | {"episode_returns": (1.0, 2.0, 3.0, 4.0), "action_share": (0.5, 0.5)})


def read_ms(store: RunStore, run_id: str, after: int) -> float:
    started = time.perf_counter()
    store.records(run_id, after=after)
    return 1000 * (time.perf_counter() - started)


def peak_mb() -> float:
    """The most memory this process has held, in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


WORK = (solve, rate, stocks, acting, market, worker, store, read)


def main() -> None:
    torch.set_num_threads(1)
    known = {each.__name__: each for each in WORK}
    command, *rest = sys.argv[1:] or [""]
    if command not in known:
        sys.exit(__doc__)
    print(json.dumps(known[command](*rest)))


if __name__ == "__main__":
    main()
