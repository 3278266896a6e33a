"""The tasks an agent can learn: how each makes its vectorised environment, and what is known of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from pgcore.actions import AS_ANSWERED, units_of
from pgcore.errors import BadInput

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec
    from gymnasium.vector import VectorEnv

    from pgcore.config import TrainConfig
    from pgcore.market.prices import PriceSeries

Maker = Callable[["TrainConfig", "PriceSeries | None", int], "VectorEnv"]


@dataclass(frozen=True)
class Task:
    """A row of the table. `make(config, prices, num_envs)` builds the environment, in NEXT_STEP autoreset mode.

    `solved_at` is the mean return of 100 episodes that counts as solved, `actions` the names of the discrete actions, or of
    the components of a continuous one, in order. `continuous` tells which (None: known once the environment is built).
    `settings` are the fields of TrainConfig that matter to this task beyond the common ones; `defaults` the values it wants
    where the person chose none, `estimator_defaults` those that hold for one estimator.
    """

    title: str
    make: Maker
    about: str = ""
    solved_at: float | None = None
    actions: tuple[str, ...] = ()
    continuous: bool | None = False
    settings: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)
    estimator_defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def _make_gymnasium(config: "TrainConfig", _prices: "PriceSeries | None", num_envs: int) -> "VectorEnv":
    """The task's own vector implementation where it has one that resets in NEXT_STEP mode, else Gymnasium's wrapper."""
    import gymnasium
    from gymnasium.vector import AutoresetMode

    try:
        if _specification(config.task).vector_entry_point is not None:
            env = gymnasium.make_vec(config.task, num_envs, vectorization_mode="vector_entry_point")
            if env.metadata.get("autoreset_mode") == AutoresetMode.NEXT_STEP:
                return env
            env.close()
        return gymnasium.make_vec(config.task, num_envs, vectorization_mode="sync")
    except Exception as error:  # whatever the constructor of a task that a person names does
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(
            f"The task {config.task} cannot be built here ({reason}): install what it needs or choose another."
        ) from error


def _make_classic_control(config: "TrainConfig", _prices: "PriceSeries | None", num_envs: int) -> "VectorEnv":
    """Our own vector implementation of a task that Gymnasium plays slowly, or one copy at a time."""
    from pgcore.classic_control import ClassicControl

    return ClassicControl(config.task, num_envs)


def _make_stocks(config: "TrainConfig", prices: "PriceSeries | None", num_envs: int) -> "VectorEnv":
    """Many episodes over one price array, each at a random place in the training part."""
    from pgcore.market.env import training_env

    if prices is None:
        raise BadInput("The task stocks needs prices: name a sample, upload a CSV or download a ticker.")
    return training_env(config, prices, num_envs)


TASKS: Mapping[str, Task] = {
    "CartPole-v1": Task(
        title="CartPole",
        make=_make_classic_control,
        about="A pole stands on a cart; pushing the cart left or right keeps it up. One point a step, at most 500.",
        solved_at=475.0,
        actions=("left", "right"),
        defaults={"discount": 0.98, "learning_rate": 0.01, "value_learning_rate": 0.08},
        estimator_defaults={
            "reward-to-go": {"num_envs": 32, "learning_rate": 5e-3},
            "value-baseline": {"value_learning_rate": 0.04, "critic_steps": 8},
            "actor-critic": {"rollout_steps": 64, "learning_rate": 5e-3, "value_learning_rate": 0.04, "critic_steps": 2},
            "a2c": {"num_envs": 128, "rollout_steps": 32, "value_learning_rate": 0.12, "critic_steps": 2},
            "gae": {"num_envs": 128, "rollout_steps": 32, "value_learning_rate": 0.12, "critic_steps": 2},
            "ppo": {
                "num_envs": 50,
                "rollout_steps": 64,
                "epochs": 2,
                "minibatches": 3,
                "learning_rate": 3e-3,
                "discount": 0.99,
                "gae_lambda": 0.97,
                "clip_range": 0.3,
            },
            "trpo": {
                "num_envs": 96,
                "rollout_steps": 48,
                "max_kl": 0.015,
                "gae_lambda": 0.97,
                "critic_steps": 8,
                "cg_steps": 8,
                "cg_damping": 0.1,
                "fisher_rows": 256,
            },
            "a3c": {"learning_rate": 3e-3},
            "dqn": {"max_steps": 60_000, "exploration_share": 0.14},
        },
    ),
    "Acrobot-v1": Task(
        title="Acrobot",
        make=_make_classic_control,
        about="Two links hang from a bar; torque on the joint between them swings the tip above a line. One point lost a step.",
        solved_at=-100.0,
        actions=("torque −1", "no torque", "torque +1"),
        # The threshold is passed long before the best is reached, so training goes on.
        defaults={
            "stop_when_solved": False,
            "normalise_observations": False,
            "learning_rate": 5e-3,
            "value_learning_rate": 0.03,
            "critic_steps": 2,
        },
        estimator_defaults={
            "ppo": {
                "rollout_steps": 64,
                "learning_rate": 2e-3,
                "value_learning_rate": 0.02,
                "gae_lambda": 0.94,
                "entropy_bonus": 0.005,
                "learning_rate_schedule": "linear",
            },
        },
    ),
    "MountainCar-v0": Task(
        title="Mountain car",
        make=_make_classic_control,
        about="A car too weak for the hill has to swing up to the flag. One point lost a step, at most 200: whoever never"
        " reaches the flag learns nothing.",
        solved_at=-110.0,
        actions=("push left", "coast", "push right"),
    ),
    "Pendulum-v1": Task(
        title="Pendulum",
        make=_make_classic_control,
        about="Torque of any size up to a limit swings a pendulum up and holds it there. Points lost for every radian off.",
        actions=("torque",),
        continuous=True,
        estimator_defaults={
            "ppo": {
                "num_envs": 16,
                "rollout_steps": 128,
                "hidden_sizes": (64, 64),
                "learning_rate": 3e-4,
                "value_learning_rate": 0.03,
                "learning_rate_schedule": "linear",
                "epochs": 8,
                "discount": 0.97,
            },
        },
    ),
    "stocks": Task(
        title="Stocks",
        make=_make_stocks,
        about="Buy, sell or hold one instrument, day by day, on its price history.",
        actions=("buy", "sell", "hold"),
        settings=(
            "prices",
            "window",
            "folds",
            "anchored",
            "fold",
            "features",
            "reward",
            "cost_bps",
            "borrow_bps",
            "allow_short",
            "fill",
            "episode_rows",
            "train_share",
            "validation_share",
        ),
        defaults={
            "max_steps": 300_000,
            "policy": "linear",
            "discount": 0.9,
            "learning_rate": 0.01,
            "normalise_observations": False,
        },
    ),
}


def make_environment(config: "TrainConfig", prices: "PriceSeries | None" = None, num_envs: int | None = None) -> "VectorEnv":
    """The task's vectorised environment, with observations [N, D] and actions as a Policy gives them.

    Those are 0, 1, … [N] for Discrete actions, and for a Box numbers [N, A] in units of half its width (`Policy.choose`).
    Raises BadInput where its spaces are not a Box of observations and Discrete or Box actions, or it cannot be built.
    """
    from gymnasium import spaces
    from gymnasium.wrappers.vector import FlattenObservation, TransformAction

    env = find_task(config.task).make(config, prices, num_envs or config.num_envs)
    seen, done = env.single_observation_space, env.single_action_space
    if not isinstance(seen, spaces.Box) or not isinstance(done, (spaces.Discrete, spaces.Box)):
        env.close()
        raise BadInput(
            f"{config.task} has {type(seen).__name__} observations and {type(done).__name__} actions: choose a task with Box"
            " observations and Discrete or Box actions, such as CartPole-v1 or Pendulum-v1."
        )
    if len(seen.shape) != 1:
        env = FlattenObservation(env)
    units = units_of(done)
    return env if units == AS_ANSWERED else TransformAction(env, units)


def find_task(name: str) -> Task:
    """The row of a named task, or one made up for any other Gymnasium id. Raises BadInput for an unknown one."""
    if name in TASKS:
        return TASKS[name]
    import gymnasium

    try:
        spec = _specification(name)
    except (gymnasium.error.Error, ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(
            f"There is no task {name!r} ({reason}): give one of {', '.join(TASKS)}, or the id of an installed"
            " Gymnasium environment, with module:Name-v0 where a module has to be imported for it."
        ) from None
    return Task(title=spec.id, make=_make_gymnasium, solved_at=spec.reward_threshold, continuous=None)


def _specification(name: str) -> "EnvSpec":
    """What Gymnasium knows of an id, after importing the module that a `module:Name-v0` names.

    Raises ImportError where the module cannot be imported, Gymnasium's own errors where it does not know the name.
    """
    import gymnasium

    module, _, name = name.rpartition(":")
    if module:
        try:
            import_module(module)
        except (Exception, SystemExit) as error:  # whatever a module that a person names does when it is run
            raise ImportError(f"the module {module} cannot be imported: {type(error).__name__}: {error}") from error
    return gymnasium.spec(name)
