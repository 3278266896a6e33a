"""TrainConfig: everything that decides a run, with the bounds, default and help of each setting in one place."""

import dataclasses
import json
import shlex
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pgcore.errors import BadInput
from pgcore.estimators import ESTIMATORS
from pgcore.market.accounting import FILLS
from pgcore.market.features import FEATURES
from pgcore.market.rewards import REWARDS
from pgcore.rollout import LONGEST_EPISODE
from pgcore.settings import Choices, nearest
from pgcore.settings import Setting as Setting
from pgcore.settings import spell as spell
from pgcore.tasks import TASKS, find_task

MOST_BEFORE_TEST = 0.95  # of a history
MOST_IN_A_BATCH = 2**22  # steps

_UNSET: Any = object()


def _setting(label: str, default: Any, *, help: str, **rest: Any) -> Any:
    return dataclasses.field(default=_UNSET, metadata={"label": label, "default": default, "help": help, **rest})


# fmt: off
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run; two runs of one config give identical records (but for a3c, which is a race).

    A setting that is not given takes the value its estimator or its task wants (their `defaults`), else the field's own
    default. A setting that makes no difference to this estimator and task is carried along and ignored. Raises BadInput
    for a value out of bounds or a combination that cannot work.
    """

    task: str = _setting("Task", "CartPole-v1", choices=tuple(TASKS), open_choice=True, group="run", common=True,
        help="What the agent learns to do: a task named here, or any Gymnasium id with Box observations.")
    prices: str = _setting("Prices", "sp500", group="run",
        help="Which price history: a built-in sample, or the identity of one that was imported.")
    estimator: str = _setting("Estimator", "ppo", choices=tuple(ESTIMATORS), group="main", common=True,
        help="How the gradient of the expected return is estimated from what the agent did.")
    policy: str = _setting("Policy", "mlp", choices=("linear", "mlp"), group="main", common=True,
        help="linear: softmax of θᵀf(s,a), one weight a feature and action; mlp: a neural network.")
    learning_rate: float = _setting("Learning rate", 3e-3, low=1e-5, high=1.0, scale="log", group="main",
        help="α, the size of a step of gradient ascent. Too high: it jumps about and forgets. Too low: nothing happens.")
    max_kl: float = _setting("Trust region δ", 0.02, low=1e-4, high=1.0, scale="log", unit="nats", group="main",
        help="How far one update may move the policy: the mean KL divergence of the new one from the old. Takes the place of a"
        " learning rate.")
    discount: float = _setting("Discount factor γ", 0.99, low=0.0, high=1.0, step=0.001, group="main", common=True,
        help="What a reward one step later is worth now: 0 sees one step ahead, 0.99 about a hundred.")
    window: int = _setting("Moving-average window n", 20, low=2, high=500, unit="rows", group="main",
        help="How many prices before a day its moving average covers.")
    seed: int = _setting("Seed", 0, low=0, high=2**31 - 1, group="main", common=True,
        help="Where all chance starts: the same seed repeats the run exactly (but for A3C, whose workers race).")
    max_steps: int = _setting("Step budget", 500_000, low=100, high=1_000_000_000, scale="log", unit="steps", common=True,
        help="The run ends after this many steps in the environment.")
    stop_when_solved: bool = _setting("Stop when solved", True, common=True,
        help="End as soon as the mean return of the last 100 episodes reaches the task's threshold.")
    target_return: float | None = _setting("Solved at", None, low=-1e9, high=1e9, common=True,
        help="Mean return of the last 100 episodes that counts as solved; none: the task's own threshold.")
    num_envs: int = _setting("Environments", 64, low=1, high=4096,
        help="How many copies of the task are played side by side; for whole-episode estimators, episodes an update; for A3C,"
        " copies a worker.")
    rollout_steps: int = _setting("Steps a segment", 32, low=1, high=4096, unit="steps",
        help="How many steps each environment plays between two updates.")
    hidden_sizes: tuple[int, ...] = _setting("Hidden layers", (64,), low=1, high=1024, common=True,
        help="Units of each hidden layer of the mlp policy and of the critic.")
    activation: str = _setting("Activation", "relu", choices=("relu", "tanh"), common=True,
        help="The non-linearity between layers.")
    optimiser: str = _setting("Optimiser", "adam", choices=("adam", "ascent"),
        help="adam adapts the step to each weight; ascent is the article's plain θ ← θ + α∇J.")
    learning_rate_schedule: str = _setting("Learning-rate schedule", "constant", choices=("constant", "linear"),
        help="linear lets the learning rate fall to zero over the step budget.")
    normalise_advantages: bool = _setting("Normalise weights", True,
        help="Shift and scale the weights of each batch to mean 0 and deviation 1.")
    entropy_bonus: float = _setting("Entropy bonus", 0.0, low=0.0, high=1.0, step=0.001,
        help="Reward for staying undecided; keeps a policy from settling too early.")
    gradient_clip: float = _setting("Gradient clip", 0.0, low=0.0, high=100.0, step=0.1,
        help="Longest gradient allowed; a longer one is shortened. 0: no limit.")
    discount_weighting: bool = _setting("γᵗ factor", False,
        help="Weigh step t by γᵗ, as the exact gradient of the discounted return does; practice leaves it out.")
    normalise_observations: bool = _setting("Normalise observations", True,
        help="Scale what the agent sees by its running mean and deviation, frozen for evaluation.")
    value_learning_rate: float = _setting("Critic learning rate", 0.01, low=1e-5, high=1.0, scale="log",
        help="Step size of the critic V(s), which learns with Adam whatever the policy does (with A3C by RMSProp).")
    critic_steps: int = _setting("Critic steps", 1, low=1, high=200,
        help="Gradient steps the critic takes on each batch.")
    gae_lambda: float = _setting("GAE λ", 0.95, low=0.0, high=1.0, step=0.01,
        help="0 trusts the critic after one step (biased, calm); 1 trusts the rewards (unbiased, noisy).")
    clip_range: float = _setting("Clip range ε", 0.2, low=0.01, high=1.0, step=0.01,
        help="How far the probability ratio may move before it stops paying.")
    epochs: int = _setting("Epochs", 4, low=1, high=50,
        help="How many times PPO goes through each batch.")
    minibatches: int = _setting("Minibatches", 4, low=1, high=256,
        help="How many pieces each epoch is cut into.")
    target_kl: float = _setting("KL stop", 0.0, low=0.0, high=1.0, step=0.005, unit="nats",
        help="Stop the epochs of a batch once the policy has moved this far. 0: never.")
    cg_steps: int = _setting("Conjugate-gradient steps", 10, low=1, high=100,
        help="How exactly the natural gradient F⁻¹∇J is solved for.")
    cg_damping: float = _setting("Damping", 0.001, low=0.0, high=1.0, step=0.001,
        help="Added to the diagonal of the Fisher matrix F, against directions in which the policy hardly changes.")
    fisher_rows: int = _setting("Rows for the Fisher matrix", 512, low=16, high=1_000_000, scale="log", unit="steps",
        help="How many steps of the batch, evenly spread, the Fisher matrix is averaged over; more cost time, change little.")
    workers: int = _setting("Workers", 0, low=0, high=64, unit="processes",
        help="How many processes play and update the shared parameters at the same time. 0: one a core.")
    replay_size: int = _setting("Replay memory", 100_000, low=100, high=10_000_000, scale="log", unit="steps",
        help="How many of the latest steps are remembered to learn from.")
    replay_start: int = _setting("Steps before learning", 1000, low=1, high=1_000_000, scale="log", unit="steps",
        help="How many steps are played at random before the first gradient step.")
    replay_batch: int = _setting("Replay batch", 64, low=1, high=8192, scale="log", unit="steps",
        help="How many remembered steps each gradient step draws.")
    gradient_steps: int = _setting("Gradient steps", 128, low=1, high=4096, scale="log",
        help="How many gradient steps are taken after each stretch of play.")
    target_every: int = _setting("Target copied every", 128, low=1, high=100_000, scale="log", unit="gradient steps",
        help="After how many gradient steps the target network is set equal to the learning one.")
    exploration_share: float = _setting("Exploration part", 0.16, low=0.0, high=1.0, step=0.01,
        help="Share of the step budget over which ε, the chance of a random action, falls from 1 to its last value.")
    final_exploration: float = _setting("Last ε", 0.04, low=0.0, high=1.0, step=0.01,
        help="The chance of a random action after that.")
    features: str = _setting("Features", "scale-free", choices=tuple(FEATURES), group="market",
        help="What the agent sees of the market: article: s − MA relative to MA, for buy above and for sell below; scale-free:"
        " distance from MA, distance from a slow mean, 1-row and 5-row return, each in its usual size, and the position held.")
    reward: str = _setting("Reward", "pnl", choices=tuple(REWARDS), group="market",
        help="What the agent is paid for each day.")
    cost_bps: float = _setting("Trading cost", 5.0, low=0.0, high=500.0, step=0.5, unit="bp", group="market",
        help="Paid on the value of every trade.")
    borrow_bps: float = _setting("Borrow cost", 50.0, low=0.0, high=5000.0, step=5.0, unit="bp a year", group="market",
        help="Paid on the value of a short position, per year.")
    allow_short: bool = _setting("Allow shorts", False, group="market",
        help="Sell goes short instead of flat.")
    fill: str = _setting("Fill", "close", choices=FILLS, group="market",
        help="The price a decision is filled at: the close it was made on, or the next open.")
    episode_rows: int = _setting("Episode length", 250, low=10, high=100_000, unit="rows", group="market",
        help="Rows of history a training episode covers, at a random place in the training part.")
    train_share: float = _setting("Training part", 0.6, low=0.1, high=0.9, step=0.01, group="market",
        help="Share of the history, from its start, that the agent trains on.")
    validation_share: float = _setting("Validation part", 0.2, low=0.0, high=0.5, step=0.01, group="market",
        help="Share of the history after the training part that chooses the checkpoint; the rest is the test.")
    folds: int = _setting("Walk-forward folds", 0, low=0, high=20, group="market",
        help="Cut the test into this many pieces, train anew before each, and join the pieces to one curve. 0: train once.")
    anchored: bool = _setting("Anchored", True, group="market",
        help="In a walk-forward, train on everything before a piece; off: on the same number of rows each time.")
    fold: int = _setting("Fold", 0, low=0, high=19, group="run",
        help="Which piece of a walk-forward this run trains for.")
    # fmt: on

    def __post_init__(self) -> None:
        for name in ("task", "estimator"):
            given = getattr(self, name)
            object.__setattr__(self, name, SETTINGS[name].check(SETTINGS[name].default if given is _UNSET else given))
        check_actions(self.task, self.estimator, find_task(self.task).continuous)
        wanted = recommended(self.task, self.estimator)
        fitted = {setting.name: setting for setting in relevant(self.task, self.estimator)}
        for name, setting in SETTINGS.items():
            given = getattr(self, name)
            value = fitted.get(name, setting).check(wanted[name] if given is _UNSET else given)
            object.__setattr__(self, name, value)
        if round(self.train_share + self.validation_share, 9) > MOST_BEFORE_TEST:
            raise BadInput("Training and validation part together leave less than 5 % for the test: make one of them smaller.")
        if self.fold >= max(self.folds, 1):
            raise BadInput(f"Fold {self.fold} is not there: with {self.folds} folds give 0 to {max(self.folds, 1) - 1}.")
        self._check_batch(fitted)
        if "replay_size" in fitted and self.replay_start > self.replay_size:
            raise BadInput(
                f"A replay memory of {self.replay_size} steps never holds the {self.replay_start} that learning waits for:"
                " make the memory larger or let learning begin earlier."
            )

    def _check_batch(self, fitted: Mapping[str, Setting]) -> None:
        """Raises BadInput where an update would be made from more steps than fit into memory, as far as that can be known."""
        if "rollout_steps" in fitted:
            steps, length = min(self.num_envs * self.rollout_steps, self.max_steps), "rollout_steps"
        elif "num_envs" in fitted and "episode_rows" in fitted:
            steps, length = self.num_envs * min(self.episode_rows, LONGEST_EPISODE), "episode_rows"
        else:
            return
        if steps > MOST_IN_A_BATCH:
            raise BadInput(
                f"An update from {steps:,} steps would not fit into memory; at most {MOST_IN_A_BATCH:,} may:"
                f" make {SETTINGS['num_envs'].label} or {SETTINGS[length].label} smaller."
            )

    @classmethod
    def from_strings(cls, given: Mapping[str, str]) -> "TrainConfig":
        """The config that flags or URL parameters spell. Raises BadInput, also for an unknown name."""
        unknown = [name for name in given if name not in SETTINGS]
        if unknown:
            raise BadInput(f"There is no setting {unknown[0]!r}{nearest(unknown[0], tuple(SETTINGS))}.")
        return cls(**{name: SETTINGS[name].parse(text) for name, text in given.items()})

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def replace(self, **changes: Any) -> "TrainConfig":
        """The same run with some settings changed."""
        return dataclasses.replace(self, **changes)

    def chosen(self) -> dict[str, Any]:
        """The settings that differ from what this task and estimator recommend: what a link or a command must name."""
        wanted = recommended(self.task, self.estimator) | {name: SETTINGS[name].default for name in ("task", "estimator")}
        return {name: getattr(self, name) for name in SETTINGS if getattr(self, name) != wanted[name]}

    def command(self, *, every_fold: bool = False) -> str:
        """The command line that repeats this run, as a shell reads it; with `every_fold`, all those of its walk-forward."""
        flags = {"task": self.task, "estimator": self.estimator, **self.chosen(), "seed": self.seed}
        flags.pop("fold", None)
        if self.folds and not every_fold:
            flags["fold"] = self.fold
        spelled = (f"{SETTINGS[name].flag} {shlex.quote(spell(value))}" for name, value in flags.items())
        return "python -m pgcore train " + " ".join(spelled)

    @property
    def solved_at(self) -> float | None:
        """Mean return of the last 100 episodes that counts as solved, if the task has such a number."""
        return self.target_return if self.target_return is not None else find_task(self.task).solved_at

    def learning_rate_at(self, env_steps: int) -> float:
        """The step size under the schedule, after so many steps of the budget."""
        if self.learning_rate_schedule == "constant":
            return self.learning_rate
        return self.learning_rate * max(0.0, 1 - env_steps / self.max_steps)


def _read_settings() -> Iterator[Setting]:
    hints = typing.get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        hint = hints[field.name]
        optional = isinstance(hint, types.UnionType)
        kind = next(part for part in typing.get_args(hint) if part is not type(None)) if optional else hint
        yield Setting(name=field.name, kind=typing.get_origin(kind) or kind, optional=optional, **field.metadata)


SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _read_settings()}


def recommended(task: str, estimator: str) -> dict[str, Any]:
    """Every setting as this task and this estimator want it, before the person chose anything.

    A value the task gives for the estimator goes before the estimator's own, that before the task's general one, that
    before the field's default. Raises BadInput for an unknown task.
    """
    row = find_task(task)
    given = {**row.defaults, **ESTIMATORS[estimator].defaults, **row.estimator_defaults.get(estimator, {})}
    return {name: given.get(name, setting.default) for name, setting in SETTINGS.items()}


def relevant(task: str, estimator: str) -> list[Setting]:
    """The settings that make a difference to a run of this task with this estimator, in the order of the fields.

    Their bounds and choices are those that can work here: `estimator` offers what the task's actions allow.
    """
    row, named = ESTIMATORS[estimator], {*find_task(task).settings, *ESTIMATORS[estimator].settings}
    fitted = []
    for setting in SETTINGS.values():
        if setting.name == "estimator":
            setting = dataclasses.replace(setting, choices=estimators_for(task))
        elif setting.name in row.least:
            setting = dataclasses.replace(setting, low=row.least[setting.name])
        if setting.common or setting.name in named:
            fitted.append(setting)
    return fitted


def estimators_for(task: str) -> Choices:
    """The estimators that can learn a task, in the order of the table."""
    continuous = find_task(task).continuous
    return tuple(name for name, row in ESTIMATORS.items() if not (continuous and row.discrete_only))


def check_actions(task: str, estimator: str, continuous: bool | None) -> None:
    """Raises BadInput where the estimator needs discrete actions and the task has continuous ones (None: not known yet)."""
    if continuous and ESTIMATORS[estimator].discrete_only:
        able = ", ".join(name for name, row in ESTIMATORS.items() if not row.discrete_only)
        raise BadInput(f"{estimator} needs discrete actions, and those of {task} are continuous: choose one of {able}.")
