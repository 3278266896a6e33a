"""The tasks an agent can learn: how each makes its vectorised environment, and what is known of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgcore.errors import BadInput

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from pgcore.config import TrainConfig
    from pgcore.market.prices import PriceSeries

Maker = Callable[["TrainConfig", "PriceSeries | None", int], "VectorEnv"]


@dataclass(frozen=True)
class Task:
    """A row of the table. `make(config, prices, num_envs)` builds the environment, in NEXT_STEP autoreset mode.

    `solved_at` is the mean return of 100 episodes that counts as solved, `actions` the names of discrete actions in
    order. `settings` are the fields of TrainConfig that matter to this task beyond the common ones; `defaults` the values
    it wants where the person chose none, `estimator_defaults` those that hold for one estimator.
    """

    title: str
    make: Maker
    solved_at: float | None = None
    actions: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)
    estimator_defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def _make_gymnasium(config: "TrainConfig", prices: "PriceSeries | None", num_envs: int) -> "VectorEnv":
    """The task's own vector implementation where it has one that resets in NEXT_STEP mode, else Gymnasium's wrapper."""
    import gymnasium
    from gymnasium.vector import AutoresetMode

    has_own = gymnasium.spec(config.task).vector_entry_point is not None
    env = gymnasium.make_vec(config.task, num_envs, vectorization_mode="vector_entry_point" if has_own else "sync")
    if env.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
        env.close()
        env = gymnasium.make_vec(config.task, num_envs, vectorization_mode="sync")
    return env


def _make_stocks(config: "TrainConfig", prices: "PriceSeries | None", num_envs: int) -> "VectorEnv":
    """Many episodes over one price array, each at a random place in the training part."""
    from pgcore.market.env import training_env

    if prices is None:
        raise BadInput("The task stocks needs prices: name a sample, upload a CSV or download a ticker.")
    return training_env(config, prices, num_envs)


TASKS: Mapping[str, Task] = {
    "CartPole-v1": Task(
        title="CartPole",
        make=_make_gymnasium,
        solved_at=475.0,
        actions=("left", "right"),
    ),
    "stocks": Task(
        title="Stocks",
        make=_make_stocks,
        actions=("buy", "sell", "hold"),
        settings=(
            "prices",
            "window",
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
        defaults={"max_steps": 300_000},
    ),
}


def make_environment(config: "TrainConfig", prices: "PriceSeries | None" = None, num_envs: int | None = None) -> "VectorEnv":
    """The task's vectorised environment, with flat observations and actions clipped to the bounds of a Box.

    Raises BadInput where its spaces are not a Box of observations and Discrete or Box actions.
    """
    from gymnasium import spaces
    from gymnasium.wrappers.vector import ClipAction, FlattenObservation

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
    return ClipAction(env) if isinstance(done, spaces.Box) else env


def find_task(name: str) -> Task:
    """The row of a named task, or one made up for any other Gymnasium id. Raises BadInput for an unknown one."""
    if name in TASKS:
        return TASKS[name]
    import gymnasium

    try:
        spec = gymnasium.spec(name)
    except (gymnasium.error.Error, ModuleNotFoundError, ValueError) as error:
        raise BadInput(
            f"There is no task {name!r} ({error}): give one of {', '.join(TASKS)}, or the id of an installed"
            " Gymnasium environment, with module:Name-v0 where a module has to be imported for it."
        ) from None
    return Task(title=spec.id, make=_make_gymnasium, solved_at=spec.reward_threshold)
