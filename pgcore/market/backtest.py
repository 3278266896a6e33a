"""Play a policy through a part of a history once, in order, and account for it beside what needs no skill."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pgcore.errors import BadInput
from pgcore.market.accounting import ACTIONS, HOLD, Spells, equity_of, positions, simulate, spells
from pgcore.market.accounts import Backtest
from pgcore.market.features import FEATURES
from pgcore.market.luck import sharpe_difference
from pgcore.market.parts import Part, split
from pgcore.market.prices import PriceSeries, moving_average
from pgcore.market.statistics import METRICS, measure
from pgcore.progress import Progress, unheard

if TYPE_CHECKING:
    from pgcore.config import TrainConfig

FloatArray = NDArray[np.float64]

RANDOM_POLICIES = 200
RANDOM_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BASELINES = ("buy_and_hold", "moving_average_rule", "cash")
COLLAPSED = 0.99
BASIS_POINT = 1e-4
POSITIONS = (-1.0, 0.0, 1.0)
ASKED_AT_ONCE = 2**18  # observations: what a policy makes of one may be a hundred times as large
MOST_SHOWN = 4_000
POSITIONS_AT_ONCE = 2**20

Number = TypeVar("Number", bound=np.number)


class Probabilities(Protocol):
    """What a backtest asks of a policy: π(·|s) [B, 3] for observations [B, D]."""

    def probabilities(self, obs: NDArray[np.floating]) -> NDArray[np.floating]: ...


@dataclass(frozen=True, eq=False)
class Record:
    """What a policy saw and did on the R decisions of a part: obs [R, D], probabilities [R, 3], actions and position [R]."""

    part: Part
    obs: NDArray[np.float32]
    probabilities: FloatArray
    actions: NDArray[np.int64]
    position: FloatArray

    def action_share(self) -> dict[str, float]:
        """How often each action was taken."""
        share = np.bincount(self.actions, minlength=len(ACTIONS)) / len(self.actions)
        return dict(zip(ACTIONS, share.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Comparison:
    """The agent beside what needs no skill, all from one pass and net of the same costs.

    `random` [K, 200] is the equity of random policies on the rows `shown` [K] of the part: all of them, or 4,000 evenly
    spread ones of a longer part, the first and the last among them.
    """

    agent: Backtest
    buy_and_hold: Backtest
    moving_average_rule: Backtest
    cash: Backtest
    shown: NDArray[np.int64]
    random: FloatArray
    allow_short: bool

    def beats_random(self) -> float:
        """Share of the random policies that end with less than the agent: about even without skill; a tie is no win."""
        return float(np.mean(self.random[-1] < self.agent.equity[-1] * (1.0 - 1e-12)))

    def sharpe_interval(self, seed: int = 0) -> tuple[float, float]:
        """The 95 % interval of the yearly Sharpe ratio less that of buy-and-hold: see `sharpe_difference`."""
        return sharpe_difference(self.agent.returns, self.buy_and_hold.returns, self.agent.periods_per_year, seed=seed)

    def band(self, quantiles: Sequence[float]) -> FloatArray:
        """Quantiles of the random policies on the rows shown, [Q, K], between two of them in proportion."""
        ranked, place = np.sort(self.random, axis=1), np.array(quantiles) * (self.random.shape[1] - 1)
        below = place.astype(np.int64)
        lower, upper = ranked[:, below], ranked[:, np.minimum(below + 1, self.random.shape[1] - 1)]
        return (lower + (place - below) * (upper - lower)).T

    def curves(self) -> dict[str, Any]:
        """Dates, closes, equity on the rows shown [K], quantiles of the random policies: rounded to what a chart shows."""
        shown, band = self.shown, self.band(RANDOM_QUANTILES)
        return {
            "dates": self.agent.dates[shown].astype("datetime64[s]").astype(str).tolist(),
            "close": self.agent.close[shown].tolist(),
            **{name: getattr(self, name).equity[shown].round(6).tolist() for name in ("agent", *BASELINES)},
            "random": {f"{q:g}": row.round(6).tolist() for q, row in zip(RANDOM_QUANTILES, band, strict=True)},
        }


def play(
    policy: Probabilities, config: "TrainConfig", prices: PriceSeries, part: Part, *, greedy: bool = True, seed: int = 0
) -> Record:
    """Let a policy trade through `part` from flat, taking its most probable actions, or drawn ones where not `greedy`.

    The market does not answer to the trader, so what the policy would do on every row from every position is asked in one
    batch; following the positions through is then a walk along that table.
    """
    features = FEATURES[config.features]
    table = features.table(prices.close, config.window)
    rows = np.arange(part.start, part.stop - 1)
    seen = np.stack([features.observe(table, rows, np.full(len(rows), held)) for held in POSITIONS], axis=1)
    probability = _ask(policy, seen.reshape(-1, seen.shape[-1])).reshape(len(rows), len(POSITIONS), len(ACTIONS))
    if greedy:
        choice = probability.argmax(axis=2)
    else:
        drawn = np.random.default_rng(seed).random((len(rows), 1, 1)) * probability.sum(axis=2, keepdims=True)
        choice = (probability.cumsum(axis=2)[..., :-1] <= drawn).sum(axis=2)
    held, path = POSITIONS.index(0.0), []
    after = [POSITIONS.index(1.0), POSITIONS.index(-1.0 if config.allow_short else 0.0)]
    for options in choice.tolist():
        path.append(held)
        action = options[held]
        held = held if action == HOLD else after[action]
    at = np.arange(len(rows))
    actions = choice[at, path]
    return Record(part, seen[at, path], probability[at, path], actions, positions(actions, config.allow_short))


def _ask(policy: Probabilities, obs: NDArray[np.float32]) -> FloatArray:
    """π(·|s) [B, 3] for observations [B, D], in batches that bound what a network with wide layers keeps of them."""
    answers = np.empty((len(obs), len(ACTIONS)))
    for at in range(0, len(obs), ASKED_AT_ONCE):
        answers[at : at + ASKED_AT_ONCE] = policy.probabilities(obs[at : at + ASKED_AT_ONCE])
    return answers


def reprice(actions: NDArray[np.integer], config: "TrainConfig", prices: PriceSeries, part: Part) -> Backtest:
    """The accounts of recorded actions [R] at the costs, fill and shorting of `config`: change these, nothing is retrained."""
    return account(positions(np.asarray(actions), config.allow_short)[:, None], config, prices, part)[0]


def account(target: FloatArray, config: "TrainConfig", prices: PriceSeries, part: Part) -> list[Backtest]:
    """The accounts of N exposures [R, N] over a part, each from flat and at the costs of `config`."""
    dates = prices.dates[part.start : part.stop]
    close, fill, cost, borrow = _terms(config, prices, part)
    filled = dates[1:] if config.fill == "next-open" else dates[:-1]
    ledger = simulate(target, close, fill, cost, borrow)
    return [
        Backtest(
            dates=dates,
            close=close,
            equity=ledger.equity[:, lane],
            position=ledger.position[:, lane],
            filled=filled,
            fill=fill,
            traded=ledger.traded[:, lane],
            paid=ledger.paid[:, lane],
            flat_value=ledger.flat_value[:, lane],
            cost=cost,
            periods_per_year=prices.periods_per_year,
        )
        for lane in range(target.shape[1])
    ]


def _terms(config: "TrainConfig", prices: PriceSeries, part: Part) -> tuple[FloatArray, FloatArray, float, float]:
    """Closes [T] and fills [R] of a part, cost as a share of the value traded, borrow cost as a share of a short a row."""
    close, opening = prices.close[part.start : part.stop], prices.open[part.start : part.stop]
    fill = opening[1:] if config.fill == "next-open" else close[:-1]
    return close, fill, config.cost_bps * BASIS_POINT, config.borrow_bps * BASIS_POINT / prices.periods_per_year


def compare(
    actions: NDArray[np.integer],
    config: "TrainConfig",
    prices: PriceSeries,
    part: Part,
    *,
    seed: int = 0,
    most_shown: int = MOST_SHOWN,
) -> Comparison:
    """The accounts of recorded actions [R] beside buy-and-hold, cash, the moving-average rule and a band of random policies.

    The rule is long above MA_n, flat or short below it. The random policies see nothing: see `shuffled_positions`.
    """
    held = positions(np.asarray(actions), config.allow_short)
    return compare_positions(held, config, prices, part, seed=seed, most_shown=most_shown)


def compare_positions(
    agent: FloatArray, config: "TrainConfig", prices: PriceSeries, part: Part, *, seed: int = 0, most_shown: int = MOST_SHOWN
) -> Comparison:
    """Likewise for positions [R], as the joined test parts of a walk-forward give them."""
    rows = slice(part.start, part.stop - 1)
    side = np.sign(prices.close[rows] - moving_average(prices.close, config.window)[rows])
    rule = side if config.allow_short else np.maximum(side, 0.0)
    alone = (agent, np.ones_like(agent), rule, np.zeros_like(agent))
    shown = np.unique(np.linspace(0, len(agent), min(len(agent) + 1, most_shown)).round().astype(np.int64))
    terms = _terms(config, prices, part)
    random = np.concatenate([equity_of(each, *terms, shown) for each in _random_policies(agent, seed)], axis=1)
    own, hold, by_rule, cash = account(np.stack(alone, axis=1), config, prices, part)
    return Comparison(own, hold, by_rule, cash, shown, random, config.allow_short)


def _random_policies(agent: FloatArray, seed: int) -> Iterable[Spells]:
    """What the random policies hold, so many at once that they fit into memory."""
    held = agent.astype(np.int8)
    if held.size <= MOST_SHOWN:
        return (_shuffled_once(held.tobytes(), seed),)
    at_once, rng = max(1, POSITIONS_AT_ONCE // held.size), np.random.default_rng(seed)
    counts = (min(at_once, RANDOM_POLICIES - lane) for lane in range(0, RANDOM_POLICIES, at_once))
    return (spells(shuffled_positions(held, count, rng)) for count in counts)


@lru_cache(maxsize=16)
def _shuffled_once(agent: bytes, seed: int) -> Spells:
    """What does not change with the trading cost, whose slider is moved."""
    return spells(shuffled_positions(np.frombuffer(agent, dtype=np.int8), RANDOM_POLICIES, np.random.default_rng(seed)))


def shuffled_positions(position: NDArray[Number], count: int, rng: np.random.Generator) -> NDArray[Number]:
    """Positions [R, count] with the holding spells of `position` [R] in random order: same exposure, turnover and costs.

    The lengths of the long spells are shuffled among them, likewise those of the flat and the short ones, and the whole is
    rotated by a random number of rows (which cuts one spell in two). What is left out is timing.
    """
    starts = np.append(0, np.flatnonzero(np.diff(position)) + 1)
    states, lengths = position[starts], np.diff(starts, append=len(position))
    shuffled = np.empty((count, len(position)), dtype=position.dtype)
    for lane in range(count):
        mixed = lengths.copy()
        for state in POSITIONS:
            of_state = states == state
            mixed[of_state] = rng.permutation(lengths[of_state])
        shuffled[lane] = np.roll(np.repeat(states, mixed), rng.integers(len(position)))
    return shuffled.T


def stitch(records: Sequence[Record], config: "TrainConfig", prices: PriceSeries) -> Backtest:
    """One curve out of the test parts of a walk-forward, each traded by the policy of its own fold.

    A fold takes over the position that the one before left, so that nothing is bought or sold that no policy wanted.
    """
    whole = Part("test", records[0].part.start, records[-1].part.stop)
    return account(np.concatenate([record.position for record in records])[:, None], config, prices, whole)[0]


def growth(policy: Probabilities, config: "TrainConfig", prices: PriceSeries, part: Part) -> float:
    """log(final / initial equity) of a policy's most probable actions over a part, net of costs; −inf at ruin."""
    equity = reprice(play(policy, config, prices, part).actions, config, prices, part).equity[-1]
    return math.log(equity) if equity > 0 else -math.inf


