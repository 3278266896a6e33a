"""What a page looks at again and again while a run goes on: a function, asked over HTTP, and no script runs for it.

A fragment that runs every quarter of a second costs the browser as much as drawing the charts does, and the server more.
"""

import asyncio
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pgcore.errors import BadInput
from pgcore.runs.database import StoreError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
TICKET = "x-live-ticket"
WATCHES_S = 15.0
RENEWED_WITHIN_S = 2.0
Look = Callable[[list[str], str], dict[str, Any]]


@dataclass
class _Stream:
    """One look of a session: whether it was ever asked, and when a browser on this machine asked it last."""

    session: str
    key: str
    look: Look
    is_asked: bool = False
    asked_here_at: float = -math.inf


_lock = threading.Lock()
_streams: dict[str, _Stream] = {}


def stream(key: str, look: Look) -> str:
    """The ticket with which this session's page can ask `look(have, at)` at `live`.

    `have` names what it need not be told again, `at` says where its slider stands. By the same key a session has the same
    ticket, which ends with the session; who asks when another look is `due` is told what that one says. A ticket cannot be
    guessed, is told to this session alone, and stands in no log of addresses; the look sees what it was given: a store of the
    person whose script made it.
    """
    context = get_script_run_ctx()
    session = context.session_id if context else ""
    with _lock:
        for token, each in list(_streams.items()):
            if (each.session, each.key) == (session, key):
                each.look = look
                return token
            if not is_open(each.session):
                del _streams[token]
        token = secrets.token_urlsafe(24)
        _streams[token] = _Stream(session, key, look)
    return token


def is_asked(ticket: str) -> bool:
    """Whether the page has asked with this ticket before."""
    with _lock:
        return ticket in _streams and _streams[ticket].is_asked


def watchers() -> int:
    """How many sessions in browsers on this machine, which draw on its cores, have asked lately."""
    since = time.monotonic() - WATCHES_S
    with _lock:
        return len({each.session for each in _streams.values() if each.asked_here_at > since})


def is_open(session: str) -> bool:
    """Whether the page of a session is still there, and so whoever logged in on it."""
    return not runtime.exists() or runtime.get_instance().is_active_session(session)


async def _answer(request: Request) -> Response:
    with _lock:
        asked = _streams.get(request.headers.get(TICKET, ""))
    if asked is None or not is_open(asked.session):
        return Response(status_code=404)
    asked.is_asked, is_here = True, _is_here(request)
    if is_here:
        asked.asked_here_at = time.monotonic()
    have, at, due = (request.query_params.get(name, "") for name in ("have", "at", "due"))
    if due:
        await _renewed(asked)
    answer = await run_in_threadpool(_look, asked.look, have.split(","), at)
    if is_here:
        answer.headers["Content-Encoding"] = "identity"  # packing takes longer than it saves within one machine
    return answer


def _is_here(request: Request) -> bool:
    """Whether the browser is on this machine: a reverse proxy, which may be, says for whom or by which name it was asked."""
    asks_from_here = request.client is not None and request.client.host in LOOPBACK
    return asks_from_here and request.url.hostname in LOOPBACK and "x-forwarded-for" not in request.headers


async def _renewed(asked: _Stream) -> None:
    """Wait a while for the look that takes the place of this one."""
    before, give_up_at = asked.look, time.monotonic() + RENEWED_WITHIN_S
    while asked.look is before and time.monotonic() < give_up_at:
        await asyncio.sleep(0.005)


def _look(look: Look, have: list[str], at: str) -> Response:
    try:
        return JSONResponse(look(have, at), headers={"Cache-Control": "no-store"})
    except StoreError:  # busy: the next look comes to it
        return Response(status_code=503)
    except BadInput:  # what was looked at is gone, and the page's script says so in words
        return Response(status_code=404)


ROUTE = Route("/live", _answer)
