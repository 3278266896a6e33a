"""How fast: Policy Gradient Lab beside its peers, one run, side by side; writes the section `speed` of RESULTS.md.

    python -m benchmarks.speed [--seeds 5] [--only NAME …] [--purejaxrl CHECKOUT --jax-python PYTHON]

Lines that are not named keep what the last run of them found. The sides take turns seed by seed, so that a machine that drifts
hits both. Each measurement is a process of its own.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import HERE, ask, ours, peers_python
from benchmarks.report import OURS, RAW, Row, goals, number, spread, versions, write_section
from benchmarks.seeds import two_seeds
from benchmarks.watched import watched
from pgcore.market.prices import load_sample

PEERS = ("stable-baselines3", "sb3-contrib", "gym-anytrading", "torch")
SB3, PUREJAXRL = HERE / "peers" / "sb3.py", HERE / "peers" / "purejaxrl_ppo.py"
DAYS = 4000
Answer = dict[str, Any]


@dataclass(frozen=True)
class Duel:
    """One work, done by both sides in turn: what each is asked, after which the seed comes; `times` faster is the goal."""

    work: str
    us: Sequence[object]
    them: Sequence[object]
    times: float
    until_solved: bool = True


DUELS = {
    "ppo": Duel("CartPole-v1 until solved, ppo; Stable-Baselines3 PPO", ("solve", "ppo"), ("solve", "ppo"), 20),
    "a2c": Duel("CartPole-v1 until solved, a2c; Stable-Baselines3 A2C", ("solve", "a2c"), ("solve", "a2c"), 20),
    "trpo": Duel("CartPole-v1 until solved, trpo; sb3-contrib TRPO", ("solve", "trpo"), ("solve", "trpo"), 20),
    "rate": Duel("Training steps/s, a2c, CartPole-v1; Stable-Baselines3 A2C", ("rate",), ("rate",), 30, False),
    "stocks": Duel(
        "Training steps/s, a2c, 4,000 days of stocks; gym-anytrading with Stable-Baselines3 A2C",
        ("stocks",),
        ("stocks",),
        30,
        False,
    ),
}


def duel(name: str, seeds: Sequence[int], python: Path) -> tuple[Row, Answer]:
    """Both sides in turn on every seed."""
    contest = DUELS[name]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "prices.csv"
        file.write_text(load_sample("sp500").between(0, DAYS).to_csv())
        extra = ([], []) if name != "stocks" else (["mlp"], [file])
        us, them = [], []
        for seed in seeds:
            us.append(ours(*contest.us, seed, *extra[0]))
            them.append(ask(python, SB3, *contest.them, seed, *extra[1]))
            say(name, us[-1], them[-1])
    return (race if contest.until_solved else pace)(contest, us, them), {"us": us, "them": them}


def race(contest: Duel, us: list[Answer], them: list[Answer]) -> Row:
    """Seconds until solved. A peer's run that was not solved counts with the time of its whole budget."""
    seconds = [[answer["seconds"] for answer in side] for side in (us, them)]
    times = median(seconds[1]) / median(seconds[0])
    solved = sum(answer["solved"] for answer in us)
    return Row(
        contest.work,
        f"{spread(seconds[0], 's')}, {solved} of {len(us)} solved",
        f"{spread(seconds[1], 's')}, {sum(answer['solved'] for answer in them)} of {len(them)} solved",
        f"{number(times)} × faster",
        f"at least {contest.times:g} × faster, all solved" if contest.times > 1 else "faster",
        times >= contest.times and solved == len(us),
    )


def pace(contest: Duel, us: list[Answer], them: list[Answer]) -> Row:
    """Training steps a second."""
    rates = [[answer["steps"] / answer["seconds"] for answer in side] for side in (us, them)]
    times = median(rates[0]) / median(rates[1])
    return Row(
        contest.work,
        spread(rates[0], "/s"),
        spread(rates[1], "/s"),
        f"{number(times)} ×",
        f"at least {contest.times:g} ×",
        times >= contest.times,
    )


def purejaxrl(seeds: Sequence[int], checkout: str, python: str) -> tuple[Row, Answer]:
    """PureJaxRL's PPO, in turn with ours; it compiles before its clock starts."""
    us, them = [], []
    for seed in seeds:
        us.append(ours("solve", "ppo", seed))
        them.append(ask(python, PUREJAXRL, checkout, seed))
        say("purejaxrl", us[-1], them[-1])
    contest = Duel("CartPole-v1 until solved, ppo; PureJaxRL, its compiling excluded", (), (), 1)
    compiled = median(answer["compile_s"] for answer in them)
    row = race(contest, us, them)
    return replace(row, theirs=f"{row.theirs}, after {number(compiled)} s of compiling"), {"us": us, "them": them}


def acting(seeds: Sequence[int], _: Path) -> tuple[Row, Answer]:
    answers = [ours("acting", seed) for seed in seeds]
    share = [answer["played"] / answer["alone"] for answer in answers]
    row = Row(
        "Acting only, CartPole-v1, 64 wide; Gymnasium's NumPy environment alone",
        spread([answer["played"] for answer in answers], "/s"),
        spread([answer["alone"] for answer in answers], "/s"),
        f"{number(median(share))} of its rate",
        "at least 0.5 of its rate",
        median(share) >= 0.5,
    )
    return row, {"us": answers}


