"""The browser of the tests: an installed Chromium or Chrome, else one from the system's packages, else playwright's own.

`python -m tests.chromium` makes sure there is one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HELP = (
    "No browser for the tests: install Chromium or Chrome (on Debian and Ubuntu: sudo apt-get install chromium; on a Mac:"
    " brew install --cask google-chrome), or run: .venv/bin/python -m playwright install --with-deps chromium"
)


def installed() -> str | None:
    """Where a Chromium or Chrome of the system is."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or (str(MAC) if MAC.exists() else None)


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=installed(), args=list(FLAGS))


def works() -> bool:
    with sync_playwright() as playwright:
        try:
            launch(playwright).close()
        except Exception as error:  # whatever is wrong with a browser, another way to get one is tried next
            print(str(error).splitlines()[0], file=sys.stderr)
            return False
    return True


def _by_package_manager() -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if shutil.which("apt-get") and (not as_root or shutil.which("sudo")):
        subprocess.run([*as_root, "apt-get", "update", "-qq"], check=False)
        subprocess.run([*as_root, "apt-get", "install", "-y", "-qq", "chromium"], check=False, stdout=subprocess.DEVNULL)


def _by_playwright() -> None:
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)


def main() -> int:
    for get in (None, _by_package_manager, _by_playwright):
        if get is not None:
            get()
        if works():
            return 0
    print(HELP, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
