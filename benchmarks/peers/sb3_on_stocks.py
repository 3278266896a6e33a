"""Stable-Baselines3 on this project's stock environment, unchanged: its own check, then thousands of steps of PPO and A2C."""

import gymnasium
import stable_baselines3
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env

ENV_ID = "pgcore.market.env:pgcore/Stocks-v0"
STEPS = 4_096


def main() -> None:
    torch.set_num_threads(1)
    check_env(gymnasium.make(ENV_ID, episode_rows=250).unwrapped)
    learned = []
    for algorithm in (PPO, A2C):
        env = make_vec_env(ENV_ID, 4, seed=0, env_kwargs={"episode_rows": 250, "cost_bps": 5.0})
        model = algorithm("MlpPolicy", env, seed=0, device="cpu").learn(STEPS)
        action, _ = model.predict(env.reset(), deterministic=True)
        assert env.action_space.contains(action[0])
        assert len(model.ep_info_buffer) > 0
        learned.append(f"{algorithm.__name__} {model.num_timesteps:,} steps")
    print(f"check_env, {', '.join(learned)} (stable-baselines3 {stable_baselines3.__version__})")


if __name__ == "__main__":
    main()
