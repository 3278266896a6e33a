"""Pictures of every page: light and dark, wide and narrow, empty, training and done. `make screenshots` puts them into build/.

The three that the README shows are written to tests/screenshots/ as well.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests import chromium
from tests.test_browser import ROOT, button, end_runs, serve

SIZES = {"wide": (1440, 900), "narrow": (400, 850)}
SHOWN = {"cartpole-done-light-wide": "cartpole", "stocks-done-light-wide": "stocks", "runs-compared-light-wide": "runs"}
OVER = re.compile(r"(solved|done|stopped)(, solved)? · [\d,]+ steps")
RESULT = re.compile("What it (learned|would have earned)")
SLOW = "stop_when_solved=off&max_steps=3000000"
MARKET = "prices=synthetic:mean-reversion,seed=4,rows=3000&window=50&allow_short=on&max_steps=150000"


def train_to_the_end(page: Page) -> None:
    button(page, "Train").click()
    expect(page.get_by_text(OVER)).to_be_visible(timeout=120_000)
    expect(page.get_by_text(RESULT).first).to_be_visible(timeout=120_000)
    page.wait_for_timeout(2500)


def while_training(page: Page) -> None:
    button(page, "Train").click()
    expect(page.get_by_text(re.compile(r"learning(, solved)? · [\d,]+ steps"))).to_be_visible(timeout=60_000)
    page.wait_for_timeout(2500)


def stop(page: Page) -> None:
    button(page, "Stop").click()
    expect(page.get_by_text(OVER)).to_be_visible(timeout=60_000)


def select_runs(page: Page) -> None:
    page.get_by_label("Find").fill("CartPole")  # seeds of one configuration
    page.keyboard.press("Enter")
    page.wait_for_timeout(2000)
    box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    for row in (1, 2, 3):
        page.mouse.click(box["x"] + 15, box["y"] + 18 + 35 * row)
        page.wait_for_timeout(1200)
    page.wait_for_timeout(2000)


def settle(page: Page) -> None:
    page.wait_for_timeout(2500)


SCENES: dict[str, tuple[str, Callable[[Page], None], Callable[[Page], None] | None]] = {
    "runs-empty": ("runs", settle, None),
    "cartpole-empty": ("", settle, None),
    "cartpole-training": (f"?{SLOW}", while_training, stop),
    "cartpole-done": ("", train_to_the_end, None),
    "cartpole-seeds": ("?seeds=4", train_to_the_end, None),
    "pendulum-empty": ("?task=Pendulum-v1", settle, None),
    "stocks-empty": ("stocks", settle, None),
    "stocks-training": ("stocks?max_steps=3000000", while_training, stop),
    "stocks-done": (f"stocks?{MARKET}", train_to_the_end, None),
    "stocks-upload": ("stocks", lambda page: (page.get_by_role("radio", name="Upload").click(), settle(page)), None),
    "runs-listed": ("runs", settle, None),
    "runs-compared": ("runs", select_runs, None),
    "estimators": ("estimators", settle, None),
}


@contextmanager
def opened(browser: Browser, address: str, theme: str, size: str) -> Iterator[Page]:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("[data-testid=stMain] [data-testid=stVerticalBlock]")
    page.wait_for_timeout(2500)
    yield page
    context.close()


def shoot(page: Page, path: Path, *, whole: bool) -> None:
    """One picture; of a whole page by making the window as high as what it shows."""
    if whole:
        height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(height + 80, 6000)})
        page.wait_for_timeout(1500)
    page.screenshot(path=path)


def main() -> int:
    chosen = sys.argv[1:] or list(SCENES)
    target = ROOT / "build" / "screenshots"
    target.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp())
    server, address = serve(home)
    try:
        with sync_playwright() as playwright:
            browser = chromium.launch(playwright)
            for name, (link, act, after) in SCENES.items():
                if name not in chosen:
                    continue
                for theme in ("light", "dark"):
                    for size in SIZES:
                        with opened(browser, f"{address}/{link}", theme, size) as page:
                            act(page)
                            path = target / f"{name}-{theme}-{size}.png"
                            shoot(
                                page,
                                path,
                                whole=size == "narrow" or name.startswith(("stocks-done", "runs-compared", "estimators")),
                            )
                            if after is not None:
                                after(page)
                        print(path.relative_to(ROOT), flush=True)
                        if path.stem in SHOWN:
                            shutil.copy(path, ROOT / "tests" / "screenshots" / f"{SHOWN[path.stem]}.png")
    finally:
        server.terminate()
        server.wait()
        end_runs(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
