"""How what belongs to a run looks as CSV and JSON, in both directions; numbers come back exactly as they were."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pgcore.config import TrainConfig
from pgcore.errors import BadInput
from pgcore.market.prices import PriceSeries
from pgcore.record import UpdateRecord
from pgcore.runs.packing import COLUMNS, Records
from pgcore.tasks import TASKS

NUMBERS = tuple(name for name in COLUMNS if name not in ("episode_returns", "action_share"))
COUNTERS = NUMBERS[:3]
MOST = 2**53  # up to which a float counts every whole number
PRICES = ("open", "high", "low", "close", "volume")
SHARE = "action_share_"


def records_csv(records: Records, task: str) -> bytes:
    """A row an update, without the returns of its episodes."""
    actions: Sequence[object] = TASKS[task].actions if task in TASKS else ()
    share = records.action_share
    if len(actions) != share.shape[1]:
        actions = range(share.shape[1])
    columns = [getattr(records, name).tolist() for name in NUMBERS]
    return table_csv((*NUMBERS, *(f"{SHARE}{action}" for action in actions)), zip(*columns, *share.T.tolist(), strict=True))


def episodes_csv(records: Records) -> bytes:
    """A row a finished episode: the update it was finished in, and its return."""
    return table_csv(
        ("update", "return"), zip(records.update[records.episode_of].tolist(), records.episode_returns.tolist(), strict=True)
    )


def read_records(records: bytes, episodes: bytes) -> list[UpdateRecord]:
    """What records_csv and episodes_csv wrote. Raises BadInput."""
    table = _numbers(records, "records.csv", NUMBERS)
    counters = table[list(COUNTERS)]
    if not ((counters % 1 == 0) & (counters >= 0) & (counters <= MOST)).all(axis=None):
        raise damaged("records.csv", "its counters are no whole numbers from 0 to 2**53")
    finished = _numbers(episodes, "episodes.csv", ("update", "return"))
    if (np.diff(table["update"], prepend=0) <= 0).any():
        raise damaged("records.csv", "its updates do not rise")
    returns: dict[float, list[float]] = {}
    for update, value in zip(finished["update"].tolist(), finished["return"].tolist(), strict=True):
        returns.setdefault(update, []).append(value)
    shares = table[[column for column in table.columns if column.startswith(SHARE)]].to_numpy().tolist()
    rows = zip(*(table[name].tolist() for name in NUMBERS), strict=True)
    return [
        UpdateRecord(
            **dict(zip(NUMBERS, (int(row[0]), int(row[1]), int(row[2]), *row[3:]), strict=True)),
            episode_returns=tuple(returns.get(row[0], ())),
            action_share=tuple(share),
        )
        for row, share in zip(rows, shares, strict=True)
    ]


def prices_csv(prices: PriceSeries) -> bytes:
    """date,open,high,low,close,volume; a time of day, down to the microsecond, only where there is one."""
    days = prices.dates.astype("datetime64[D]")
    dates = (days if (days == prices.dates).all() else prices.dates).astype(str).tolist()
    return table_csv(("date", *PRICES), zip(dates, *(getattr(prices, name).tolist() for name in PRICES), strict=True))


def read_prices(content: bytes, name: str) -> PriceSeries:
    """What prices_csv wrote. Raises BadInput."""
    table = _numbers(content, "prices.csv", PRICES)
    try:
        dates = table["date"].to_numpy(dtype=str).astype("datetime64[us]")
    except (KeyError, ValueError):
        raise damaged("prices.csv", "its dates") from None
    return PriceSeries(dates, **{column: table[column].to_numpy() for column in PRICES}, name=name)


def trades_csv(config: TrainConfig, prices: PriceSeries, result: dict[str, Any]) -> bytes | None:
    """The trades of a backtest, part by part, from the decisions its result keeps; None where it made none."""
    from pgcore.market.backtest import reprice
    from pgcore.market.parts import split

    curves = result.get("curves")
    if not curves:
        return None  # such as of a run that failed since its prices could not be split
    trades = [
        {"part": part.name, **vars(trade)}
        for part in split(config, prices).parts
        if part.name in curves
        for trade in reprice(np.array(curves[part.name]["actions"], dtype=np.int64), config, prices, part).trades
    ]
    return table_csv(trades[0], (tuple(trade.values()) for trade in trades)) if trades else None


def table_csv(header: Iterable[str], rows: Iterable[Sequence[Any]]) -> bytes:
    content = io.BytesIO()
    with io.TextIOWrapper(content, "utf-8", newline="") as text:  # a text of its own would be a second copy
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows([neutral(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
        text.flush()
        return content.getvalue()


def neutral(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) or text.startswith(("\t", "\r", "\n")) else text


def to_json(value: Any) -> bytes:
    """JSON that every reader takes: a number that is none becomes null."""

    def strict(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: strict(child) for key, child in node.items()}
        if isinstance(node, (list, tuple)):
            return [strict(child) for child in node]
        return None if isinstance(node, float) and not math.isfinite(node) else node

    return json.dumps(strict(value), indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"


def read_object(content: bytes, file: str) -> dict[str, Any]:
    """A JSON object. Raises BadInput."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise damaged(file, "it holds no JSON object")
    return value


def damaged(file: str, what: str) -> BadInput:
    """To be raised for a file of an exported run."""
    return BadInput(f"{file} of the exported run is damaged ({what}): export it again.")


def _numbers(content: bytes, file: str, names: Sequence[str]) -> pd.DataFrame:
    """The named columns, and those that may follow them."""
    try:
        table = pd.read_csv(io.BytesIO(content), dtype={"date": str})
        kinds = {column: float for column in table.columns if column != "date"}
        missing = [name for name in names if name not in kinds]
        table = table.astype(kinds)
    except (ValueError, OverflowError, pd.errors.ParserError) as error:
        raise damaged(file, " ".join(str(error).split())[:100]) from None
    if missing:
        raise damaged(file, f"it has no column {missing[0]}")
    return table
