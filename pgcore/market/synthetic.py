"""Synthetic markets whose truth is known: what the best possible policy earns on them can be worked out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pgcore.market.prices import FloatArray, PriceError, PriceSeries

ROWS = (30, 100_000)
START_PRICE = 100.0
FIRST_DAY = np.datetime64("2000-01-03")
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class Parameter:
    """One number that shapes a market, with inclusive bounds."""

    name: str
    label: str
    help: str
    default: float
    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True)
class Chances:
    """All that can be known when the next position is chosen, as a Markov chain, for the best policy to be worked out of.

    At a time t of the `period` and in state s, the log return until the next close is normal with mean `drift[t, s]` and
    deviation `noise`; the next state is s' with chance `transition[s, s']`. `state` is the state at each close [T].
    """

    drift: FloatArray
    noise: float
    transition: FloatArray
    state: NDArray[np.int64]


Facts = Mapping[str, float | FloatArray]
Made = tuple[FloatArray, Chances, Facts]
Maker = Callable[[np.random.Generator, int, Mapping[str, float]], Made]


@dataclass(frozen=True)
class Market:
    """A row of the table. `make(random, rows, parameters)` gives log prices [T], what can be known of them, and the facts."""

    title: str
    about: str
    best: str
    parameters: tuple[Parameter, ...]
    make: Maker


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of a synthetic market.

    `best_policy` says in words what the best policy does; `best_policy_profit` is the expectation of log(final / initial
    equity) of the policy that knows the truth but not the noise to come, after costs, found by backward induction over
    `method`. `positions` [T] is what it holds from each close to the next on this history: 1 long, 0 flat, −1 short.
    """

    facts: Facts
    best_policy: str
    best_policy_profit: float
    positions: NDArray[np.int64]
    method: str


@dataclass(frozen=True, eq=False)
class SyntheticMarket:
    """A history and the truth behind it."""

    series: PriceSeries
    truth: Truth


def generate(
    kind: str, seed: int = 0, rows: int = 5000, cost_bps: float = 5.0, allow_short: bool = True, **parameters: float
) -> SyntheticMarket:
    """A market of the table MARKETS; the same arguments give the same prices. Costs and shorts matter to the truth alone.

    Raises PriceError for a kind, a parameter or a value that is not in the table.
    """
    if kind not in MARKETS:
        raise PriceError(f"There is no synthetic market {kind!r}: choose one of {', '.join(MARKETS)}.")
    if seed < 0:
        raise PriceError(f"The seed cannot be {seed}: give a whole number from 0 on.")
    if not ROWS[0] <= rows <= ROWS[1]:
        raise PriceError(f"A synthetic market cannot have {rows:,} rows: give between {ROWS[0]:,} and {ROWS[1]:,}.")
    market = MARKETS[kind]
    values = _checked(market, parameters)
    log_price, chances, facts = market.make(np.random.default_rng([seed, 1]), rows, values)
    profit, positions = best_policy(chances, rows, cost_bps, allow_short)
    series = _bars(np.random.default_rng([seed, 2]), log_price, chances.noise, f"{market.title}, seed {seed}")
    states, phases = len(chances.transition), len(chances.drift)
    method = f"{states} states × {phases} phases, {cost_bps:g} bp, {'with' if allow_short else 'without'} shorts"
    return SyntheticMarket(series, Truth(facts, market.best, profit, positions, method))


def _checked(market: Market, given: Mapping[str, float]) -> dict[str, float]:
    known = {parameter.name: parameter for parameter in market.parameters}
    for name, value in given.items():
        if name not in known:
            raise PriceError(f"The market {market.title!r} has no parameter {name!r}: it has {', '.join(known)}.")
        low, high = known[name].low, known[name].high
        if not low <= value <= high:
            raise PriceError(f"{known[name].label} cannot be {value:g}: give a number between {low:g} and {high:g}.")
    return {name: float(given.get(name, parameter.default)) for name, parameter in known.items()}


def _bars(random: np.random.Generator, log_price: FloatArray, noise: float, name: str) -> PriceSeries:
    """Closes as they are; an open near the close before, highs and lows a little outside. None of it tells of the future."""
    rows = log_price.size
    close = START_PRICE * np.exp(log_price)
    before = np.concatenate([close[:1], close[:-1]])
    open_ = before * np.exp(random.normal(0.0, 0.2 * noise, rows))
    high = np.maximum(open_, close) * np.exp(np.abs(random.normal(0.0, 0.3 * noise, rows)))
    low = np.minimum(open_, close) * np.exp(-np.abs(random.normal(0.0, 0.3 * noise, rows)))
    volume = np.round(1e6 * np.exp(random.normal(0.0, 0.3, rows)))
    dates = np.busday_offset(FIRST_DAY, list(range(rows)))
    return PriceSeries(dates, open_, high, low, close, volume, name)


def best_policy(chances: Chances, rows: int, cost_bps: float, allow_short: bool) -> tuple[float, NDArray[np.int64]]:
    """Expected log growth of the best policy over T rows, starting flat, and its positions [T] on the path of states.

    Backward induction: V_t(s, p) = max_a g_t(s, a) + log(1 − c |a − p|) + Σ_s' P(s, s') V_{t+1}(s', a), where g is the expected
    log growth of position a in one row. Once a whole period adds the same to every state, the rest is a multiplication.
    """
    actions = np.array([0, 1, -1] if allow_short else [0, 1])  # flat first, so that it wins a tie
    cost = np.log1p(-cost_bps / 1e4 * np.abs(actions[:, None] - actions[None, :]))  # [position, action]
    growth = _growth(chances, actions)
    period, states, _ = growth.shape
    value = np.zeros((states, actions.size))
    policy = np.zeros((period, states, actions.size), np.int64)
    steps, at_last_period = rows - 1, value
    remaining = steps
    while remaining:
        t = (remaining - 1) % period
        ahead = growth[t] + chances.transition @ value
        options = ahead[:, None, :] + cost[None, :, :]
        policy[t], value = options.argmax(axis=2), options.max(axis=2)
        remaining -= 1
        if t == 0:
            gained = value - at_last_period
            if remaining and np.ptp(gained) < 1e-12 * max(1.0, abs(float(gained.max()))):
                value = value + gained.mean() * (remaining / period)
                break
            at_last_period = value
    flat = 0
    positions = np.zeros(rows, np.int64)
    held = flat
    for t in range(steps):
        held = policy[t % period, chances.state[t], held]
        positions[t] = actions[held]
    positions[-1] = actions[held]
    return float(value[chances.state[0], flat]), positions


def _growth(chances: Chances, actions: NDArray[np.int64]) -> FloatArray:
    """E log(1 + a (eʳ − 1)) for r normal, by Gauss–Hermite quadrature; [period, state, action]."""
    simple = np.expm1(chances.drift[..., None] + chances.noise * _NODES)
    short = np.log(np.maximum(1.0 - simple, 1e-9)) @ _WEIGHTS
    by_action = {1: chances.drift, 0: np.zeros_like(chances.drift), -1: short}
    return np.stack([by_action[int(action)] for action in actions], axis=-1)


def _random_walk(random: np.random.Generator, rows: int, given: Mapping[str, float]) -> Made:
    """x_{t+1} = x_t + m + σ ε."""
    drift = given["drift"] / 252
    steps = random.normal(drift, given["noise"], rows - 1)
    chances = Chances(np.full((1, 1), drift), given["noise"], np.ones((1, 1)), np.zeros(rows, np.int64))
    return np.concatenate([[0.0], np.cumsum(steps)]), chances, {"drift": drift}


def _mean_reversion(random: np.random.Generator, rows: int, given: Mapping[str, float]) -> Made:
    """Ornstein–Uhlenbeck on the log price, exactly discretised: x_{t+1} = φ x_t + s ε, φ = e^{−θ}, s² = σ² (1 − φ²) / 2θ."""
    decay = np.exp(-given["speed"])
    noise = given["noise"] * np.sqrt((1 - decay**2) / (2 * given["speed"]))
    spread = noise / np.sqrt(1 - decay**2)
    x = np.empty(rows)
    x[0] = spread * random.normal()
    shocks = noise * random.normal(size=rows - 1)
    for t in range(rows - 1):
        x[t + 1] = decay * x[t] + shocks[t]
    grid = np.linspace(-4.5 * spread, 4.5 * spread, 241)
    chances = Chances(
        ((decay - 1) * grid)[None, :],
        float(noise),
        _normal_transition(tuple(grid), float(decay), float(noise)),
        _nearest(grid, x),
    )
    return x, chances, {"mean": START_PRICE, "decay": float(decay), "spread": float(spread)}


def _regimes(random: np.random.Generator, rows: int, given: Mapping[str, float]) -> Made:
    """Drift +m or −m, changing sides with chance 1 / duration a row."""
    change = 1 / given["duration"]
    first = random.integers(2)
    changes = random.random(rows - 1) < change
    regime = (first + np.concatenate([[0], np.cumsum(changes)])) % 2  # 1 rises; the regime at a close rules the next step
    drift = np.where(regime == 1, given["drift"], -given["drift"])
    steps = drift[:-1] + given["noise"] * random.normal(size=rows - 1)
    transition = np.array([[1 - change, change], [change, 1 - change]])
    chances = Chances(np.array([[-given["drift"], given["drift"]]]), given["noise"], transition, regime.astype(np.int64))
    return np.concatenate([[0.0], np.cumsum(steps)]), chances, {"regime": regime.astype(np.float64)}


def _sine(random: np.random.Generator, rows: int, given: Mapping[str, float]) -> Made:
    """x_t = A sin(2πt / P) + σ ε_t: the noise is on the level, so a price below its wave tends to rise, too."""
    period = int(given["period"])
    wave = given["amplitude"] * np.sin(2 * np.pi * np.arange(rows + 1) / period)
    noise = given["noise"] * random.normal(size=rows)
    grid = given["noise"] * np.linspace(-4.5, 4.5, 91)
    weights = _normal_transition(tuple(grid), 0.0, given["noise"])
    rise = np.diff(wave)[:period]
    chances = Chances(rise[:, None] - grid[None, :], given["noise"], weights, _nearest(grid, noise))
    return wave[:-1] + noise, chances, {"wave": START_PRICE * np.exp(wave[:-1])}


@lru_cache(maxsize=8)
def _normal_transition(grid: tuple[float, ...], decay: float, noise: float) -> FloatArray:
    """Chances of moving between points of an even grid by x' = φ x + s ε, [S, S]; rows sum to 1."""
    points = np.array(grid)
    density = np.exp(-0.5 * ((points[None, :] - decay * points[:, None]) / noise) ** 2)
    return density / density.sum(axis=1, keepdims=True)


def _nearest(grid: FloatArray, values: FloatArray) -> NDArray[np.int64]:
    """The index of the point of an even grid closest to each value."""
    return np.clip(np.rint((values - grid[0]) / (grid[1] - grid[0])), 0, grid.size - 1).astype(np.int64)


def _noise(default: float) -> Parameter:
    return Parameter("noise", "Noise", "Standard deviation of the log return of a day.", default, 0.001, 0.1, "a day")


MARKETS: Mapping[str, Market] = {
    "random-walk": Market(
        "Random walk",
        "Every step is drawn afresh: the past says nothing of the next step. Whoever finds a pattern here has found noise.",
        "Nothing is to be known but the drift: stay long if it is positive, short (or out of the market) if it is negative.",
        (Parameter("drift", "Drift", "Mean log return of a year of 252 days.", 0.0, -1.0, 1.0, "a year"), _noise(0.01)),
        _random_walk,
    ),
    "mean-reversion": Market(
        "Mean reversion",
        "An Ornstein–Uhlenbeck process on the log price: the further from its mean, the harder it is pulled back.",
        "Knowing the mean: long well below it, short (or flat) well above, and no trade in a band between that costs decide.",
        (
            Parameter("speed", "Speed", "Share of the distance to the mean that a day takes back.", 0.05, 0.001, 1.0, "a day"),
            _noise(0.02),
        ),
        _mean_reversion,
    ),
    "trend-regimes": Market(
        "Trend regimes",
        "The drift is up or down and stays so for a while: a Markov chain with two states that no one sees.",
        "Knowing the regime: long while it rises, short (or flat) while it falls. Who sees prices alone cannot earn as much.",
        (
            Parameter(
                "drift", "Drift", "Mean log return of a day: plus in one regime, minus in the other.", 0.003, 0.0, 0.02, "a day"
            ),
            Parameter("duration", "Duration", "How long a regime lasts on average.", 100.0, 2.0, 1000.0, "days"),
            _noise(0.01),
        ),
        _regimes,
    ),
    "sine": Market(
        "Sine with noise",
        "A wave in the log price with independent noise on top: the easiest market there is.",
        "Knowing the wave: long where it rises or the price stands below it, short (or flat) where it falls or stands above.",
        (
            Parameter("amplitude", "Amplitude", "Height of the wave, as a log return.", 0.1, 0.0, 1.0),
            Parameter("period", "Period", "Days from crest to crest.", 100.0, 4.0, 1000.0, "days"),
            Parameter("noise", "Noise", "Standard deviation of the log price around the wave.", 0.005, 0.0005, 0.1),
        ),
        _sine,
    ),
}


PREFIX = "synthetic:"


def market_key(kind: str, seed: int, rows: int, parameters: Mapping[str, float]) -> str:
    """The name under which a config knows a market, such as synthetic:mean-reversion,seed=0,rows=5000,speed=0.05."""
    numbers = {"seed": seed, "rows": rows, **parameters}
    return PREFIX + ",".join([kind, *(f"{name}={value:.10g}" for name, value in numbers.items())])


def read_key(key: str) -> tuple[str, dict[str, float]]:
    """The kind and the numbers that a key names. Raises PriceError."""
    kind, *settings = key.removeprefix(PREFIX).split(",")
    numbers: dict[str, float] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            numbers[name.strip()] = number = float(text)
            if not math.isfinite(number):
                raise ValueError(text)
        except ValueError:
            raise PriceError(f"{setting!r} in {key!r} is no setting: write name=number, such as seed=0.") from None
    return kind.strip(), numbers


def market_of(key: str, cost_bps: float = 5.0, allow_short: bool = True) -> SyntheticMarket:
    """The market that a key names; what it leaves out is as in the table. Raises PriceError."""
    kind, numbers = read_key(key)
    seed, rows = (int(numbers.pop(name, default)) for name, default in (("seed", 0), ("rows", 5000)))
    if kind in MARKETS:
        numbers = _checked(MARKETS[kind], numbers)
    return generate(kind, seed, rows, cost_bps, allow_short, **numbers)