def market(seeds: Sequence[int], _: Path) -> tuple[Row, Answer]:
    answers = [ours("market", seed) for seed in seeds]
    rates = {rows: [answer[rows] for answer in answers] for rows in answers[0]}
    slowest, first, last = (median(rates[rows]) for rows in (min(rates, key=lambda r: median(rates[r])), "1000", "1000000"))
    row = Row(
        "Stock environment alone, 256 wide, 1,000 to 1,000,000 rows of prices",
        "; ".join(f"{int(rows):,} rows: {spread(rate, '/s')}" for rows, rate in rates.items()),
        "",
        f"at least {number(slowest)} /s; {number(first / last)} × the cost at 1,000,000 rows",
        "at least 1,000,000 /s, cost a step flat",
        slowest >= 1e6 and first / last <= 1.25,
    )
    return row, {"us": answers}


def memory(seeds: Sequence[int], python: Path) -> tuple[Row, Answer]:
    us, them = [], []
    for seed in seeds:
        us.append(ours("worker", seed))
        them.append(ask(python, SB3, "solve", "ppo", seed))
    peak = [[answer["peak_mb"] for answer in side] for side in (us, them)]
    row = Row(
        "Peak memory of a worker, CartPole-v1, ppo; a process of Stable-Baselines3",
        spread(peak[0], "MB"),
        spread(peak[1], "MB"),
        f"{number(median(peak[0]) / median(peak[1]))} ×",
        "not above it",
        median(peak[0]) <= median(peak[1]),
    )
    return row, {"us": us, "them": them}


def store(seeds: Sequence[int], _: Path) -> tuple[Row, Answer]:
    answers = [ours("store", seed) for seed in seeds]
    share = [100 * answer["share"] for answer in answers]
    row = Row(
        "Run store: what keeping a run of 3 M steps costs of its time",
        spread(share, "%"),
        "",
        f"{number(median(share))} %",
        "at most 3 %",
        median(share) <= 3,
    )
    return row, {"us": answers}


def read(seeds: Sequence[int], _: Path) -> tuple[Row, Answer]:
    answers = [ours("read", seed) for seed in seeds]
    times = {length: [answer[length] for answer in answers] for length in answers[0] if length != "all"}
    short, long = (median(times[length]) for length in ("1000", "200000"))
    row = Row(
        "Run store: reading the 500 newest records",
        "; ".join(f"of {int(length):,}: {spread(time, 'ms', 2)}" for length, time in times.items()),
        "",
        f"{number(long, 2)} ms of 200,000, {number(long / short, 2)} × that of 1,000",
        "a few ms, whatever the length",
        long <= 10 and long <= 2 * short,
    )
    return row, {"us": answers}


def watching(seeds: Sequence[int], _: Path) -> tuple[Row, Answer]:
    seconds = watched(seeds)
    ratio = {tabs: median(times) / median(seconds[0]) for tabs, times in seconds.items()}
    row = Row(
        "A run of 2 M steps, watched by tabs of a browser on the same machine",
        "; ".join(f"{tabs} tab{'s' * (tabs != 1)}: {spread(times, 's')}" for tabs, times in seconds.items()),
        "",
        f"{number(ratio[1])} × with 1, {number(ratio[10])} × with 10",
        "at most 1.05 × with 1, 1.15 × with 10",
        ratio[1] <= 1.05 and ratio[10] <= 1.15,
    )
    return row, {"seconds": seconds}


def seeds_at_once(seeds: Sequence[int], _: Path) -> tuple[Row, Answer]:
    answers = two_seeds(seeds)
    ratio = median(answers["two"]) / median(answers["one"])
    bare = median(answers["bare_two"]) / median(answers["bare_one"])
    row = Row(
        "`train --seeds 2` on 2 cores; `--seeds 1`",
        spread(answers["two"], "s"),
        spread(answers["one"], "s"),
        f"{number(ratio)} × (two trainers side by side without the store: {number(bare)} ×)",
        "at most 1.1 ×",
        ratio <= 1.1,
    )
    return row, answers


SINGLES: dict[str, Callable[[Sequence[int], Path], tuple[Row, Answer]]] = {
    "acting": acting,
    "market": market,
    "seeds": seeds_at_once,
    "watched": watching,
    "store": store,
    "read": read,
    "memory": memory,
}


def say(name: str, *answers: Answer) -> None:
    print(name, *(json.dumps(answer) for answer in answers), file=sys.stderr, flush=True)


def main() -> None:
    names = [*DUELS, "purejaxrl", *SINGLES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--purejaxrl", metavar="CHECKOUT", help="a checkout of PureJaxRL; left out where there is none")
    parser.add_argument("--jax-python", metavar="PYTHON", help="an interpreter that has what PureJaxRL needs")
    asked = parser.parse_args()
    seeds, python = range(asked.seeds), peers_python()
    kept = RAW / "speed.json"
    raw = json.loads(kept.read_text()) if kept.exists() else {}
    for name in asked.only:
        if name in DUELS:
            row, found = duel(name, seeds, python)
        elif name != "purejaxrl":
            row, found = SINGLES[name](seeds, python)
        elif asked.purejaxrl:
            row, found = purejaxrl(seeds, asked.purejaxrl, asked.jax_python or sys.executable)
        else:
            row, found = Row("CartPole-v1 until solved, ppo; PureJaxRL", "", "no checkout was named", "", "faster", None), {}
        raw[name] = {"row": asdict(row), **found}
        print(goals([row]), file=sys.stderr, flush=True)
        rows = [Row(**raw[each]["row"]) for each in names if each in raw]
        body = f"Medians of {len(seeds)} seeds, range in brackets. One thread of torch on each side.\n\n{goals(rows)}"
        write_section("speed", "Speed", body, versions=f"{versions(OURS)}; peers: {versions(PEERS, python)}", raw=raw)


if __name__ == "__main__":
    main()
