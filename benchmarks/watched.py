"""What it costs a run to be watched: the same run with no page open, with one tab and with ten, on one machine."""

import time
from collections.abc import Iterable

import psutil
from playwright.sync_api import Browser, sync_playwright

from benchmarks.processes import Served, await_warm, served
from pgcore.config import TrainConfig
from tests import chromium

TABS = (0, 1, 10)
STEPS = 2_000_000
PATIENCE_MS = 120_000
CALM = 0.25


def watched(seeds: Iterable[int], steps: int = STEPS) -> dict[int, list[float]]:
    """Seconds that runs of so many steps take, by the number of tabs that watch them; the numbers of tabs take turns."""
    seconds: dict[int, list[float]] = {tabs: [] for tabs in TABS}
    with served() as app, sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        for seed in seeds:
            for tabs in TABS:
                await_warm(app)
                seconds[tabs].append(run_watched(app, browser, tabs, TrainConfig(seed=seed, max_steps=steps)))
        browser.close()
    return seconds


def run_watched(app: Served, browser: Browser, tabs: int, config: TrainConfig) -> float:
    """Seconds from going on after the first update, with all tabs open on the run and drawn, to its end."""
    store = app.store
    run_id = store.create_run(config.replace(stop_when_solved=False))
    store.request(run_id, pause_at=1)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    pages = [context.new_page() for _ in range(tabs)]
    for page in pages:
        page.goto(f"{app.address}/?run={run_id}")
    for page in pages:
        page.locator(".live-chart .main-svg").first.wait_for(timeout=PATIENCE_MS)
    while store.run(run_id).status != "paused":
        time.sleep(0.05)
    await_calm()
    started = time.time()
    store.request(run_id, desired="run", pause_at=None)
    while not (run := store.run(run_id)).is_over:
        if pages:
            pages[0].wait_for_timeout(500)
        else:
            time.sleep(0.5)
    context.close()
    assert run.status == "finished", run.error
    assert run.ended is not None
    return run.ended.timestamp() - started


def await_calm() -> None:
    """Wait until the browser has opened what it opens: it takes a quarter of a core, or less."""

    def used() -> float:
        children = psutil.Process().children(recursive=True)
        return sum(sum(child.cpu_times()[:2]) for child in children if child.is_running())

    before = used()
    time.sleep(1.0)
    while (now := used()) - before > CALM:
        before = now
        time.sleep(1.0)


if __name__ == "__main__":
    print(watched(range(1), 600_000))
