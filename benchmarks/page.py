"""How long a person waits for the page, in real Chromium; writes the section `page` of RESULTS.md.

python -m benchmarks.page [--rounds 5]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from playwright.sync_api import Browser, CDPSession, Locator, Page, expect, sync_playwright

from benchmarks.processes import ROOT, Served, await_warm, served
from benchmarks.report import Row, goals, number, spread, versions, write_section
from pgcore.config import TrainConfig
from tests import chromium

PATIENCE_MS = 120_000
TICKS = 10
MOVES = 10
POINTS = 2_000
VIEW = {"width": 1440, "height": 900}
expect.set_options(timeout=PATIENCE_MS)

# Milliseconds from the next event of a kind to the first frame on which something holds, into window.timed.took.
STOPWATCH = """() => {
  const timed = window.timed = {};
  addEventListener("%s", () => { timed.began ??= performance.now(); }, { capture: true, once: true });
  const look = () => {
    if (timed.began && (%s)) timed.took = performance.now() - timed.began;
    else requestAnimationFrame(look);
  };
  look();
}"""
HAS_POINT = "document.querySelector('.live-chart .scatterlayer path.js-line')?.getAttribute('d')?.length > 0"


def usable_after(app: Served, browser: Browser) -> tuple[float, float]:
    """Seconds from opening the first page of a fresh server, and from starting that server, to a Train button to press."""
    page = browser.new_page(viewport=VIEW)
    opened = time.perf_counter()
    page.goto(app.address)
    expect(train_button(page)).to_be_enabled()
    now = time.perf_counter()
    page.close()
    return now - opened, now - app.started_at


def first_point_ms(app: Served, browser: Browser) -> float:
    """Milliseconds from pressing Train to the first point on a chart."""
    page = browser.new_page(viewport=VIEW)
    page.goto(app.address)
    expect(train_button(page)).to_be_enabled()
    page.locator(".live-chart .main-svg").first.wait_for(timeout=PATIENCE_MS)
    await_warm(app)
    took = timed(page, "click", HAS_POINT, lambda: train_button(page).click())
    expect(page.get_by_text(re.compile(r"solved · [\d,]+ steps"))).to_be_visible()
    page.close()
    return took


def repaint_ms(page: Page, slider: Locator, painted: str) -> list[float]:
    """Milliseconds from each move of a slider to the frame on which `painted`, JavaScript that mentions `before`, holds."""
    slider.focus()
    times = []
    for move in range(MOVES):
        before = page.evaluate(f"JSON.stringify({painted})")
        key = "ArrowRight" if move < MOVES // 2 else "ArrowLeft"
        changed = f"JSON.stringify({painted}) !== {json.dumps(before)}"
        times.append(timed(page, "keydown", changed, lambda key=key: page.keyboard.press(key)))
        page.wait_for_timeout(400)
    return times


def timed(page: Page, event: str, holds: str, act: Callable[[], None]) -> float:
    page.evaluate(STOPWATCH % (event, holds))
    act()
    page.wait_for_function("window.timed.took !== undefined", timeout=PATIENCE_MS)
    return float(page.evaluate("window.timed.took"))


def train_button(page: Page) -> Locator:
    return page.locator("[data-testid=stMain]").get_by_role("button", name="Train", exact=False).first


@contextmanager
def training(app: Served, browser: Browser, updates: int, pace: float) -> Iterator[Page]:
    """A page on a run that has made so many updates and goes on at a pace."""
    store = app.store
    config = TrainConfig(num_envs=8, rollout_steps=16, max_steps=100_000_000, stop_when_solved=False)
    run_id = store.create_run(config)
    while store.run(run_id).updates < updates:
        time.sleep(0.1)
    store.request(run_id, pace=pace)
    page = browser.new_page(viewport=VIEW)
    page.goto(f"{app.address}/?run={run_id}")
    page.locator(".live-chart .main-svg").first.wait_for(timeout=PATIENCE_MS)
    yield page
    page.close()
    store.request(run_id, desired="stop")


def zoom_survives(page: Page) -> tuple[int, int]:
    """Of ten ticks: after how many every chart node was the one it was, and how many left a drag zoom as it was."""
    page.wait_for_timeout(1000)
    plot = page.locator(".live-chart .nsewdrag").first
    box = plot.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], middle, steps=5)
    page.mouse.up()
    page.evaluate("""() => {
      const nodes = window.nodes = [...document.querySelectorAll(".live-chart")];
      window.ticks = 0;
      nodes[0].addEventListener("drawn", () => window.ticks++);
      window.zoom = JSON.stringify(nodes[0]._fullLayout.xaxis.range);
    }""")
    kept = zoomed = 0
    for tick in range(1, TICKS + 1):
        page.wait_for_function(f"window.ticks >= {tick}", timeout=PATIENCE_MS)
        kept += page.evaluate("""() => {
          const now = [...document.querySelectorAll(".live-chart")];
          return now.length === nodes.length && now.every((node, i) => node === nodes[i]);
        }""")
        zoomed += page.evaluate("JSON.stringify(nodes[0]._fullLayout.xaxis.range) === zoom")
    return kept, zoomed


def main_thread_ms(page: Page, seconds: float = 10.0) -> tuple[float, int]:
    """Milliseconds of the main thread's own time a tick, with three live charts, and the number of ticks.

    The stage is paused: it plays an episode at 60 frames a second when it opens, whether or not anything trains.
    """
    page.get_by_role("button", name="Pause the episode").click()
    page.get_by_text("Diagnostics", exact=False).first.click()
    expect(page.locator(".live-chart .main-svg").nth(4)).to_be_visible()
    page.wait_for_timeout(2000)
    assert page.locator(".live-chart").count() == 3
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.evaluate("""() => {
      window.ticks = 0;  // every tick brings new actions; new returns only when an episode has ended
      document.querySelectorAll(".live-chart")[1].addEventListener("drawn", () => window.ticks++);
    }""")
    before = busy_s(session)
    page.wait_for_timeout(1000 * seconds)
    ticks = page.evaluate("window.ticks")
    return 1000 * (busy_s(session) - before) / ticks, ticks


def busy_s(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def list_runs_s() -> float:
    """Seconds of `python -m pgcore runs`, from nothing."""
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        environment = os.environ | {"PGLAB_HOME": directory}
        subprocess.run([sys.executable, "-m", "pgcore", "runs"], cwd=ROOT, env=environment, check=True)
        return time.perf_counter() - started


def measure(rounds: int) -> tuple[list[Row], dict[str, Any]]:
    raw: dict[str, Any] = {"opened": [], "started": [], "first_point": [], "window": [], "cost": [], "tick": []}
    raw["list_runs"] = [list_runs_s() for _ in range(rounds)]
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        for _ in range(rounds):
            with served() as app:
                opened, started = usable_after(app, browser)
                raw["opened"].append(opened)
                raw["started"].append(started)
        with served() as app:
            raw["first_point"] = [first_point_ms(app, browser) for _ in range(2 * rounds)]
            page = browser.new_page(viewport=VIEW)
            page.goto(f"{app.address}/stocks")
            chart = "document.querySelector('.js-plotly-plot')._fullData?.[1]?.name"
            page.wait_for_function(f"{chart.replace(')._', ')?._')} !== undefined", timeout=PATIENCE_MS)
            raw["window"] = repaint_ms(page, page.get_by_role("slider", name=re.compile("window")).first, chart)
            run_id = app.store.create_run(TrainConfig(task="stocks", prices="sp500"))
            while not app.store.run(run_id).is_over:
                time.sleep(0.1)
            page.goto(f"{app.address}/stocks?run={run_id}")
            curve = "[...document.querySelectorAll('.live-chart')].at(-1)._fullData?.[1]?.y?.at(-1)"
            page.wait_for_function(f"document.querySelectorAll('.live-chart').length === 5 && {curve} !== undefined")
            page.wait_for_timeout(2000)
            cost = page.get_by_role("slider", name=re.compile("cost")).last
            raw["cost"] = repaint_ms(page, cost, curve)
            page.close()
            with training(app, browser, POINTS, pace=8) as page:
                raw["kept"], raw["zoomed"] = zoom_survives(page)
                for _ in range(rounds):
                    page.reload()
                    page.locator(".live-chart .main-svg").first.wait_for(timeout=PATIENCE_MS)
                    raw["tick"].append(main_thread_ms(page))
        browser.close()
    return rows(raw), raw


def rows(raw: dict[str, Any]) -> list[Row]:
    ticks = [each for each, _ in raw["tick"]]
    return [
        Row(
            "First page of a fresh server, from opening it to a Train button to press",
            f"{spread(raw['opened'], 's')}; from starting the server {spread(raw['started'], 's')}",
            "",
            f"{number(median(raw['opened']))} s",
            "within 3 s",
            median(raw["opened"]) <= 3,
        ),
        Row(
            "Pressing Train to the first point, a warm worker",
            spread(raw["first_point"], "ms"),
            "",
            f"{number(median(raw['first_point']))} ms",
            "under 300 ms",
            median(raw["first_point"]) < 300,
        ),
        Row(
            "While training: chart nodes kept, and drag zoom kept",
            f"{raw['kept']} and {raw['zoomed']} of {TICKS} ticks",
            "",
            "",
            f"{TICKS} of {TICKS}",
            raw["kept"] == raw["zoomed"] == TICKS,
        ),
        Row(
            f"Main thread a tick, 3 live charts of {POINTS:,} points, the stage paused",
            spread(ticks, "ms"),
            "",
            f"{number(median(ticks))} ms",
            "under 40 ms",
            median(ticks) < 40,
        ),
        Row(
            "Window slider of the price chart, from key to repaint",
            spread(raw["window"], "ms"),
            "",
            f"{number(median(raw['window']))} ms",
            "under 150 ms",
            median(raw["window"]) < 150,
        ),
        Row(
            "Cost slider of a finished run, from key to the verdict, the numbers and the curves at that cost",
            spread(raw["cost"], "ms"),
            "",
            f"{number(median(raw['cost']))} ms",
            "under 150 ms",
            median(raw["cost"]) < 150,
        ),
        Row("`python -m pgcore runs`, from nothing", spread(raw["list_runs"], "s"), "", "", "", None),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    found, raw = measure(parser.parse_args().rounds)
    write_section("page", "Page", goals(found), versions=versions(("streamlit", "plotly", "playwright")), raw=raw)


if __name__ == "__main__":
    main()
