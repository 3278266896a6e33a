"""A browser session without a browser: Streamlit's own protobuf messages over a real websocket, and its real upload route.

It sends what the page of Streamlit 1.67 sends and reads all that the server answers, but draws nothing: twenty of them leave
the machine to the server, where twenty Chromiums would measure themselves.
"""

import asyncio
import json
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

PATIENCE_S = 60.0
ELSEWHERE = "192.0.2.1"  # who watches on another machine looks as often as if alone
MOST_BYTES = 256 * 2**20
DONE = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)


@dataclass(frozen=True)
class Stream:
    """What a board of a page looks at again: after how many seconds, and which fragment runs where it takes another turn."""

    wait: float
    turn: str
    fragment: str


@dataclass
class Shown:
    """What a run of the page drew: the texts of its alerts, exceptions and other Markdown, its widgets and the fragments they
    are in by id, and the streams of its boards by address."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    widgets: dict[str, Any] = field(default_factory=dict)
    fragments: dict[str, str] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    size: int = 0

    def add(self, element: Any, fragment: str) -> None:
        kind = element.WhichOneof("type")
        drawn: Any = getattr(element, kind) if kind else None
        if kind == "exception":
            self.exceptions.append(f"{drawn.type} {drawn.message} {' '.join(drawn.stack_trace)}")
        elif kind == "alert":
            (self.errors if drawn.format == drawn.ERROR else self.warnings).append(f"{drawn.title} {drawn.body}")
        elif kind in ("markdown", "text", "heading", "code"):
            self.texts.append(drawn.code_text if kind == "code" else drawn.body)
        elif kind == "bidi_component":
            data = json.loads(drawn.json or "{}")
            if data.get("stream") and data["frame"]["wait"] is not None:
                self.streams[data["stream"]] = Stream(data["frame"]["wait"], data["frame"]["turn"], fragment)
        if hasattr(drawn, "id") and drawn.id:
            self.widgets[drawn.id], self.fragments[drawn.id] = drawn, fragment


class Session:
    """One open page."""

    def __init__(self, address: str, page: str, query: str) -> None:
        self.address = address
        self.page = page
        self.query = query
        self.page_hash = ""
        self.states: dict[str, WidgetState] = {}
        self.shown = Shown()
        self.redirect = ""
        self._asked: list[asyncio.Future[Shown]] = []  # for which no run has begun yet
        self._running: list[asyncio.Future[Shown]] = []
        self._urls_awaited: dict[str, asyncio.Future[Any]] = {}

    @classmethod
    async def open(cls, address: str, page: str = "", query: str = "") -> Self:
        """Do as a browser that follows a link: the health check for the cookie, the websocket, the first run."""
        session = cls(address, page, query)
        # The server closes what was idle for 5 s: a browser then asks again, this client asks anew from the start.
        session.http = httpx.AsyncClient(base_url=address, timeout=PATIENCE_S, limits=httpx.Limits(keepalive_expiry=2.0))
        await session.http.get("/_stcore/health")
        session.token = session.http.cookies.get("_streamlit_xsrf") or ""
        host = urlsplit(address).netloc
        session.socket = await connect(
            f"ws://{host}/_stcore/stream",
            origin=Origin(address),
            subprotocols=[Subprotocol("streamlit"), Subprotocol(session.token)],
            additional_headers={"Cookie": f"_streamlit_xsrf={session.token}"},
            max_size=MOST_BYTES,
            open_timeout=PATIENCE_S,
        )
        session._reading = asyncio.create_task(session._read())
        await session.run()
        return session

    http: httpx.AsyncClient
    socket: ClientConnection
    token: str
    _reading: asyncio.Task[None]

    async def run(self, fragment: str = "", *, wait_s: float = PATIENCE_S) -> Shown:
        """Have the page, or a fragment of it, run, with widget values in `states`; what it drew. Raises TimeoutError."""
        return await asyncio.wait_for(self.ask(fragment), wait_s)

    def ask(self, fragment: str = "", *, pressed: str = "") -> asyncio.Future[Shown]:
        """The same without waiting; `pressed` is the id of a button."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self.query, self.page_hash
        state.page_name = "" if self.page_hash else self.page
        state.fragment_id = fragment
        state.widget_states.widgets.extend(self.states.values())
        if pressed:
            state.widget_states.widgets.append(WidgetState(id=pressed, trigger_value=True))
        future: asyncio.Future[Shown] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self._sending = asyncio.ensure_future(self.socket.send(message.SerializeToString()))
        return future

    async def press(self, key: str) -> Shown:
        """Press the button of this key: the fragment it is in runs, or the page."""
        button = self.widget(key)
        return await asyncio.wait_for(self.ask(self.shown.fragments[button], pressed=button), PATIENCE_S)

    def widget(self, key: str) -> str:
        """The id of the widget of this key. Raises KeyError."""
        found = [each for each in self.shown.widgets if each.endswith(f"-{key}")]
        if not found:
            raise KeyError(f"no widget {key} among {sorted(each.split('-', 2)[-1] for each in self.shown.widgets)}")
        return found[-1]

    def choose(self, key: str, *values: str) -> None:
        """Set a segmented control or pills."""
        state = WidgetState(id=self.widget(key))
        state.string_array_value.data.extend(values)
        self.states[state.id] = state

    async def upload(self, key: str, name: str, content: bytes) -> int:
        """Put a file into a file uploader, for the next run; the server's status."""
        request = BackMsg()
        request.file_urls_request.request_id = str(uuid.uuid4())
        request.file_urls_request.file_names.append(name)
        future = self._urls_awaited[request.file_urls_request.request_id] = asyncio.get_running_loop().create_future()
        await self.socket.send(request.SerializeToString())
        urls = await asyncio.wait_for(future, PATIENCE_S)
        answer = await self.http.put(urls.upload_url, files={"file": (name, content)}, headers={"X-Xsrftoken": self.token})
        state = WidgetState(id=self.widget(key))
        info = state.file_uploader_state_value.uploaded_file_info.add()
        info.name, info.size, info.file_id = name, len(content), urls.file_id
        info.file_urls.CopyFrom(urls)
        self.states[state.id] = state
        return answer.status_code

    async def close(self) -> None:
        self._reading.cancel()
        await self.socket.close()
        await self.http.aclose()

    async def _read(self) -> None:
        try:
            async for data in self.socket:
                message = ForwardMsg()
                message.ParseFromString(data)
                self._take(message, len(data))
        finally:
            for future in [*self._asked, *self._running, *self._urls_awaited.values()]:
                if not future.done():
                    future.set_exception(ConnectionError("the server closed the websocket"))

    def _begin(self, fragments: tuple[str, ...]) -> None:
        """A run of the whole page draws all of it; one of fragments leaves the rest."""
        before, self.shown = self.shown, Shown()
        if fragments:
            self.shown.widgets, self.shown.fragments = dict(before.widgets), dict(before.fragments)
            self.shown.streams = {at: each for at, each in before.streams.items() if each.fragment not in fragments}

    def _take(self, message: ForwardMsg, size: int) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._begin(tuple(message.metadata.run.fragment_ids))
            self._running, self._asked = [*self._running, *self._asked], []
        elif kind == "navigation":
            self.page_hash = message.navigation.page_script_hash
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            self.shown.add(message.delta.new_element, message.delta.fragment_id)
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "auth_redirect":
            self.redirect = message.auth_redirect.url
        elif kind == "file_urls_response":
            self._urls_awaited.pop(message.file_urls_response.response_id).set_result(message.file_urls_response.file_urls[0])
        elif kind == "script_finished":
            finished, self._running = self._running, []
            if message.script_finished not in DONE:  # cut short for another
                self._asked = [*finished, *self._asked]
            else:
                for future in finished:
                    if not future.done():
                        future.set_result(self.shown)
        self.shown.size += size


async def watch(session: Session, seconds: float, latencies: list[float]) -> None:
    """Look at what the page looks at, as the browser does, for so long; run the page where it takes another turn."""
    ends = time.monotonic() + seconds
    await asyncio.sleep(random.random())  # people do not come in step

    async def look(address: str) -> None:
        while (stream := session.shown.streams.get(address)) is not None:
            await asyncio.sleep(waits.get(address, stream.wait))
            if (asked := time.monotonic()) > ends:
                return
            headers = {"X-Live-Ticket": address, "X-Forwarded-For": ELSEWHERE}
            answer = await session.http.get("/live", params={"at": "50"}, headers=headers)
            latencies.append(time.monotonic() - asked)
            frame = answer.raise_for_status().json()
            if frame["turn"] != stream.turn:
                await session.run(stream.fragment)
            elif frame["wait"] is None:
                return
            waits[address] = frame["wait"] or stream.wait

    waits: dict[str, float] = {}
    looking: dict[str, asyncio.Task[None]] = {}
    while time.monotonic() < ends:
        for address in session.shown.streams:
            if address not in looking:
                looking[address] = asyncio.create_task(look(address))
        await asyncio.sleep(0.05)
    await asyncio.gather(*looking.values())
