"""The article's listing (§5.2) as printed, for what it teaches: one environment, argmax, a loss without its square."""

from typing import Any

import numpy as np
import torch

from pgcore import snapshot
from pgcore.config import TrainConfig
from pgcore.estimators import ESTIMATORS
from pgcore.market.prices import PriceSeries
from pgcore.on_policy import action_share, check_facts, make_policy
from pgcore.optimisers import Learnable
from pgcore.policies import Policy
from pgcore.record import Played, Progress
from pgcore.rollout import LONGEST_EPISODE, Rollout
from pgcore.tasks import make_environment
from pgcore.turn import Turn


class Listing:
    """Plays one episode after the other, learning after each step; a turn is an episode."""

    def __init__(self, config: TrainConfig, prices: PriceSeries | None) -> None:
        self.config = config
        self.env = make_environment(config, prices, 1)
        self.obs = self.env.reset(seed=config.seed)[0]
        self.learnable = Learnable(make_policy(config, self.env, "values"))
        self.turn = Turn()

    @property
    def policy(self) -> Policy:
        return self.learnable.network

    def advance(self, _env_steps: int) -> Played:
        """One episode and an update a step. Raises TrainingDiverged; the policy is then that before the last good episode."""
        actions, total, losses, norms = [], 0.0, [], []
        with self.turn, self.learnable.proving(self.turn):
            for _ in range(LONGEST_EPISODE):
                action, reward, done, loss, norm = self.turn.do(self._step)
                actions.append(action)
                losses.append(loss)
                norms.append(norm)
                total += reward
                if done:
                    break
        self.obs = self.env.reset()[0]
        progress = Progress(
            entropy=0.0,
            grad_norm=float(np.mean(norms)),
            policy_loss=float(np.mean(losses)),
            learning_rate=self.config.learning_rate,
        )
        return Played(len(actions), np.array([total]), action_share(self.policy, np.array(actions)), progress)

    def _step(self) -> tuple[int, float, bool, float, float]:
        """A step in the environment, and one of Adam: action, reward, whether the episode is over, loss, gradient norm."""
        action = np.array([int(self.policy.preferences(self.obs).argmax())])
        following, reward, terminated, truncated, _ = self.env.step(action)
        done = terminated | truncated
        check_facts(following, reward)
        loss, norm = learn(self.learnable, Rollout.of_steps(self.obs, action, reward, done, following), self.config)
        self.obs = following
        return int(action[0]), float(reward[0]), bool(done[0]), loss, norm

    def state(self) -> dict[str, Any]:
        network = [tensor.numpy() for tensor in self.learnable.everything()]
        return {"env": snapshot.take(self.env), "obs": self.obs, "network": network, "turn": self.turn.state()}

    def restore(self, saved: dict[str, Any]) -> None:
        snapshot.put_back(self.env, saved["env"])
        self.obs = saved["obs"]
        self.learnable.put_back(saved["network"])
        self.turn.restore(saved.get("turn", []))


@torch.no_grad()
def learn(learnable: Learnable[Policy], step: Rollout, config: TrainConfig) -> tuple[float, float]:
    """One step of Adam down the printed loss r + γ max_a Q(s′, a) − Q(s, a) of one step; that loss, and the gradient's norm.

    The listing neither squares the loss nor holds the target fixed: ∇Q(s, a) has the estimator's weight, 1, and
    ∇max_a Q(s′, a) has −γ times that (0 where the episode is done); the reward is in neither. Raises TrainingDiverged.
    """
    network = learnable.network.network
    trace = network.trace(torch.from_numpy(np.concatenate([step.obs[0], step.next_obs[0]]).astype(np.float32)))
    now, following = trace[-1]
    action, best = int(step.action[0, 0]), int(following.argmax())
    weight = float(ESTIMATORS["article"].weight(step, config.discount)[0, 0])
    discount = config.discount * (not step.ended[0, 0])
    downhill = torch.zeros_like(trace[-1])
    downhill[0, action] += weight
    downhill[1, best] -= discount * weight
    network.pull_back(trace, downhill)
    loss = float(step.reward[0, 0]) + discount * following[best].item() - now[action].item()
    learnable.insist_finite(loss, config.learning_rate)
    return loss, learnable.climb(config.learning_rate)
