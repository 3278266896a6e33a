"""The server: Streamlit's pages, plotly.js out of the installed package, and the workers that train beside it."""

import base64
import ctypes
import gc
import hashlib
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import plotly
import streamlit as st
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.ui import login, server, stream
from pgcore.errors import BadInput
from pgcore.runs.database import StoreError

PAGES = Path(__file__).parent / "pages"
KEEP_DELETED_S = 7 * 24 * 3600.0  # as long a deletion could be undone
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
LARGE, KEPT = 2**20, 2**22  # bytes
LOOPBACK = ("127.0.0.1", "::1", "localhost")
STRANGER = PlainTextResponse(
    "This app answers to its own machine only: open http://localhost, or name the host in server.allowedHosts.", status_code=403
)
NOT_LOGGED_IN = PlainTextResponse("Log in to send a file.", status_code=403)
BASE = "/".join(("", *filter(None, st.get_option("server.baseUrlPath").split("/"))))  # "", or "/lab" below that path
UPLOAD = re.compile(r"/_stcore/upload_file/(?P<session>[^/]*)")


def _share_heap() -> None:
    """Have all threads allocate from the heap there is by now, and large blocks outside of it, where the C library is glibc.

    It gives each thread a heap of its own, and each grows to the largest answer ever made in it: with a dozen threads, which
    run Python one at a time anyway, the server grew for minutes. And it learns to put ever larger blocks into a heap, between
    small ones that stay: of what the server held of its heap two thirds were holes. Smaller than this a block is cheaper to
    keep than to have from the kernel again, which clears it: to price a run at another cost took half as long again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, KEPT)


_share_heap()


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Bring the runs of an earlier server to their true state, remove those deleted a week ago and warm workers up; stop
    the idle ones at the end."""
    try:
        login.providers()
        store = server.pool().store
        with suppress(StoreError):  # busy: the next start comes to it
            store.purge_deleted(KEEP_DELETED_S)
    except BadInput as error:
        raise SystemExit(str(error)) from None
    _load_pages()
    yield
    server.close()


def _load_pages() -> None:
    """Load what the pages are made of before anybody waits for it, and tell the garbage collector to leave it alone: each of
    its full rounds would hold all sessions up for some 80 ms."""
    for file in sorted((PAGES / "ui").glob("*.py")):
        import_module(f"pages.ui.{file.stem}")
    gc.collect()
    gc.freeze()


# Where the server is, which Streamlit's page would otherwise find out by asking below the address of the page first, in vain.
SERVER_IS_HERE = '<script>window.__streamlit = { BACKEND_BASE_URL: new URL(".", location).href }</script>'
# What st.html would bring comes seconds after the rest of a page where the machine is busy.
STYLE = f"<style>{(PAGES / 'ui' / 'page.css').read_text(encoding='utf-8')}</style>"
INDEX = (
    (Path(st.__file__).parent / "static" / "index.html")
    .read_text(encoding="utf-8")
    .replace("<head>", f"<head>{SERVER_IS_HERE}")
    .replace("</head>", f"{STYLE}</head>")
)


async def _index(_: Request) -> Response:
    return HTMLResponse(INDEX, headers={"Cache-Control": "no-cache"})


def _own_scripts() -> str:
    """The scripts in Streamlit's own page, as a policy names them: by their hash."""
    scripts = re.findall(r"<script>(.*?)</script>", INDEX, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)


# Streamlit's style sheets are made in the browser, its components arrive as blobs, and plotly builds the functions that feed
# WebGL from text (parallel coordinates). No script in a page runs but that whose hash is here.
POLICY = "; ".join(
    (
        "default-src 'self'",
        f"script-src 'self' blob: 'unsafe-eval' {_own_scripts()}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
)


class Guard:
    """Every answer carries what keeps a browser from loading, framing or telling anything it should not.

    Files are taken from nobody who is not logged in, where a login is asked for.
    Where only this machine is served and no login is asked for, only requests for this machine by its own name are answered:
    a page from elsewhere can have its name lead here (DNS rebinding), but cannot change the name it asks for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"].endswith("response.start"):
                message["headers"] = [*message["headers"], *HEADERS]
            elif message["type"] == "lifespan.startup.failed":  # the sentence above, rather than the way to it
                message["message"] = message["message"].rpartition("SystemExit: ")[2]
            await send(message)

        answer = self.app
        if scope["type"] != "lifespan":
            upload = UPLOAD.search(scope["path"])
            if _asks_for_another(Headers(scope=scope).get("host", "")):
                answer = STRANGER
            elif upload is not None and not login.may_upload(upload["session"]):
                answer = NOT_LOGGED_IN
        await answer(scope, receive, with_headers)


def _asks_for_another(host: str) -> bool:
    own = st.get_option("server.address") in LOOPBACK and not st.get_option("server.allowedHosts") and not login.providers()
    try:
        return own and urlsplit(f"//{host}").hostname not in LOOPBACK
    except ValueError:  # no host at all, such as `[::1`
        return True


ROUTES = [
    Route(BASE + stream.ROUTE.path, stream.ROUTE.endpoint),
    Mount(f"{BASE}/plotly", StaticFiles(directory=Path(plotly.__file__).parent / "package_data")),
    *(Route(f"{BASE}/{name}", _index) for name in ("", *(file.stem for file in PAGES.glob("[!_]*.py")))),
]
app = st.App(PAGES / "navigation.py", lifespan=lifespan, routes=ROUTES, middleware=[Middleware(Guard)])