def collapse(record: Record) -> str | None:
    """In a sentence, that the policy does one thing only and what to try, or None: 99 % of the decisions are alike."""
    action, share = max(record.action_share().items(), key=lambda item: item[1])
    if share < COLLAPSED:
        return None
    verb = {"buy": "buys", "sell": "sells", "hold": "holds"}[action]
    return (
        f"The policy has collapsed: it {verb} on {100 * share:.0f} % of the days. Try a larger entropy bonus, a smaller"
        " learning rate or another reward."
    )


def evaluate_parts(
    policy: Probabilities,
    config: "TrainConfig",
    prices: PriceSeries,
    *,
    greedy: bool = True,
    progress: Progress = unheard,
) -> dict[str, Any]:
    """A policy on every part, ready for JSON: `parts`, a list of numbers by part, and `curves`, their rows by part's name.

    A number that does not exist is None; the interval of the Sharpe difference is not worked out where the agent trained.
    `curves` holds what charts need, on the rows that `Comparison.shown` tells, and all `actions`, which `reprice` and
    `compare` start from. `progress` is told the share done.
    """
    parts, curves, of = [], {}, split(config, prices).parts
    for i, part in enumerate(of):
        progress(i / len(of))
        record = play(policy, config, prices, part, greedy=greedy, seed=config.seed)
        compared = compare(record.actions, config, prices, part, seed=config.seed)
        parts.append(_numbers(record, compared, config))
        curves[part.name] = _curves(record, compared)
    return {"parts": parts, "curves": curves}


