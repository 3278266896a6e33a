"""How the policies of a stocks run would have done on the validation part, as it learns."""

from functools import lru_cache

from pages.ui.board import Chart, Frame, as_json, board
from pages.ui.login import who
from pages.ui.server import store
from pgcore import market_charts
from pgcore.acting import read_actor
from pgcore.market.backtest import growth
from pgcore.market.parts import split
from pgcore.runs.run import Run
from pgcore.runs.store import resolve_prices


def validation_chart(page: str, run: Run) -> None:
    """Growth on the validation part by checkpoint, beside buy-and-hold; the checkpoint to be chosen is marked."""
    prices = resolve_prices(store(), run.prices)
    part = split(run.config, prices).validation
    kept = store().policies(run.id)
    if len(part) < 2 or not kept:
        return
    scores = [_growth(run.id, update, who(), run.process) for update, _ in kept]
    hold = float(prices.close[part.stop - 1] / prices.close[part.start])
    figure = as_json(market_charts.validation_chart([env_steps for _, env_steps in kept], scores, hold))
    alt = "Final equity on the validation part of each checkpoint, beside buy-and-hold."
    board(Frame([Chart(figure, f"validation-{run.id}", alt, height=200)]), key=f"{page}.validation")


@lru_cache(maxsize=5_000)
def _growth(run_id: str, update: int, *_key: object) -> float:
    """Kept for whose it is, and for the process that made it: a race that is run again comes out otherwise."""
    run = store().run(run_id)
    data = store().policy_bytes(run_id, update)
    prices = resolve_prices(store(), run.prices)
    return float("nan") if data is None else growth(read_actor(data), run.config, prices, split(run.config, prices).validation)
