"""evaluate(): a policy played on fresh episodes, and left as it was."""

import json

import numpy as np
import pytest

from pgcore.config import TrainConfig
from pgcore.evaluate import evaluate, play
from pgcore.market.prices import load_sample
from pgcore.policies import Policy, policy_from_bytes
from pgcore.trainer import Trainer
from tests.playgrounds import task


@pytest.fixture(scope="module")
def trained():
    trainer = Trainer(TrainConfig(estimator="gae", num_envs=32, max_steps=8000))
    list(trainer)
    return trainer


def test_the_result_tells_greedy_from_sampled_play(trained):
    result = evaluate(trained.config, trained.policy, episodes=50)
    assert (result["kind"], result["episodes"]) == ("episodes", 50)
    for way in ("greedy", "sampled"):
        assert result[way]["min"] <= result[way]["median"] <= result[way]["max"] <= 500
        assert result[way]["min"] <= result[way]["mean"] <= result[way]["max"]
    assert result["greedy"]["mean"] != result["sampled"]["mean"]
    assert json.loads(json.dumps(result)) == result


def test_the_same_policy_earns_the_same_again_also_when_it_comes_from_a_file(trained):
    again = policy_from_bytes(trained.policy.to_bytes())
    for greedy in (True, False):
        np.testing.assert_array_equal(play(trained.config, trained.policy, 20, greedy), play(trained.config, again, 20, greedy))


def test_evaluation_leaves_the_policy_and_its_statistics_as_they_were(trained):
    before = trained.policy.to_bytes()
    evaluate(trained.config, trained.policy, episodes=20)
    assert trained.policy.to_bytes() == before


def test_every_episode_counts_once_whatever_its_length(trained):
    returns = play(trained.config, trained.policy, 64, greedy=False)
    assert len(returns) == 64
    assert len(np.unique(returns)) > 10


def test_episodes_are_not_those_of_training(trained):
    fresh = play(trained.config.replace(seed=1), trained.policy, 20, greedy=True)
    assert not np.array_equal(fresh, play(trained.config, trained.policy, 20, greedy=True))


def test_a_task_that_never_ends_is_evaluated_all_the_same():
    config = TrainConfig(task=task("Endless"), policy="linear")
    assert play(config, Policy(1, 2), 3, greedy=True).tolist() == [10_000.0] * 3


def test_stocks_are_judged_on_each_part_of_the_history():
    config = TrainConfig(task="stocks", max_steps=2000)
    prices = load_sample("sp500")
    trainer = Trainer(config, prices)
    list(trainer)
    result = evaluate(config, trainer.policy, prices)
    assert result["kind"] == "backtest"
    assert [part["part"] for part in result["parts"]] == ["train", "validation", "test"]


def test_drawn_play_of_values_keeps_the_last_chance_of_a_random_action():
    config = TrainConfig(estimator="dqn")
    policy = Policy(4, 2, "values", (8,))
    policy.exploration.fill_(1.0)
    greedy, sampled = (evaluate(config, policy, episodes=50)[way]["mean"] for way in ("greedy", "sampled"))
    assert greedy < 15 < sampled, "one action for ever falls at once; random ones last about 22 steps"
