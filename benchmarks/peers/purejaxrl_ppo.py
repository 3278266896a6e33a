"""PureJaxRL's ppo.py on CartPole-v1, from a checkout, as it comes; prints a JSON object a seed.

    python purejaxrl_ppo.py CHECKOUT SEED...

Compiled once and outside the time. One compiled call trains all its 500,000 steps, so the time until solved is the share of
the updates up to the first after which the mean return of the last 100 finished episodes is at least 475.
"""

import json
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

SOLVED_AT = 475.0
CONFIG = {  # what ppo.py itself runs with, without its printing
    "LR": 2.5e-4,
    "NUM_ENVS": 4,
    "NUM_STEPS": 128,
    "TOTAL_TIMESTEPS": 5e5,
    "UPDATE_EPOCHS": 4,
    "NUM_MINIBATCHES": 4,
    "GAMMA": 0.99,
    "GAE_LAMBDA": 0.95,
    "CLIP_EPS": 0.2,
    "ENT_COEF": 0.01,
    "VF_COEF": 0.5,
    "MAX_GRAD_NORM": 0.5,
    "ACTIVATION": "tanh",
    "ENV_NAME": "CartPole-v1",
    "ANNEAL_LR": True,
    "DEBUG": False,
}
UNUSED = ("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix")


def main() -> None:
    checkout, *seeds = sys.argv[1:]
    sys.path.insert(0, str(Path(checkout) / "purejaxrl"))
    sys.modules |= {name: MagicMock() for name in UNUSED}  # its wrappers.py imports them for other tasks
    import jax
    import numpy as np
    from ppo import make_train

    started = time.perf_counter()
    train = jax.jit(make_train(CONFIG)).lower(jax.random.PRNGKey(0)).compile()
    compiled = time.perf_counter() - started
    jax.block_until_ready(train(jax.random.PRNGKey(len(seeds))))
    for seed in map(int, seeds):
        started = time.perf_counter()
        told = jax.block_until_ready(train(jax.random.PRNGKey(seed)))["metrics"]
        seconds = time.perf_counter() - started
        solved = first_solved(np.asarray(told["returned_episode_returns"]), np.asarray(told["returned_episode"]))
        share = (solved or len(told["timestep"])) / len(told["timestep"])
        row = {"seconds": seconds * share, "steps": int(CONFIG["TOTAL_TIMESTEPS"] * share), "solved": solved is not None}
        print(json.dumps({**row, "compile_s": compiled}), flush=True)


def first_solved(returns, ended) -> int | None:
    """The number of updates after which it is solved, of returns and endings [updates, steps, environments]."""
    recent: list[float] = []
    for update in range(len(returns)):
        recent += returns[update][ended[update]].tolist()
        if len(recent) >= 100 and sum(recent[-100:]) / 100 >= SOLVED_AT:
            return update + 1
    return None


if __name__ == "__main__":
    main()
