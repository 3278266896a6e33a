"""Stable-Baselines3 and sb3-contrib at the work of `benchmarks.speed`; prints one JSON object.

python sb3.py solve ppo|a2c|trpo SEED     CartPole-v1 until solved, with the settings of RL Zoo
python sb3.py rate SEED                   A2C on CartPole-v1 for a fixed number of steps
python sb3.py stocks SEED PRICES.csv      A2C on gym-anytrading's stocks-v0 for a fixed number of steps
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

SOLVED_AT = 475.0
BUDGET = 500_000
RATE_STEPS = 60_000


def linear(start: float) -> Callable[[float], float]:
    """RL Zoo's `lin_` schedule: from `start` to 0 as the steps run out."""
    return lambda remaining: remaining * start


# RL Zoo, hyperparams/{ppo,a2c,trpo}.yml, CartPole-v1: environments, steps, and the rest. TRPO's 100,000 steps are too few
# for it to be solved here, and nothing in it depends on their number, so it gets A2C's.
ZOO: dict[str, tuple[type[BaseAlgorithm], int, int, dict[str, Any]]] = {
    "ppo": (
        PPO,
        8,
        100_000,
        {
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": linear(1e-3),
            "clip_range": linear(0.2),
        },
    ),
    "a2c": (A2C, 8, BUDGET, {"ent_coef": 0.0}),
    "trpo": (
        TRPO,
        2,
        BUDGET,
        {
            "n_steps": 512,
            "batch_size": 512,
            "cg_damping": 1e-3,
            "gae_lambda": 0.98,
            "gamma": 0.99,
            "learning_rate": 1e-3,
            "n_critic_updates": 20,
        },
    ),
}


class UntilSolved(BaseCallback):
    """Ends the training once the mean return of the last 100 finished episodes reaches the threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.solved = False

    def _on_rollout_end(self) -> None:
        recent = self.model.ep_info_buffer
        self.solved = len(recent) == 100 and float(np.mean([episode["r"] for episode in recent])) >= SOLVED_AT

    def _on_step(self) -> bool:
        return not self.solved


def train(name: str, env: Callable[[int], VecEnv], seed: int, steps: int | None = None) -> dict[str, Any]:
    """Train for so many steps, or until solved; the clock starts with the making of environments and networks."""
    algorithm, width, budget, settings = ZOO[name]
    algorithm("MlpPolicy", env(width), seed=seed, device="cpu", **settings).learn(1000)  # pays what is paid once a process
    until_solved = UntilSolved() if steps is None else None
    started = time.perf_counter()
    model = algorithm("MlpPolicy", env(width), seed=seed, device="cpu", **settings)
    model.learn(steps or budget, callback=until_solved)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "steps": model.num_timesteps,
        "solved": until_solved is not None and until_solved.solved,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """The most memory this process has held, in MB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def cartpole(width: int, seed: int) -> VecEnv:
    return make_vec_env("CartPole-v1", width, seed)


def stocks(width: int, seed: int, file: str) -> VecEnv:
    import gym_anytrading  # noqa: F401 - registers stocks-v0
    import pandas as pd

    prices = pd.read_csv(file).rename(columns=str.capitalize)
    given = {"df": prices, "window_size": 30, "frame_bound": (30, len(prices))}
    return make_vec_env(lambda: gymnasium.make("stocks-v0", **given), width, seed)


def main() -> None:
    torch.set_num_threads(1)
    command, *rest = sys.argv[1:]
    if command == "solve":
        name, seed = rest[0], int(rest[1])
        result = train(name, lambda width: cartpole(width, seed), seed)
    elif command == "rate":
        result = train("a2c", lambda width: cartpole(width, int(rest[0])), int(rest[0]), RATE_STEPS)
    elif command == "stocks":
        result = train("a2c", lambda width: stocks(width, int(rest[0]), rest[1]), int(rest[0]), RATE_STEPS)
    else:
        sys.exit(__doc__)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
