"""TrainConfig: what is accepted, what is refused in a sentence, and what two configs have in common."""

import dataclasses
import json
import shlex

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgcore.config import SETTINGS, TrainConfig, estimators_for, recommended, relevant, spell
from pgcore.errors import BadInput
from pgcore.estimators import ESTIMATORS
from pgcore.market.features import FEATURES
from pgcore.market.rewards import REWARDS
from pgcore.tasks import TASKS

PAIRS = [(task, name) for task in TASKS for name in estimators_for(task)]


@pytest.mark.parametrize(("task", "estimator"), PAIRS)
def test_every_task_and_estimator_that_go_together_have_defaults_that_hold(task, estimator):
    config = TrainConfig(task=task, estimator=estimator)
    assert {name: getattr(config, name) for name in SETTINGS} == recommended(task, estimator) | {
        "task": task,
        "estimator": estimator,
    }
    assert {"task", "estimator"} >= set(config.chosen())


@pytest.mark.parametrize(("task", "estimator"), PAIRS)
def test_what_rows_name_are_settings(task, estimator):
    row, kind = TASKS[task], ESTIMATORS[estimator]
    named = {*row.settings, *row.defaults, *kind.settings, *kind.defaults, *kind.least}
    assert named | set(row.estimator_defaults.get(estimator, {})) <= set(SETTINGS)
    assert set(row.estimator_defaults) <= set(ESTIMATORS)


def test_the_more_special_default_wins():
    """The task's for the estimator, then the estimator's, then the task's, then the field's."""
    assert recommended("CartPole-v1", "ppo")["discount"] == 0.99
    assert recommended("CartPole-v1", "gae")["discount"] == 0.98
    assert recommended("stocks", "ppo")["policy"] == "linear"
    assert recommended("MountainCar-v0", "reinforce")["num_envs"] == 16
    assert recommended("MountainCar-v0", "reinforce")["policy"] == SETTINGS["policy"].default


# ---- spelling and reading


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_says_what_it_is_and_its_default_holds(name):
    setting = SETTINGS[name]
    assert setting.label
    assert len(setting.help) > 15
    assert setting.help.endswith(".")
    assert setting.check(setting.default) == setting.default
    if setting.kind in (int, float, tuple):
        assert setting.low < setting.high
    elif setting.kind is str:
        assert setting.choices or name == "prices"


@pytest.mark.parametrize(("task", "estimator"), PAIRS)
def test_what_is_spelled_is_read_back(task, estimator):
    config = TrainConfig(task=task, estimator=estimator)
    assert TrainConfig.from_strings({name: spell(getattr(config, name)) for name in SETTINGS}) == config
    assert TrainConfig.from_json(config.to_json()) == config


def read_by_a_shell(command):
    words = shlex.split(command.removeprefix("python -m pgcore train "))
    given = {flag.removeprefix("--").replace("-", "_"): value for flag, value in zip(words[::2], words[1::2], strict=True)}
    return TrainConfig.from_strings(given)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1).map(str.strip).filter(str.isprintable))
@example("x$(touch pwned)")
@example("`touch pwned`; 'touch pwned'")
def test_a_command_does_nothing_but_what_it_says(prices):
    config = TrainConfig(task="stocks", prices=prices)
    assert read_by_a_shell(config.command()) == config


@pytest.mark.parametrize("hidden", ["x\ntouch pwned #", "x\r", "\x1b[201~x", "x\0"])
def test_a_text_with_something_in_it_that_cannot_be_seen_is_refused(hidden):
    with pytest.raises(BadInput, match="leave out what cannot be seen"):
        TrainConfig(task="stocks", prices=hidden)


def test_a_config_is_the_same_after_its_command_line():
    config = TrainConfig(
        estimator="trpo", max_kl=0.05, hidden_sizes=(32, 16), stop_when_solved=False, target_return=200.0, seed=3
    )
    assert read_by_a_shell(config.command()) == config
    assert set(config.chosen()) == {"estimator", "max_kl", "hidden_sizes", "stop_when_solved", "target_return", "seed"}


def test_the_command_line_of_a_fold_names_it_and_that_of_a_walk_forward_does_not():
    config = TrainConfig(task="stocks", folds=5)
    for fold in (0, 2):
        assert config.replace(fold=fold).command().endswith(f" --fold {fold}")
        assert " --fold " not in config.replace(fold=fold).command(every_fold=True)
    assert " --fold " not in TrainConfig(task="stocks").command()


