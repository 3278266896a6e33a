"""RESULTS.md: a marked section for each benchmark, headed by machine, versions and date, its numbers beside their goals."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
RAW = HERE / "results"
SECTIONS = ("speed", "growth", "page", "importing", "learning", "markets", "stress")
OURS = ("torch", "numpy", "gymnasium", "streamlit")
TITLE = "# Results\n\nWritten by the benchmarks; `README.md` beside this file says what each measures and how.\n"


@dataclass(frozen=True)
class Row:
    """A line of a table of goals: what was measured, of us and of the peer ("" where there is none), and whether it holds.

    `met` None: it could not be measured here, and `ours` says why.
    """

    work: str
    ours: str
    theirs: str
    found: str
    goal: str
    met: bool | None


def goals(rows: Iterable[Row]) -> str:
    """Rows as a table."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    head = ("work", "Policy Gradient Lab", "peer", "found", "goal", "met")
    return table(head, [(row.work, row.ours, row.theirs, row.found, row.goal, words[row.met]) for row in rows])


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def spread(values: Sequence[float], unit: str = "", digits: int = 3) -> str:
    """Median and, in brackets, the range: `0.39 s (0.31 to 0.52)`."""
    middle, low, high = (number(value, digits) for value in (median(values), min(values), max(values)))
    shown = f"{middle} {unit}".strip()
    return shown if low == high else f"{shown} ({low} to {high})"


def number(value: float, digits: int = 3) -> str:
    """For people: three significant digits, thousands set apart, no exponent."""
    if value == 0:
        return "0"
    shown = float(f"{value:.{digits}g}")
    return f"{shown:,.0f}" if abs(shown) >= 10 ** (digits - 1) else f"{shown:.{digits}g}"


def machine() -> str:
    """Processor, cores, memory and system, in one line, without the machine's name."""
    cores = len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX else os.cpu_count()
    gigabytes = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {cores} cores, {gigabytes:.0f} GB of memory, {_system()}, Python {platform.python_version()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return f"{platform.system()} {platform.release()}"


def versions(packages: Sequence[str] = OURS, python: str | Path | None = None) -> str:
    """The installed versions of packages, here or in another environment, in one line."""
    if python is None:
        return ", ".join(f"{name} {version(name)}" for name in packages)
    asked = "import sys; from importlib.metadata import version; print(', '.join(f'{n} {version(n)}' for n in sys.argv[1:]))"
    return subprocess.run([python, "-c", asked, *packages], check=True, capture_output=True, text=True).stdout.strip()


def write_section(name: str, title: str, body: str, *, versions: str, raw: Any = None) -> None:
    """Put a section into RESULTS.md in the place of the one of that name; `raw` goes as JSON into results/."""
    assert name in SECTIONS, f"add {name!r} to SECTIONS"
    head = f"## {title}\n\n{datetime.now(UTC):%Y-%m-%d}. {machine()}; {versions}.\n"
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else TITLE
    kept = {key: found[0] for key in SECTIONS if (found := re.search(rf"<!-- {key} -->.*<!-- /{key} -->\n", text, re.DOTALL))}
    kept[name] = f"<!-- {name} -->\n{head}\n{body.strip()}\n<!-- /{name} -->\n"
    RESULTS.write_text("\n".join([TITLE, *(kept[key] for key in SECTIONS if key in kept)]), encoding="utf-8")
    if raw is not None:
        RAW.mkdir(exist_ok=True)
        (RAW / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    print(f"\n## {title}\n\n{body.strip()}\n\nWritten to {RESULTS.name}.", file=sys.stderr)
