"""What the agent learned: its policy played where it was not trained."""

from typing import Any

import numpy as np

from pgcore.config import TrainConfig
from pgcore.market.prices import PriceSeries
from pgcore.policies import Policy
from pgcore.progress import Progress, unheard
from pgcore.rollout import LONGEST_EPISODE, Lanes, collect
from pgcore.tasks import make_environment

FRESH = 1_000_003  # away from every training seed that a person is likely to choose


def evaluate(
    config: TrainConfig,
    policy: Policy,
    prices: PriceSeries | None = None,
    episodes: int = 100,
    *,
    progress: Progress = unheard,
) -> dict[str, Any]:
    """The result of a policy, ready for JSON: on a task, returns of fresh episodes; on stocks, a backtest of each part.

    "greedy" plays the most probable action, "sampled" draws from the policy as training did (for DQN: with its last ε).
    Observations are normalised by the statistics of training, which stay as they are. `progress` is told the share done.
    """
    if config.task == "stocks":
        from pgcore.market.backtest import evaluate_parts

        assert prices is not None
        return {"kind": "backtest", **evaluate_parts(policy, config, prices, progress=progress)}
    greedy = play(config, policy, episodes, greedy=True)
    progress(0.5)
    sampled = play(config, policy, episodes, greedy=False)
    return {"kind": "episodes", "episodes": episodes, "greedy": _summary(greedy), "sampled": _summary(sampled)}


def play(config: TrainConfig, policy: Policy, episodes: int, greedy: bool) -> np.ndarray:
    """Undiscounted returns [episodes] of whole episodes on seeds that training never used, at most 10,000 steps each."""
    env = make_environment(config, None, episodes)
    seed = config.seed + FRESH
    rng = np.random.default_rng(seed)
    lanes = Lanes.start(env.reset(seed=seed)[0])
    _, _, returns = collect(env, lambda obs: policy.choose(obs, rng, greedy), lanes, LONGEST_EPISODE, whole_episodes=True)
    env.close()
    return returns


def _summary(returns: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "min": float(returns.min()),
        "median": float(np.median(returns)),
        "max": float(returns.max()),
    }
