"""The server: Streamlit's pages, plotly.js out of the installed package, and the workers that train beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import plotly
import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Bring the runs of an earlier server to their true state and warm workers up; stop the idle ones at the end."""
    from pages.ui.server import pool

    workers = pool()
    yield
    workers.shutdown()


class SecurityHeaders:
    """Answers carry what keeps a browser from guessing types, framing the app elsewhere and telling where it came from."""

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"referrer-policy", b"same-origin"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers)


app = st.App(
    Path(__file__).parent / "pages" / "navigation.py",
    lifespan=lifespan,
    routes=[Mount("/plotly", StaticFiles(directory=Path(plotly.__file__).parent / "package_data"))],
    middleware=[Middleware(SecurityHeaders)],
)
