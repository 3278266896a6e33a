"""TrainConfig: everything that decides a run, with the bounds, default and help of each setting in one place."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pgcore.errors import BadInput
from pgcore.estimators import ESTIMATORS
from pgcore.market.rewards import REWARDS
from pgcore.tasks import TASKS, find_task

Choices = tuple[str, ...]
_UNSET: Any = object()


@dataclass(frozen=True)
class Setting:
    """What is known of one field of TrainConfig, and all that a slider, a flag or a URL parameter needs of it.

    `low` and `high` are inclusive bounds; `scale` "log" makes a slider logarithmic; `unit` is shown behind the number.
    `group` says where a page shows it: "main" always, "more" folded, "market" with the prices, "run" not as a knob.
    `common` settings matter to every run; the others matter where an estimator or a task names them in `settings`.
    """

    name: str
    label: str
    help: str
    default: Any
    kind: type
    optional: bool = False
    low: float | None = None
    high: float | None = None
    choices: Choices | None = None
    open_choice: bool = False
    scale: str = "linear"
    step: float | None = None
    unit: str = ""
    group: str = "more"
    common: bool = False

    def parse(self, text: str) -> Any:
        """The value a flag or URL parameter spells, unchecked against the bounds. Raises BadInput."""
        text = text.strip()
        if self.optional and text.lower() in ("", "none", "off"):
            return None
        try:
            if self.kind is bool:
                return {
                    "true": True,
                    "1": True,
                    "on": True,
                    "yes": True,
                    "false": False,
                    "0": False,
                    "off": False,
                    "no": False,
                }[text.lower()]
            if self.kind is tuple:
                return tuple(int(part) for part in text.replace("x", ",").split(",") if part.strip())
            if self.kind is int and text.lower().replace("e", "").replace("_", "").isdigit():
                return int(float(text))
            return self.kind(text)
        except (ValueError, KeyError, OverflowError):
            raise BadInput(f"{self.label} cannot be {text!r}: give {self.expected()}.") from None

    def check(self, value: Any) -> Any:
        """The value, made exactly of the field's type. Raises BadInput where it is out of bounds."""
        if value is None and self.optional:
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is tuple and isinstance(value, list):
            value = tuple(value)
        right_type = isinstance(value, self.kind) and not (self.kind is int and isinstance(value, bool))
        numbers = value if isinstance(value, tuple) else (value,)
        if self.kind in (int, float, tuple) and right_type:
            right_type = all(
                isinstance(x, (int, float))
                and not isinstance(x, bool)
                and math.isfinite(x)
                and (self.low is None or x >= self.low)
                and (self.high is None or x <= self.high)
                for x in numbers
            )
        if self.kind is tuple:
            right_type = right_type and 1 <= len(value) <= 4
        if not right_type:
            raise BadInput(f"{self.label} cannot be {spell(value)}: give {self.expected()}.")
        if self.choices is not None and not self.open_choice and value not in self.choices:
            raise BadInput(f"{self.label} cannot be {value!r}{_nearest(value, self.choices)}: give {self.expected()}.")
        return value

    def expected(self) -> str:
        """In words, what a valid value is."""
        if self.choices is not None:
            return "one of " + ", ".join(self.choices) + (" (or another of its kind)" if self.open_choice else "")
        if self.kind is bool:
            return "on or off"
        bounds = f" between {spell(self.low)} and {spell(self.high)}" if self.low is not None else ""
        noun = {int: "a whole number", float: "a number", str: "a text", tuple: "one to four layer sizes, each"}[self.kind]
        return f"{noun}{bounds}" + (f" ({self.unit})" if self.unit else "") + (" or none" if self.optional else "")

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _nearest(value: object, choices: Choices) -> str:
    close = get_close_matches(str(value), choices, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def spell(value: object) -> str:
    """A value as a flag or URL parameter spells it; Setting.parse reads it back."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        return ",".join(str(x) for x in value)
    if isinstance(value, float):
        return f"{value:.12g}"
    return "none" if value is None else str(value)


def _setting(label: str, help: str, default: Any, **rest: Any) -> Any:
    return dataclasses.field(default=_UNSET, metadata={"label": label, "help": help, "default": default, **rest})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run; two runs of one config give identical records.

    A setting that is not given takes the value its estimator or its task wants (their `defaults`), else the field's own
    default. Raises BadInput for a value out of bounds or a combination that cannot work.
    """

    task: str = _setting(
        "Task",
        "What the agent learns to do: a task named here, or any Gymnasium id.",
        "CartPole-v1",
        choices=tuple(TASKS),
        open_choice=True,
        group="run",
        common=True,
    )
    prices: str = _setting(
        "Prices", "Which price history: a built-in sample, or the identity of one that was imported.", "sp500", group="run"
    )
    estimator: str = _setting(
        "Estimator",
        "How the gradient of the expected return is estimated from what the agent did.",
        "ppo",
        choices=tuple(ESTIMATORS),
        group="main",
        common=True,
    )
    policy: str = _setting(
        "Policy",
        "linear: softmax of θᵀf(s,a), one weight a feature and action; mlp: a neural network.",
        "mlp",
        choices=("linear", "mlp"),
        group="main",
        common=True,
    )
    learning_rate: float = _setting(
        "Learning rate",
        "α, the size of a step of gradient ascent. Too high: it jumps about and forgets. Too low: nothing happens.",
        0.01,
        low=1e-5,
        high=1.0,
        scale="log",
        group="main",
        common=True,
    )
    discount: float = _setting(
        "Discount factor γ",
        "What a reward one step later is worth now: 0 sees one step ahead, 0.99 about a hundred.",
        0.99,
        low=0.0,
        high=1.0,
        step=0.001,
        group="main",
        common=True,
    )
    window: int = _setting(
        "Moving-average window n",
        "How many prices before a day its moving average covers.",
        20,
        low=2,
        high=500,
        unit="rows",
        group="main",
    )
    seed: int = _setting(
        "Seed",
        "Where all chance starts: the same seed repeats the run exactly.",
        0,
        low=0,
        high=2**31 - 1,
        group="main",
        common=True,
    )
    max_steps: int = _setting(
        "Step budget",
        "The run ends after this many steps in the environment.",
        500_000,
        low=100,
        high=1_000_000_000,
        scale="log",
        unit="steps",
        common=True,
    )
    stop_when_solved: bool = _setting(
        "Stop when solved",
        "End as soon as the mean return of the last 100 episodes reaches the task's threshold.",
        True,
        common=True,
    )
    target_return: float | None = _setting(
        "Solved at",
        "Mean return of the last 100 episodes that counts as solved; none: the task's own threshold.",
        None,
        low=-1e9,
        high=1e9,
        common=True,
    )
    num_envs: int = _setting(
        "Environments",
        "How many copies of the task are played side by side; for whole-episode estimators, episodes an update.",
        64,
        low=1,
        high=4096,
        common=True,
    )
    rollout_steps: int = _setting(
        "Steps a segment", "How many steps each environment plays between two updates.", 32, low=1, high=4096, unit="steps"
    )
    hidden_sizes: tuple[int, ...] = _setting(
        "Hidden layers", "Units of each hidden layer of the mlp policy and of the critic.", (64,), low=1, high=1024, common=True
    )
    activation: str = _setting("Activation", "The non-linearity between layers.", "relu", choices=("relu", "tanh"), common=True)
    optimiser: str = _setting(
        "Optimiser",
        "adam adapts the step to each weight; ascent is the article's plain θ ← θ + α∇J.",
        "adam",
        choices=("adam", "ascent"),
        common=True,
    )
    learning_rate_schedule: str = _setting(
        "Learning-rate schedule",
        "linear lets the learning rate fall to zero over the step budget.",
        "constant",
        choices=("constant", "linear"),
        common=True,
    )
    normalise_advantages: bool = _setting(
        "Normalise weights", "Shift and scale the weights of each batch to mean 0 and deviation 1.", True, common=True
    )
    entropy_bonus: float = _setting(
        "Entropy bonus",
        "Reward for staying undecided; keeps a policy from settling too early.",
        0.0,
        low=0.0,
        high=1.0,
        step=0.001,
        common=True,
    )
    gradient_clip: float = _setting(
        "Gradient clip",
        "Longest gradient allowed; a longer one is shortened. 0: no limit.",
        0.0,
        low=0.0,
        high=100.0,
        step=0.1,
        common=True,
    )
    discount_weighting: bool = _setting(
        "γᵗ factor",
        "Weigh step t by γᵗ, as the exact gradient of the discounted return does; practice leaves it out.",
        False,
        common=True,
    )
    normalise_observations: bool = _setting(
        "Normalise observations",
        "Scale what the agent sees by its running mean and deviation, frozen for evaluation.",
        False,
        common=True,
    )
    value_learning_rate: float = _setting(
        "Critic learning rate",
        "Step size of the critic V(s), which always learns with Adam.",
        0.01,
        low=1e-5,
        high=1.0,
        scale="log",
    )
    critic_steps: int = _setting("Critic steps", "Gradient steps the critic takes on each batch.", 5, low=1, high=200)
    gae_lambda: float = _setting(
        "GAE λ",
        "0 trusts the critic after one step (biased, calm); 1 trusts the rewards (unbiased, noisy).",
        0.95,
        low=0.0,
        high=1.0,
        step=0.01,
    )
    clip_range: float = _setting(
        "Clip range ε", "How far the probability ratio may move before it stops paying.", 0.2, low=0.01, high=1.0, step=0.01
    )
    epochs: int = _setting("Epochs", "How many times PPO goes through each batch.", 4, low=1, high=50)
    minibatches: int = _setting("Minibatches", "How many pieces each epoch is cut into.", 4, low=1, high=256)
    target_kl: float = _setting(
        "KL stop",
        "Stop the epochs of a batch once the policy has moved this far. 0: never.",
        0.0,
        low=0.0,
        high=1.0,
        step=0.005,
        unit="nats",
    )
    features: str = _setting(
        "Features",
        "What the agent sees of the market: article: s − MA relative to MA, for buy above and for sell below; "
        "scale-free: distance from MA, recent returns in units of volatility, position held.",
        "scale-free",
        choices=("article", "scale-free"),
        group="market",
    )
    reward: str = _setting("Reward", "What the agent is paid for each day.", "pnl", choices=tuple(REWARDS), group="market")
    cost_bps: float = _setting(
        "Trading cost", "Paid on the value of every trade.", 5.0, low=0.0, high=500.0, step=0.5, unit="bp", group="market"
    )
    borrow_bps: float = _setting(
        "Borrow cost",
        "Paid on the value of a short position, per year.",
        50.0,
        low=0.0,
        high=5000.0,
        step=5.0,
        unit="bp a year",
        group="market",
    )
    allow_short: bool = _setting("Allow shorts", "Sell goes short instead of flat.", False, group="market")
    fill: str = _setting(
        "Fill",
        "The price a decision is filled at: the close it was made on, or the next open.",
        "close",
        choices=("close", "next-open"),
        group="market",
    )
    episode_rows: int = _setting(
        "Episode length",
        "Rows of history a training episode covers, at a random place in the training part.",
        250,
        low=10,
        high=100_000,
        unit="rows",
        group="market",
    )
    train_share: float = _setting(
        "Training part",
        "Share of the history, from its start, that the agent trains on.",
        0.6,
        low=0.1,
        high=0.9,
        step=0.01,
        group="market",
    )
    validation_share: float = _setting(
        "Validation part",
        "Share of the history after the training part that chooses the checkpoint; the rest is the test.",
        0.2,
        low=0.0,
        high=0.5,
        step=0.01,
        group="market",
    )

    def __post_init__(self) -> None:
        for name in ("task", "estimator"):
            given = getattr(self, name)
            object.__setattr__(self, name, SETTINGS[name].check(SETTINGS[name].default if given is _UNSET else given))
        wanted = recommended(self.task, self.estimator)
        for name, setting in SETTINGS.items():
            given = getattr(self, name)
            object.__setattr__(self, name, setting.check(wanted[name] if given is _UNSET else given))
        if self.train_share + self.validation_share > 0.95:
            raise BadInput("Training and validation part together leave less than 5 % for the test: make one of them smaller.")

    @classmethod
    def from_strings(cls, given: Mapping[str, str]) -> "TrainConfig":
        """The config that flags or URL parameters spell. Raises BadInput, also for an unknown name."""
        unknown = [name for name in given if name not in SETTINGS]
        if unknown:
            raise BadInput(f"There is no setting {unknown[0]!r}{_nearest(unknown[0], tuple(SETTINGS))}.")
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
        wanted = recommended(self.task, self.estimator)
        return {
            name: getattr(self, name)
            for name, setting in SETTINGS.items()
            if name in ("task", "estimator")
            and getattr(self, name) != setting.default
            or name not in ("task", "estimator")
            and getattr(self, name) != wanted[name]
        }

    def command(self) -> str:
        """The command line that repeats this run."""
        flags = {"task": self.task, "estimator": self.estimator, **self.chosen(), "seed": self.seed}
        return "python -m pgcore train " + " ".join(f"{SETTINGS[name].flag} {spell(v)}" for name, v in flags.items())

    @property
    def solved_at(self) -> float | None:
        """Mean return of the last 100 episodes that counts as solved, if the task has such a number."""
        return self.target_return if self.target_return is not None else find_task(self.task).solved_at


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
    """The settings that make a difference to a run of this task with this estimator, in the order of the fields."""
    named = {*find_task(task).settings, *ESTIMATORS[estimator].settings}
    return [setting for setting in SETTINGS.values() if setting.common or setting.name in named]