@given(st.floats(1e-5, 1.0))
def test_a_number_is_spelled_as_short_as_it_is_read_back_to_the_last_bit(number):
    assert TrainConfig.from_strings({"learning_rate": spell(number)}).learning_rate == number


def test_a_number_is_spelled_as_a_person_would():
    numbers = {
        1.0: "1",
        0.003: "0.003",
        1e-5: "1e-05",
        475.0: "475",
        1e9: "1000000000",
        -0.5: "-0.5",
        1 / 3: "0.3333333333333333",
    }
    assert [spell(number) for number in numbers] == list(numbers.values())
    assert spell(np.float64(0.25)) == "0.25"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_steps", "1e6", 1_000_000),
        ("max_steps", "250_000", 250_000),
        ("learning_rate", "3e-3", 0.003),
        ("learning_rate", "1", 1.0),
        ("hidden_sizes", "64x32", (64, 32)),
        ("hidden_sizes", "64, 32", (64, 32)),
        ("stop_when_solved", "Off", False),
        ("allow_short", "1", True),
        ("target_return", "none", None),
        ("target_return", "-100", -100.0),
        ("task", " Acrobot-v1 ", "Acrobot-v1"),
    ],
)
def test_spellings_that_are_understood(name, text, value):
    read = SETTINGS[name].check(SETTINGS[name].parse(text))
    assert read == value
    assert type(read) is type(value)


def test_numbers_of_numpy_are_taken_for_pythons():
    config = TrainConfig(
        learning_rate=np.float32(0.5),
        seed=np.int64(3),
        stop_when_solved=np.bool_(False),
        hidden_sizes=np.array([32, 16]),
        discount=1,
    )
    values = (config.learning_rate, config.seed, config.stop_when_solved, config.hidden_sizes, config.discount)
    assert values == (0.5, 3, False, (32, 16), 1.0)
    assert [type(value) for value in values] == [float, int, bool, tuple, float]
    assert json.loads(config.to_json())["hidden_sizes"] == [32, 16]


# ---- refusals


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("learning_rate", "fast", "a number between 1e-05 and 1"),
        ("learning_rate", "2", "a number between"),
        ("learning_rate", "nan", "a number between"),
        ("learning_rate", "inf", "a number between"),
        ("seed", "1.5", "a whole number between 0 and"),
        ("seed", "-1", "a whole number between 0 and"),
        ("max_steps", "1e999", "a whole number"),
        ("max_steps", "9" * 400, r"Step budget cannot be 9{79}…: give a whole number"),
        ("learning_rate", "9" * 400, "a number between"),
        ("hidden_sizes", "9" * 400, "one to four layer sizes"),
        ("hidden_sizes", "64,wide", "one to four layer sizes"),
        ("hidden_sizes", "0", "one to four layer sizes"),
        ("hidden_sizes", "", "one to four layer sizes"),
        ("hidden_sizes", "1,2,3,4,5", "one to four layer sizes"),
        ("stop_when_solved", "perhaps", "on or off"),
        ("estimator", "pppo", r"did you mean ppo\?.*give one of reinforce, reward-to-go"),
        ("reward", "money", "one of " + ", ".join(REWARDS)),
        ("features", "none", "one of " + ", ".join(FEATURES)),
        ("fill", "tomorrow", "one of close, next-open"),
        ("task", "NoSuchTask-v0", "There is no task 'NoSuchTask-v0'.*give one of CartPole-v1, Acrobot-v1"),
        ("task", "no_such_module:Task-v0", "There is no task.*No module named 'no_such_module'"),
        ("task", "not an id", "There is no task"),
        ("task", ".x:Y-v0", r"There is no task '\.x:Y-v0'.*give one of CartPole-v1"),
        ("task", "tests.playgrounds.missing:Y-v0", "There is no task.*'tests.playgrounds' is not a package"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_that_says_what_can(name, text, part):
    with pytest.raises(BadInput, match=part) as refusal:
        TrainConfig.from_strings({name: text})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('said on\\ntwo lines')", "ValueError: said on two lines"),
        ("1 +", "SyntaxError: invalid syntax"),
        ("import gymnasium", "Environment `Task` doesn't exist"),
    ],
)
def test_a_task_whose_module_does_what_it_likes_is_refused_like_any_other(tmp_path, monkeypatch, code, said):
    (tmp_path / "wild.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match=r"There is no task 'wild:Task-v0' .*give one of CartPole-v1, Acrobot-v1") as refusal:
        TrainConfig(task="wild:Task-v0")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "value",
    [
        {"learning_rate": 10**400},
        {"seed": True},
        {"seed": "3"},
        {"learning_rate": None},
        {"hidden_sizes": 64},
        {"estimator": 3},
        {"discount": "0.9"},
    ],
)
def test_a_value_of_the_wrong_type_is_refused(value):
    with pytest.raises(BadInput, match="cannot be"):
        TrainConfig(**value)


