"""One verdict in plain words: is there evidence of skill, or could it be luck?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgcore.market.backtest import Comparison
from pgcore.market.luck import expected_best_sharpe, luck_bound, probabilistic_sharpe
from pgcore.market.statistics import sharpe, total_return

CONFIDENCE = 0.95
FEWEST_ROWS = 30


@dataclass(frozen=True)
class Verdict:
    """Whether there is evidence of skill, the probability that the Sharpe ratio is real, and the sentence that says it."""

    skill: bool
    deflated_sharpe: float
    text: str


def verdict(compared: Comparison, trials: int = 1, trial_sharpes: Sequence[float] = ()) -> Verdict:
    """Judge a backtest on prices that were never trained on, after `trials` configurations were tried on these prices.

    `trial_sharpes` are the yearly Sharpe ratios of those trials on the same part, as far as they are known; where fewer
    than two are, their variance counts as what luck alone shows, 1 / R.

    Skill is claimed only where all of this holds:
    1. the Sharpe ratio beats the best to be expected of so many trials without skill, with 95 % (deflated Sharpe ratio);
    2. so does what the agent earned beyond its own average exposure: riding a rise is no skill;
    3. the agent ended above 95 % of random policies with the same exposure and turnover;
    4. its Sharpe ratio is above that of buy-and-hold;
    5. `luck_bound` is at most 5 %, so that no strategy at all can do better than 1 in 20 on a driftless walk.
    """
    agent, hold = compared.agent, compared.buy_and_hold
    returns, market = agent.returns, np.diff(agent.close) / agent.close[:-1]
    if len(returns) < FEWEST_ROWS:
        return Verdict(False, 0.5, f"No evidence of skill: {len(returns)} rows are too few to tell.")
    if not agent.traded.any():
        return Verdict(False, 0.5, "No evidence of skill: it never traded.")
    known = [x for x in trial_sharpes if math.isfinite(x)]
    variance = float(np.var(known, ddof=1)) / agent.periods_per_year if len(known) > 1 else 1.0 / len(returns)
    luckiest = expected_best_sharpe(trials, variance)
    deflated = probabilistic_sharpe(returns, luckiest)
    timing = probabilistic_sharpe(returns - agent.position.mean() * market, luckiest)
    doubts = [
        (timing < CONFIDENCE, "holding its average exposure would have earned about as much"),
        (compared.beats_random() < CONFIDENCE, "random policies that trade as much did as well too often"),
        (not sharpe(returns, 1.0) > sharpe(hold.returns, 1.0), "buy-and-hold earned more for its risk"),
        (luck_bound(returns, market, compared.allow_short) > 1.0 - CONFIDENCE, "a lucky streak could have earned as much"),
    ]
    doubt = next((text for holds, text in doubts if holds), None)
    skill = deflated >= CONFIDENCE and doubt is None
    text = (
        f"{'Evidence of skill' if skill else 'No evidence of skill'}: {percent(total_return(returns))} against"
        f" {percent(total_return(hold.returns))} for buy-and-hold; after {trials} configuration{'s' if trials != 1 else ''}"
        f" tried on these prices, the chance that this Sharpe is real is {100 * deflated:.0f} %"
    )
    return Verdict(skill, deflated, text + (f", but {doubt}." if deflated >= CONFIDENCE and doubt else "."))


def percent(share: float) -> str:
    """A gain as a sentence spells it: +4.1 %."""
    return f"{100 * share:+.1f} %".replace("-", "−")