def _numbers(record: Record, compared: Comparison, config: "TrainConfig") -> dict[str, Any]:
    agent, names = compared.agent, FEATURES[config.features].names
    interval = compared.sharpe_interval(config.seed) if record.part.name != "train" else (math.nan, math.nan)
    seen = {
        action: dict(zip(names, record.obs[record.actions == code].mean(axis=0).tolist(), strict=True))
        for code, action in enumerate(ACTIONS)
        if (record.actions == code).any()
    }
    return {
        "part": record.part.name,
        "rows": len(record.part),
        "from": str(agent.dates[0].astype("datetime64[s]")),
        "to": str(agent.dates[-1].astype("datetime64[s]")),
        **_measured(agent),
        "actions": record.action_share(),
        "buy_and_hold": _measured(compared.buy_and_hold),
        "moving_average_rule": _measured(compared.moving_average_rule),
        "cash": _measured(compared.cash),
        "beats_random": compared.beats_random(),
        "sharpe_minus_buy_and_hold": [x if math.isfinite(x) else None for x in interval],
        "features_by_action": seen,
        "collapse": collapse(record),
    }


def _measured(backtest: Backtest) -> dict[str, float | int | None]:
    return {
        name: None if not math.isfinite(value) else int(value) if METRICS[name].unit == "count" else value
        for name, value in measure(backtest).items()
    }