def test_a_setting_that_does_not_exist_is_refused_with_a_hint():
    with pytest.raises(BadInput, match=r"no setting 'learning_rat' \(did you mean learning_rate\?\)"):
        TrainConfig.from_strings({"learning_rat": "0.1"})


@pytest.mark.parametrize("estimator", [name for name, row in ESTIMATORS.items() if row.discrete_only])
def test_estimators_for_discrete_actions_are_refused_and_not_offered_on_continuous_ones(estimator):
    with pytest.raises(BadInput, match=rf"{estimator} needs discrete actions.*choose one of reinforce, .*ppo"):
        TrainConfig(task="Pendulum-v1", estimator=estimator)
    assert estimator not in estimators_for("Pendulum-v1")
    assert estimator in estimators_for("CartPole-v1")
    (offered,) = (setting.choices for setting in relevant("Pendulum-v1", "ppo") if setting.name == "estimator")
    assert offered == estimators_for("Pendulum-v1")


def test_a_mean_over_the_other_episodes_needs_another_episode():
    with pytest.raises(BadInput, match="between 2 and"):
        TrainConfig(estimator="mean-baseline", num_envs=1)
    assert TrainConfig(estimator="reinforce", num_envs=1).num_envs == 1
    (offered,) = (setting for setting in relevant("CartPole-v1", "mean-baseline") if setting.name == "num_envs")
    assert offered.low == 2


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"estimator": "dqn", "replay_size": 500, "replay_start": 1000}, "make the memory larger"),
        ({"task": "stocks", "train_share": 0.8, "validation_share": 0.2}, "less than 5 % for the test"),
        (
            {"num_envs": 4096, "rollout_steps": 4096, "max_steps": 10**8},
            "16,777,216 steps would not fit .* 4,194,304 may: make Environments or Steps a segment smaller",
        ),
        (
            {"task": "stocks", "estimator": "reinforce", "num_envs": 4096, "episode_rows": 100_000},
            "40,960,000 steps would not fit .* make Environments or Episode length smaller",
        ),
    ],
)
def test_settings_that_cannot_work_together_are_refused(settings, part):
    with pytest.raises(BadInput, match=part):
        TrainConfig(**settings)


def test_a_setting_without_meaning_here_is_carried_along():
    """A page keeps the values of knobs it does not show: they must not get in the way."""
    assert TrainConfig(estimator="ppo", replay_size=500, replay_start=1000).replay_size == 500
    assert TrainConfig(estimator="article", num_envs=4096).num_envs == 4096
    assert TrainConfig(estimator="article", num_envs=4096, rollout_steps=4096, max_steps=10**8).rollout_steps == 4096
    assert TrainConfig(num_envs=4096, rollout_steps=4096).max_steps == 500_000, "an update is no larger than the budget"


# ---- what follows from a config


def test_a_config_cannot_be_changed_only_replaced():
    config = TrainConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 4  # type: ignore[misc]
    assert config.replace(seed=4).seed == 4
    assert config.replace(seed=4).replace(seed=config.seed) == config


def test_the_learning_rate_falls_on_a_straight_line_to_zero_where_told():
    config = TrainConfig(learning_rate=0.1, learning_rate_schedule="linear", max_steps=1000)
    assert [config.learning_rate_at(steps) for steps in (0, 500, 1000, 1010)] == pytest.approx([0.1, 0.05, 0, 0])
    assert config.replace(learning_rate_schedule="constant").learning_rate_at(900) == 0.1


def test_the_threshold_is_the_tasks_unless_given():
    assert TrainConfig().solved_at == 475
    assert TrainConfig(target_return=100.0).solved_at == 100
    assert TrainConfig(task="Pendulum-v1").solved_at is None
