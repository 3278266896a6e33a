"""How the app bears many eyes, many clicks, dying processes and bad input; writes the section `stress` of RESULTS.md.

python -m benchmarks.stress [watch] [clicks] [kills] [restart] [fuzz] [--short]

Sessions are real ones over real websockets, without a browser behind them (see `streamlit_client`). Parts that are not named
keep what the last run of them found.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

from benchmarks.attack import fuzzing
from benchmarks.deaths import killing, restarting
from benchmarks.eyes import clicking, watching
from benchmarks.report import RAW, Row, goals, number, versions, write_section
from pages.ui.server import MOST_ROWS

LATENCY_GOAL_MS = 250
GROWTH_GOAL = 0.02

PARTS: dict[str, tuple[Callable[..., dict[str, Any]], dict[str, Any], dict[str, Any]]] = {  # what to call, in full, in short
    "watch": (
        watching,
        {"sessions": 20, "runs": 10, "seconds": 120.0, "updates": 199 * MOST_ROWS // 100},
        {"sessions": 4, "runs": 3, "seconds": 6.0, "updates": 1},
    ),
    "clicks": (clicking, {"clicks": 50}, {"clicks": 6}),
    "kills": (killing, {"seconds": 120.0, "steps": 10_000_000}, {"seconds": 6.0, "steps": 300_000}),
    "restart": (restarting, {"steps": 3_000_000}, {"steps": 200_000}),
    "fuzz": (fuzzing, {"requests": 10_000}, {"requests": 60}),
}


def rows(found: dict[str, dict[str, Any]]) -> list[Row]:
    """The lines of the table, for the parts there are."""
    lines = []
    if it := found.get("watch"):
        early, late = it["memory_mb"]
        what = f"{it['sessions']} sessions watch {it['runs']} runs, {it['training_at_once']} training, {it['seconds']:.0f} s"
        polls = f"{it['polls']:,} polls, median {number(it['median_ms'])} ms, p95 {number(it['p95_ms'])} ms"
        bad = len(it["errors"]) + len(it["log"])
        grown = f"{early:.0f} MB, later {late:.0f} MB"
        lines += [
            Row(
                what,
                polls,
                "",
                f"p95 {number(it['p95_ms'])} ms",
                f"p95 under {LATENCY_GOAL_MS} ms",
                it["p95_ms"] < LATENCY_GOAL_MS,
            ),
            Row("the same: errors", str(bad), "", str(bad), "0", bad == 0),
            Row(
                "the same: memory of the server, in the second and the last quarter of the time",
                grown,
                "",
                f"{late / early - 1:+.1%}",
                "flat",
                late < early * (1 + GROWTH_GOAL),
            ),
        ]
    if it := found.get("clicks"):
        done = it["states"].get("finished", 0)
        text = (
            f"p95 {number(it['p95_ms'])} ms to the answer; all trained after {it['all_done_s']:.0f} s, {it['at_once']} at once"
        )
        met = done == it["clicks"] == it["runs"] == it["pages_with_a_run_of_their_own"] and not it["log"]
        lines.append(Row(f"{it['clicks']} Train clicks at once", text, "", f"{done} runs finished", "each its run", met))
    if it := found.get("kills"):
        text = f"{it['kills']} kills, {it['resumes']} resumed; {it['states']}"
        differing = len(it["differences"])
        met = it["lost"] == it["untrue"] == differing == 0 and it["states"].get("finished") == it["runs"]
        result = f"{it['lost']} records lost, {it['untrue']} untrue states, {differing} of {it['runs']} runs differ"
        lines.append(Row("trainers killed at random", text, "", result, "0, 0, none differs from one left alone", met))
    if it := found.get("restart"):
        text = f"{it['updates_alone']} updates while there was no server; up again in {it['healthy_s']:.1f} s; {it['states']}"
        met = it["updates_alone"] > 0 and it["shown"] and set(it["states"]) == {"finished"}
        lines.append(Row("server killed and started again", text, "", "run goes on" if met else "not so", "run goes on", met))
    if it := found.get("fuzz"):
        text = f"median {number(it['median_ms'])} ms, longest {number(it['longest_ms'])} ms, {it['refused']:,} refused in words"
        counts = {name: len(it[name]) for name in ("tracebacks", "hangs", "outside", "left_in_scratch")}
        what = f"{it['links']:,} fuzzed links, {it['uploads']:,} fuzzed uploads"
        result = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        lines.append(Row(what, text, "", result, "none of these", not any(counts.values()) and it["alive"]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts; all without")
    parser.add_argument("--short", action="store_true", help="a few seconds of each; nothing is written")
    asked = parser.parse_args()
    kept = RAW / "stress.json"
    found = json.loads(kept.read_text()) if kept.exists() and not asked.short else {}
    for part in asked.parts or PARTS:
        print(f"{part} …", flush=True)
        test, full, short = PARTS[part]
        found[part] = test(**(short if asked.short else full))
        print(json.dumps(found[part], indent=1, default=str), flush=True)
    if not asked.short:
        write_section("stress", "Stress", goals(rows(found)), versions=versions(), raw=found)


if __name__ == "__main__":
    main()
