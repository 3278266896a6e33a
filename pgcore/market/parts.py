"""Which rows of a history train, choose and test: the chronological split and the folds of a walk-forward."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pgcore.errors import BadInput

if TYPE_CHECKING:
    from pgcore.config import TrainConfig
    from pgcore.market.prices import PriceSeries


@dataclass(frozen=True)
class Part:
    """Rows start … stop − 1 of a history. Decisions fall on all but the last, whose price pays the last decision."""

    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return max(self.stop - self.start, 0)


@dataclass(frozen=True)
class Split:
    """The parts, in time order and without overlap; `validation` may be empty. No reward crosses a border."""

    train: Part
    validation: Part
    test: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those that are long enough to decide in."""
        return tuple(part for part in (self.train, self.validation, self.test) if len(part) >= 2)


def split(config: "TrainConfig", prices: "PriceSeries") -> Split:
    """The parts that a run trains on, chooses on and is tested on: of the whole history, or of its fold of a walk-forward.

    Raises BadInput where a part would have no decision.
    """
    if config.folds == 0:
        return split_once(config, prices)
    return walk_forward(config, prices, config.folds, config.anchored)[config.fold]


def split_once(config: "TrainConfig", prices: "PriceSeries") -> Split:
    """Cut a history by config's train_share and validation_share; the rest is the test.

    The training part begins at row `window`, the first that has a moving average; the features of the other parts look
    back over the border, which is the past. Raises BadInput where a part would have no decision.
    """
    rows = len(prices)
    train_stop = round(rows * config.train_share)
    validation_stop = max(train_stop, round(rows * (config.train_share + config.validation_share)))
    if train_stop - config.window < 2:
        raise BadInput(
            f"A moving average over {config.window} rows leaves nothing to learn from in the {train_stop} rows of the training"
            f" part ({rows} rows of prices in all): make the window smaller than {max(train_stop - 1, 2)}, the training part"
            " larger, or take a longer history."
        )
    if rows - validation_stop < 2:
        raise BadInput(
            f"The test part would have {rows - validation_stop} of the {rows} rows of prices; it needs at least 2:"
            " make the training or validation part smaller, or take a longer history."
        )
    return Split(
        Part("train", config.window, train_stop),
        Part("validation", train_stop, validation_stop),
        Part("test", validation_stop, rows),
    )


def walk_forward(config: "TrainConfig", prices: "PriceSeries", folds: int, anchored: bool = True) -> tuple[Split, ...]:
    """`folds` splits whose test parts follow one another over what `split_once` leaves for the test.

    Each fold trains on all rows before its test (anchored) or on as many as the first fold has (rolling), less the
    validation rows just before the test. A test part shares its last row with the first of the next, so that every row's
    return belongs to exactly one fold. Raises BadInput where a fold would have no decision.
    """
    whole = split_once(config, prices)
    rows = len(whole.test) - 1
    if not 1 <= folds <= rows:
        raise BadInput(f"A walk-forward over the {rows + 1} rows of the test part can have 1 to {rows} folds, not {folds}.")
    borders = [whole.test.start + rows * k // folds for k in range(folds + 1)]
    cuts = []
    for start, stop in pairwise(borders):
        moved = start - whole.test.start
        cuts.append(
            Split(
                Part("train", whole.train.start + (0 if anchored else moved), whole.train.stop + moved),
                Part("validation", whole.validation.start + moved, start),
                Part("test", start, stop + 1),
            )
        )
    return tuple(cuts)
