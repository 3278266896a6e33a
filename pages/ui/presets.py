"""Settings worth trying: each preset turns the knobs at once, and a lesson asks what will happen before one presses Train."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A row of a table: what it turns, and, where it is a lesson, the question to answer first and what one then sees."""

    title: str
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    question: str = ""
    answer: str = ""


CARTPOLE: Mapping[str, Preset] = {
    "fast": Preset("Fast", "CartPole-v1"),
    "article": Preset(
        "Article",
        "CartPole-v1",
        {"estimator": "reinforce", "learning_rate": 0.01, "discount": 0.99, "policy": "mlp"},
    ),
    "listing": Preset(
        "Lesson: the article's listing",
        "CartPole-v1",
        {"estimator": "article"},
        "The article prints a program of 30 lines that takes the best-looking action and pushes its output up. Will it"
        " balance the pole?",
        "It does not. It never samples, so it never tries anything else; and its loss, target minus value without a"
        " square, only pushes the chosen output up for ever. No policy gradient is in it. Choose REINFORCE to see one.",
    ),
    "unstable": Preset(
        "Lesson: too large a step",
        "CartPole-v1",
        {"estimator": "reinforce", "learning_rate": 0.3, "max_steps": 100_000},
        "The learning rate is thirty times the article's. Will it learn thirty times as fast?",
        "The first steps throw the policy far from the data they were measured on: entropy falls to nothing within a few"
        " updates, one action wins, and without sampling there is nothing left to learn from. Move the learning rate down"
        " and train again.",
    ),
    "myopic": Preset(
        "Lesson: a short view",
        "CartPole-v1",
        {"discount": 0.5, "max_steps": 200_000},
        "With γ = 0.5 a reward two steps ahead counts a quarter. Can an agent that sees two steps ahead balance a pole?",
        "For a while: falling is punished only once it cannot be helped. It learns to catch the pole but not to stay in"
        " the middle. Raise γ in steps and watch the return rise.",
    ),
    "noise": Preset(
        "Lesson: what a baseline buys",
        "CartPole-v1",
        {"estimator": "reinforce", "normalise_advantages": False, "max_steps": 200_000},
        "Plain REINFORCE pays every step with the whole episode's return, always positive here. Is that slower than"
        " paying the difference to an expectation?",
        "Every action of every episode is pushed up, good ones only a little more than bad ones: the signal is there on"
        " average, under much noise. Choose Value baseline with the same settings and compare both on the Runs page.",
    ),
    "linear": Preset(
        "Lesson: no hidden layer",
        "CartPole-v1",
        {"policy": "linear"},
        "θᵀf(s,a) is four weights an action. Is that enough to balance a pole?",
        "It is: the policy map is cut by one straight line, and that line is nearly all the network had found too.",
    ),
    "hesitant": Preset(
        "Lesson: reward for hesitating",
        "CartPole-v1",
        {"entropy_bonus": 0.5, "max_steps": 200_000},
        "A large entropy bonus pays the agent for staying undecided. What will its two action probabilities look like?",
        "It balances as long as it must while keeping its choices open: the map is pale where either action will do. Past"
        " a point the bonus is worth more than the pole.",
    ),
}

STOCKS: Mapping[str, Preset] = {
    "default": Preset("Default", "stocks"),
    "article": Preset(
        "Article",
        "stocks",
        {
            "reward": "article",
            "features": "article",
            "policy": "linear",
            "estimator": "reinforce",
            "learning_rate": 0.01,
            "discount": 0.99,
        },
    ),
    "always-buy": Preset(
        "Lesson: the article's reward",
        "stocks",
        {"reward": "article", "features": "article", "policy": "linear"},
        "The article pays +0.1 for buying before a rise and −0.1 for selling before a fall; buying before a fall costs"
        " nothing. What will the agent do?",
        "Buy, whatever the price does: nothing it buys can cost it anything. The reward article-mirrored punishes both"
        " sides, and pnl pays what a trader earns.",
    ),
    "overfit": Preset(
        "Lesson: a good memory",
        "stocks",
        {"policy": "mlp", "hidden_sizes": (64, 64), "max_steps": 1_000_000, "discount": 0.9},
        "A larger network, trained longer on the same twelve years. How will it do on the years it has not seen?",
        "Splendid on the training part, and no better than chance on the test: it has learned the past by heart. The"
        " verdict looks at the test only.",
    ),
    "costs": Preset(
        "Lesson: the price of trading",
        "stocks",
        {"cost_bps": 50.0},
        "Every trade costs half a percent. Will the agent trade less, or earn less?",
        "Both: watch the turnover in the table, then move the cost slider to see what the same trades would have earned"
        " at other prices.",
    ),
}