def _curves(record: Record, compared: Comparison) -> dict[str, Any]:
    """The curves of a comparison, the decisions on all rows shown but the last, and the actions on every row."""
    decided = compared.shown[:-1]
    return {
        **compared.curves(),
        "actions": record.actions.tolist(),
        "position": record.position[decided].astype(int).tolist(),
        "probabilities": record.probabilities[decided].round(4).tolist(),
    }


@dataclass(frozen=True)
class LookAhead:
    """Whether the future reached back: `clean`, over how many rows before `date`, and `text`, a sentence that says so."""

    clean: bool
    rows: int
    date: np.datetime64
    text: str


def check_look_ahead(
    policy: Probabilities, config: "TrainConfig", prices: PriceSeries, row: int | None = None, *, seed: int = 0
) -> LookAhead:
    """Replace all prices after `row` (the middle, if none is named) by others and see whether anything up to it changes.

    Compared to the last bit: what the policy saw, its probabilities, its actions, and the equity, on every row up to `row`.
    Raises BadInput for a row without decisions before it or prices behind it.
    """
    first, last = config.window, len(prices) - 2
    row = (first + last) // 2 if row is None else row
    if not first <= row <= last:
        raise BadInput(f"The future can be replaced after rows {first} to {last} of these prices, not after row {row}.")
    walk = np.random.default_rng(seed).normal(0.0, 0.02, len(prices) - row - 1).cumsum()
    factor = np.concatenate([np.ones(row + 1), 2.0 * np.exp(walk)])
    changed = PriceSeries(
        prices.dates,
        prices.open * factor,
        prices.high * factor,
        prices.low * factor,
        prices.close * factor,
        prices.volume,
        prices.name,
    )
    whole, known = Part("whole", first, len(prices)), row - first + 1
    then, now = (play(policy, config, series, whole) for series in (prices, changed))
    same = (
        np.array_equal(then.obs[:known], now.obs[:known])
        and np.array_equal(then.probabilities[:known], now.probabilities[:known])
        and np.array_equal(then.actions[:known], now.actions[:known])
        and np.array_equal(
            reprice(then.actions, config, prices, whole).equity[:known],
            reprice(now.actions, config, changed, whole).equity[:known],
        )
    )
    date = prices.dates[row]
    day = str(date)[:10]
    text = (
        f"No look-ahead: with every price after {day} replaced by another, nothing on the {known:,} rows up to it changed."
        if same
        else f"Look-ahead: replacing the prices after {day} changed what the agent saw or did on a row up to it."
    )
    return LookAhead(same, known, date, text)
