"""Trading one instrument as a Gymnasium environment, single and vectorised.

Importing this module registers it: `gymnasium.make("pgcore.market.env:pgcore/Stocks-v0", prices=series, window=20)`, or
`gymnasium.make_vec` of the same with num_envs.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from pgcore.errors import BadInput
from pgcore.market.accounting import FILLS, HOLD, borrow_due, exposures, trade
from pgcore.market.features import FEATURES, LIMIT, trailing_volatility
from pgcore.market.parts import Part, split
from pgcore.market.prices import PriceSeries, load_sample
from pgcore.market.rewards import REWARDS, Day

if TYPE_CHECKING:
    from pgcore.config import TrainConfig

ENV_ID = "pgcore/Stocks-v0"
BASIS_POINT = 1e-4

Flags = NDArray[np.bool_]
Stepped = tuple[NDArray[np.float32], NDArray[np.float64], Flags, Flags, dict[str, Any]]


@dataclass
class Traders:
    """Where N traders stand, all [N]: the row, the episode's last, and what is theirs; `memory` [M, N] is the reward's."""

    row: NDArray[np.int64]
    last: NDArray[np.int64]
    cash: NDArray[np.float64]
    shares: NDArray[np.float64]
    equity: NDArray[np.float64]
    memory: NDArray[np.float64]
    ended: Flags


class StocksVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.integer], NDArray[Any]]):
    """N traders over one price history, each at its own place, in step.

    Action 0 buys (long with the whole equity), 1 sells (flat, or short where allowed), 2 holds. A decision at the close of
    row t sees prices up to t, is filled at that close (or the next open) and is paid by the close of t + 1. An episode
    starts flat with equity 1. Its end, or the end of the history, truncates; equity of 0 or less terminates.
    Autoreset is NEXT_STEP: the step after an ending ignores its action and returns the next episode's first observation.

    prices: a PriceSeries; the built-in S&P 500 sample where none is given.
    window: rows of the moving average; the first decision can fall on row `window`.
    features, reward: a name in FEATURES and in REWARDS.
    cost_bps: basis points of the value of each trade; borrow_bps: of the value of a short, a year.
    allow_short: whether sell goes short; fill: "close" or "next-open".
    episode_rows: decisions in an episode, which starts at a random row (drawn from np_random) where there is room;
    None, or more than there are: the whole range.
    start, stop: decisions fall on rows start … stop − 2 and stop − 1 pays the last; None: `window` and the end.

    Raises BadInput for an unknown name, and where window, start and stop leave no decision.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        num_envs: int = 1,
        prices: PriceSeries | None = None,
        window: int = 20,
        features: str = "scale-free",
        reward: str = "pnl",
        cost_bps: float = 5.0,
        borrow_bps: float = 50.0,
        allow_short: bool = False,
        fill: str = "close",
        episode_rows: int | None = None,
        start: int | None = None,
        stop: int | None = None,
    ):
        prices = load_sample("sp500") if prices is None else prices
        for kind, name, known in (("features", features, FEATURES), ("reward", reward, REWARDS), ("fill", fill, FILLS)):
            if name not in known:
                raise BadInput(f"There is no {kind} {name!r}: give one of {', '.join(known)}.")
        self._first, self._end = _decision_rows(len(prices), window, start, stop)
        self._episode_rows = min(episode_rows or len(prices), self._end - 1 - self._first)
        self._features, self._reward = FEATURES[features], REWARDS[reward]
        self._table = self._features.table(prices.close, window)
        self._close, self._volatility = prices.close, trailing_volatility(prices.close, window)
        self._next_open = np.roll(prices.open, -1) if fill == "next-open" else None
        self._exposures = exposures(allow_short)
        self._cost = cost_bps * BASIS_POINT
        self._borrow = borrow_bps * BASIS_POINT / prices.periods_per_year if allow_short else 0.0

        self.num_envs = num_envs
        self.single_action_space = spaces.Discrete(3)
        self.single_observation_space = spaces.Box(-LIMIT, LIMIT, (self._table.shape[1],), np.float32)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._at = self._begin(np.full(num_envs, self._first))

    @property
    def row(self) -> NDArray[np.int64]:
        """The row of the history each trader stands on, [N]."""
        return self._at.row.copy()

    @property
    def equity(self) -> NDArray[np.float64]:
        """What each trader owns at the close of its row, in units of the start, [N]."""
        return self._at.equity.copy()

    @property
    def position(self) -> NDArray[np.float64]:
        """−1 short, 0 flat, 1 long, [N]."""
        return np.sign(self._at.shares)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start all episodes anew, on row `options["row"]` (one, or one a trader) where given. Raises BadInput outside."""
        super().reset(seed=seed)
        given = (options or {}).get("row")
        self._at = self._begin(self._draw(self.num_envs) if given is None else self._check_rows(given))
        return self._observe(), {}

    def step(self, actions: NDArray[np.integer]) -> Stepped:
        """Trade a row on; actions [N]. See the class for what an action does and pays."""
        if np.shape(actions) != (self.num_envs,):
            raise BadInput(f"{self.num_envs} traders need as many actions, not an array of shape {np.shape(actions)}.")
        at = self._at
        restarting = at.ended.nonzero()[0]
        if restarting.size:
            self._restart(restarting)
            actions = np.where(at.ended, HOLD, actions)
        target = np.where(actions == HOLD, np.sign(at.shares), self._exposures.take(actions))

        row = at.row + 1
        price, next_price = self._close.take(at.row), self._close.take(row)
        fill = price if self._next_open is None else self._next_open.take(at.row)
        cash, shares, _ = trade(at.cash, at.shares, target, fill, self._cost)
        if self._borrow:
            cash -= borrow_due(shares, next_price, self._borrow)
        equity = np.maximum(cash + shares * next_price, 0.0)

        day = Day(actions, price, next_price, at.equity, equity, self._volatility.take(at.row), at.memory)
        reward = self._reward.pay(day)
        memory = at.memory if self._reward.remember is None else self._reward.remember(day)
        if restarting.size:
            reward[restarting] = 0.0
            memory[:, restarting] = self._reward.start(self._volatility[row[restarting]])
        terminated, truncated = equity <= 0, row >= at.last
        self._at = Traders(row, at.last, cash, shares, equity, memory, terminated | truncated)
        return self._observe(), reward, terminated, truncated, {}

    def get_state(self) -> dict[str, Any]:
        """All that decides what comes next, as arrays and JSON-able values: `set_state` continues bit for bit."""
        state: dict[str, Any] = {field.name: getattr(self._at, field.name).copy() for field in fields(Traders)}
        return {**state, "np_random": self.np_random.bit_generator.state, "np_random_seed": self.np_random_seed}

    def set_state(self, state: dict[str, Any]) -> None:
        """Stand exactly where `get_state` was taken, in an environment made with the same arguments."""
        self._at = Traders(**{field.name: np.array(state[field.name]) for field in fields(Traders)})
        self.np_random.bit_generator.state = state["np_random"]
        self._np_random_seed = state["np_random_seed"]

    def _observe(self) -> NDArray[np.float32]:
        return self._features.observe(self._table, self._at.row, np.sign(self._at.shares))

    def _draw(self, count: int) -> NDArray[np.int64]:
        return self.np_random.integers(self._first, self._end - self._episode_rows, size=count)

    def _begin(self, row: NDArray[np.int64]) -> Traders:
        count = len(row)
        return Traders(
            row=row,
            last=np.minimum(row + self._episode_rows, self._end - 1),
            cash=np.ones(count),
            shares=np.zeros(count),
            equity=np.ones(count),
            memory=self._reward.start(self._volatility[row]),
            ended=np.zeros(count, dtype=bool),
        )

    def _restart(self, lanes: NDArray[np.intp]) -> None:
        """Put lanes one row before their next episode, flat: a row of holding then leads to its first observation."""
        at, row = self._at, self._draw(len(lanes))
        at.row[lanes], at.last[lanes] = row - 1, row + self._episode_rows
        at.cash[lanes], at.shares[lanes], at.equity[lanes] = 1.0, 0.0, 1.0

    def _check_rows(self, given: ArrayLike) -> NDArray[np.int64]:
        row = np.broadcast_to(np.asarray(given, dtype=np.int64), (self.num_envs,)).copy()
        if row.min() < self._first or row.max() > self._end - 2:
            raise BadInput(f"An episode can start on rows {self._first} to {self._end - 2}, not {row.tolist()}.")
        return row


def _decision_rows(rows: int, window: int, start: int | None, stop: int | None) -> tuple[int, int]:
    """The first row with a decision and the row behind the last price, checked."""
    first, end = window if start is None else start, rows if stop is None else stop
    if window < 1 or first < window:
        raise BadInput(
            f"A moving average over {window} rows cannot be had on row {first}: start at row {max(window, 1)} or later."
        )
    if end > rows or end - first < 2:
        raise BadInput(
            f"A moving average over {window} rows and {rows} rows of prices leave no decision between rows {first} and {end}:"
            f" make the window smaller than {max(rows - 1, 2)} or take a longer history."
        )
    return first, end


class StocksEnv(gymnasium.Env[NDArray[np.float32], np.integer]):
    """One trader: a StocksVectorEnv of width 1, and with its arguments, behind Gymnasium's single interface.

    `info` holds the `row` of the history and the trader's `equity` and `position` at its close.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        prices: PriceSeries | None = None,
        window: int = 20,
        features: str = "scale-free",
        reward: str = "pnl",
        cost_bps: float = 5.0,
        borrow_bps: float = 50.0,
        allow_short: bool = False,
        fill: str = "close",
        episode_rows: int | None = None,
        start: int | None = None,
        stop: int | None = None,
    ):
        self._lane = StocksVectorEnv(
            1, prices, window, features, reward, cost_bps, borrow_bps, allow_short, fill, episode_rows, start, stop
        )
        self.action_space = self._lane.single_action_space
        self.observation_space = self._lane.single_observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode, at `options={"row": …}` where given. Raises BadInput outside the range."""
        super().reset(seed=seed)
        self._lane.np_random = self.np_random
        obs, _ = self._lane.reset(options=options)
        return obs[0], self._info()

    def step(self, action: np.integer | int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Trade a row on. See StocksVectorEnv for what an action does and pays. Raises BadInput for any but 0, 1 and 2."""
        if not self.action_space.contains(action):
            raise BadInput(f"There is no action {action!r}: give 0 (buy), 1 (sell) or 2 (hold).")
        obs, reward, terminated, truncated, _ = self._lane.step(np.array([action]))
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), self._info()

    def _info(self) -> dict[str, Any]:
        lane = self._lane
        return {"row": int(lane.row[0]), "equity": float(lane.equity[0]), "position": int(lane.position[0])}


def training_env(config: "TrainConfig", prices: PriceSeries, num_envs: int, part: Part | None = None) -> StocksVectorEnv:
    """`num_envs` traders at random places of the training part (or of `part`) and never beyond it. Raises BadInput."""
    part = split(config, prices).train if part is None else part
    return StocksVectorEnv(
        num_envs,
        prices=prices,
        window=config.window,
        features=config.features,
        reward=config.reward,
        cost_bps=config.cost_bps,
        borrow_bps=config.borrow_bps,
        allow_short=config.allow_short,
        fill=config.fill,
        episode_rows=config.episode_rows,
        start=part.start,
        stop=part.stop,
    )


gymnasium.register(ENV_ID, entry_point="pgcore.market.env:StocksEnv", vector_entry_point="pgcore.market.env:StocksVectorEnv")
