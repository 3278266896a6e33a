"""What a server does as it starts, and whom it answers."""

import asyncio
import importlib
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message
from streamlit import config

import app
from pgcore.config import TrainConfig
from pgcore.runs import schema
from pgcore.runs.store import RunStore


def test_a_server_removes_what_was_deleted_more_than_a_week_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(f"sqlite:///{tmp_path / 'runs.sqlite'}")
    run_ids = [store.create_run(TrainConfig()) for _ in range(3)]
    for run_id, days in zip(run_ids, (8, 6), strict=False):
        store.delete(run_id)
        with store._database.write() as connection:
            deleted = sa.update(schema.runs).where(schema.runs.c.id == run_id)
            connection.execute(deleted.values(deleted=time.time() - days * 24 * 3600))
    monkeypatch.setattr(app.server, "pool", lambda: SimpleNamespace(store=store))
    monkeypatch.setattr(app, "_load_pages", lambda: None)

    async def start_and_end() -> None:
        async with app.lifespan(app.app):
            pass

    asyncio.run(start_and_end())
    assert {run.id for run in store.runs(include_deleted=True)} == set(run_ids[1:])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8501", 200),
        ("127.0.0.1", 200),
        ("[::1]:8501", 200),
        ("evil.example", 403),
        ("[::1", 403),
        ("[evil]", 403),
        ("", 403),
    ],
)
def test_only_a_request_for_this_machine_by_its_own_name_is_answered(host: str, status: int) -> None:
    said: list[Message] = []

    async def say(message: Message) -> None:
        said.append(message)

    scope = {"type": "http", "path": "/", "headers": [(b"host", host.encode())]}
    asyncio.run(app.Guard(PlainTextResponse("welcome"))(scope, None, say))
    assert said[0]["status"] == status


@pytest.mark.parametrize(("path", "base"), [("", ""), ("/", ""), ("lab", "/lab"), ("/lab/", "/lab"), ("a/b", "/a/b")])
def test_below_a_path_the_page_and_its_charts_are_found_too(path: str, base: str) -> None:
    before = config.get_option("server.baseUrlPath")
    try:
        config.set_option("server.baseUrlPath", path)
        below = importlib.reload(app)
        assert base == below.BASE
        client = TestClient(Starlette(routes=below.ROUTES))
        assert "BACKEND_BASE_URL" in client.get(f"{base}/stocks").text
        assert client.get(f"{base}/plotly/plotly.min.js").status_code == 200
    finally:
        config.set_option("server.baseUrlPath", before)
        importlib.reload(app)
