"""Time and memory of reading a clean price file of a million rows, beside pandas.read_csv; writes the section `importing`.

    python -m benchmarks.importing [--rows 1000000] [--rounds 5]

Each reading has a process of its own, warmed up on the first rows; the two sides take turns.
"""

import argparse
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import psutil

from benchmarks.processes import ask
from benchmarks.report import Row, goals, spread, versions, write_section
from pgcore.market.csv_import import import_prices

ROWS, ROUNDS = 1_000_000, 5
WARM_UP_LINES = 1_000
READERS: Mapping[str, Callable[[bytes], object]] = {
    "import_prices": import_prices,
    "read_csv": lambda data: pd.read_csv(io.BytesIO(data)),
}


def write_prices(path: Path, rows: int) -> None:
    """Date, open, high, low, close and volume of so many minutes; a million days would not fit the calendar."""
    random = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.0005, rows)))
    prices = {name: np.round(close * (1 + shift), 2) for name, shift in (("Open", 0.0), ("High", 0.002), ("Low", -0.002))}
    dates = pd.date_range("2020-01-01", periods=rows, freq="min")
    volume = random.integers(1_000, 1_000_000, rows)
    frame = pd.DataFrame({"Date": dates, **prices, "Close": np.round(close, 2), "Volume": volume})
    frame.to_csv(path, index=False, date_format="%Y-%m-%d %H:%M:%S")


def read_once(side: str, path: Path) -> dict[str, float]:
    """Seconds, and the most memory held beyond what the warm process held, as a multiple of the file."""
    reader = READERS[side]
    with path.open("rb") as file:
        reader(b"".join(file.readline() for _ in range(WARM_UP_LINES)))
    base = psutil.Process().memory_info().rss
    started = time.perf_counter()
    kept = reader(path.read_bytes())
    seconds = time.perf_counter() - started
    assert kept is not None
    return {"seconds": seconds, "times_file": (peak_bytes() - base) / path.stat().st_size}


def peak_bytes() -> int:
    """The most memory this process has held. On Linux `ru_maxrss` would count that of the process which started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def report(found: Mapping[str, list[dict[str, float]]], size: int, rows: int) -> str:
    """The goals of time and memory."""
    seconds, memory = (
        {side: [once[what] for once in rounds] for side, rounds in found.items()} for what in ("seconds", "times_file")
    )
    slower = median(seconds["import_prices"]) / median(seconds["read_csv"])
    held = median(memory["import_prices"])
    lines = [
        Row(
            f"Reading a clean CSV of {rows:,} rows ({size / 2**20:.0f} MB), `pandas.read_csv` beside it",
            spread(seconds["import_prices"], "s"),
            spread(seconds["read_csv"], "s"),
            f"{slower:.2f} × the time",
            "at most 2 ×",
            slower <= 2,
        ),
        Row(
            "The same: most memory held meanwhile, in sizes of the file, which counts itself",
            spread(memory["import_prices"], digits=2),
            spread(memory["read_csv"], digits=2),
            f"{held:.2f} × the file",
            "at most 3 ×",
            held <= 3,
        ),
    ]
    note = "`read_csv` leaves the dates as text; the importer finds out what is in the file, reads them and checks every price."
    return f"{goals(lines)}\n\n{note}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--once", nargs=2, metavar=("SIDE", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        print(json.dumps(read_once(asked.once[0], Path(asked.once[1]))))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "prices.csv"
        write_prices(path, asked.rows)
        found: dict[str, list[dict[str, float]]] = {side: [] for side in READERS}
        for _ in range(asked.rounds):
            for side, rounds in found.items():
                rounds.append(ask(sys.executable, "-m", "benchmarks.importing", "--once", side, path))
        body = report(found, path.stat().st_size, asked.rows)
    write_section("importing", "Importing", body, versions=versions(("numpy", "pandas", "pyarrow")), raw=found)


if __name__ == "__main__":
    main()
