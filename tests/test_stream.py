"""What a page looks at again and again: told to the session that asked for it, for as long as it does."""

import threading

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pages.ui import stream
from pgcore.errors import BadInput
from pgcore.runs.database import StoreError


class Session:
    def __init__(self, session_id):
        self.session_id = session_id


@pytest.fixture
def as_session(monkeypatch):
    """Be this session."""
    stream._streams.clear()
    yield lambda name: monkeypatch.setattr(stream, "get_script_run_ctx", lambda: Session(name))
    stream._streams.clear()


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(stream.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def get():
    app = Starlette(routes=[stream.ROUTE])

    def ask(ticket, *, browser="127.0.0.1", host="localhost", headers=None, **query):
        client = TestClient(app, f"http://{host}", client=(browser, 50_000))
        return client.get("/live", params=query, headers={stream.TICKET: ticket, **(headers or {})})

    return ask


def test_a_look_is_told_what_the_page_has_and_where_its_slider_stands(as_session, get):
    as_session("a")
    ticket = stream.stream("board", lambda have, at: {"have": have, "at": at})
    answer = get(ticket, have="1f,2e", at="50")
    assert answer.json() == {"have": ["1f", "2e"], "at": "50"}
    assert answer.headers["cache-control"] == "no-store"


def test_it_is_known_whether_a_page_has_asked(as_session, get):
    as_session("a")
    ticket = stream.stream("board", lambda have, at: {})
    assert not stream.is_asked(ticket)
    get(ticket)
    assert stream.is_asked(ticket)
    assert stream.is_asked(stream.stream("board", lambda have, at: {"run": 2})), "whatever it is told next"
    assert not stream.is_asked("of a session that has ended")


def test_a_ticket_cannot_be_guessed_nor_left_out(as_session, get):
    as_session("a")
    tickets = {stream.stream(f"board {i}", lambda have, at: {}) for i in range(100)}
    assert len(tickets) == 100
    assert all(len(ticket) >= 32 for ticket in tickets)
    assert get("board").status_code == get("").status_code == 404


def test_what_a_session_asks_anew_takes_the_place_of_what_it_asked_and_of_no_others(as_session, get):
    as_session("a")
    board = stream.stream("board", lambda have, at: {"run": 1})
    other_board = stream.stream("diagnostics", lambda have, at: {"run": 1})
    as_session("b")
    other_session = stream.stream("board", lambda have, at: {"run": 2})
    as_session("a")
    assert stream.stream("board", lambda have, at: {"run": 3}) == board, "a look on its way is not left without an answer"
    assert [get(address).json()["run"] for address in (other_board, other_session, board)] == [1, 2, 3]


def test_who_asks_when_another_look_is_due_is_told_what_that_one_says(as_session, get):
    as_session("a")
    board = stream.stream("board", lambda have, at: {"run": 1})
    soon = threading.Timer(0.1, lambda: stream.stream("board", lambda have, at: {"run": 2}))
    soon.start()
    assert get(board, due="1").json() == {"run": 2}
    soon.join()


def test_where_no_other_look_comes_the_one_there_is_answers(as_session, get, monkeypatch):
    as_session("a")
    monkeypatch.setattr(stream, "RENEWED_WITHIN_S", 0.05)
    assert get(stream.stream("board", lambda have, at: {"run": 1}), due="1").json() == {"run": 1}


def test_a_look_ends_with_its_session(as_session, get, monkeypatch):
    as_session("a")
    address = stream.stream("board", lambda have, at: {})
    is_open = {"a": True, "b": True}
    monkeypatch.setattr(stream, "is_open", is_open.__getitem__)
    assert get(address).status_code == 200
    is_open["a"] = False
    assert get(address).status_code == 404
    as_session("b")
    stream.stream("board", lambda have, at: {})
    assert {each.session for each in stream._streams.values()} == {"b"}, "and nothing of it is kept"


def test_who_watches_is_who_asked_in_the_last_seconds(as_session, get, clock):
    addresses = []
    for name in "abc":
        as_session(name)
        addresses += [stream.stream("board", lambda have, at: {}), stream.stream("diagnostics", lambda have, at: {})]
    assert stream.watchers() == 0
    for address in addresses[:4]:
        get(address)
    assert stream.watchers() == 2, "sessions, not looks"
    clock[0] += 2 * stream.WATCHES_S
    get(addresses[-1])
    assert stream.watchers() == 1


def test_a_browser_elsewhere_does_not_draw_on_the_cores_of_this_machine(as_session, get):
    as_session("a")
    address = stream.stream("board", lambda have, at: {})
    get(address, browser="192.0.2.7")
    get(address, headers={"X-Forwarded-For": "192.0.2.7"})
    get(address, host="lab.example.org")
    assert stream.watchers() == 0
    get(address, browser="::1")
    assert stream.watchers() == 1


@pytest.mark.parametrize(("error", "status"), [(StoreError("busy"), 503), (BadInput("gone"), 404)])
def test_a_look_that_cannot_be_answered_tells_the_page_what_to_do(as_session, get, error, status):
    def look(have, at):
        raise error

    as_session("a")
    answer = get(stream.stream("board", look))
    assert answer.status_code == status
    assert str(error) not in answer.text
