"""What several test files share: the app in Streamlit's test harness, run stores on both databases."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from pgcore.runs.store import RunStore

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as a worker trains; tests side by side would wait for each other's threads

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest leaves its script behind as the main module, which every process started afterwards would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def no_login() -> None:
    """What an earlier test was told of the secrets is forgotten."""
    if "pages.ui.login" in sys.modules:
        sys.modules["pages.ui.login"].providers.cache_clear()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AppTest]]:
    """The app with a data directory of its own, opened on any page with any link."""
    import streamlit as st

    from pages.ui import server, stream, waiting

    monkeypatch.setattr(waiting, "AT_ONCE_S", 60.0)  # no browser is there to look again
    monkeypatch.setenv("PGLAB_HOME", str(tmp_path))
    monkeypatch.delenv("PGLAB_DATABASE_URL", raising=False)
    server.close()
    stream._streams.clear()  # the session of every AppTest is called the same: a browser has asked for none of its boards yet
    st.cache_resource.clear()
    st.cache_data.clear()

    def open_page(page: str = "cartpole.py", *, user: dict[str, Any] | None = None, **link: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "pages/navigation.py"), default_timeout=60)
        if user is not None:
            at.user = user
        for name, value in link.items():
            at.query_params[name] = value
        at.run()
        return at if page == "cartpole.py" else at.switch_page(page).run()

    yield open_page
    server.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of PGLAB_TEST_DATABASE_URL, or of a PostgreSQL that lives as long as the tests, reached by a socket only."""
    given = os.environ.get("PGLAB_TEST_DATABASE_URL")
    if given:
        yield given
        return
    programs = _postgresql_programs()
    if programs is None:
        pytest.skip("no PostgreSQL: neither PGLAB_TEST_DATABASE_URL is set nor are initdb and pg_ctl installed")
    user = _unprivileged_user()
    if user is None and _is_root():
        pytest.skip("no PostgreSQL: it refuses to run as root, and there is no user postgres or nobody to run it as")
    directory = Path(tempfile.mkdtemp(prefix="pglab-pg-"))
    if user is not None:
        shutil.chown(directory, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(directory / "data"), *arguments]
        with open(directory / "log", "ab") as log:
            subprocess.run(command, check=True, user=user, cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    try:
        run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8")
        run("pg_ctl", "--wait", "--options", f"-k {directory} -c listen_addresses='' -c fsync=off", "start")
        yield f"postgresql://postgres@/postgres?host={directory}"
    finally:
        if (directory / "data/postmaster.pid").exists():
            run("pg_ctl", "--mode=immediate", "stop")
        shutil.rmtree(directory, ignore_errors=True)


def _postgresql_programs() -> Path | None:
    on_path = shutil.which("initdb")
    places = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _unprivileged_user() -> str | None:
    """Whom to be for PostgreSQL, where one is root; None: oneself."""
    if not _is_root():
        return None
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'runs.sqlite'}"
        return
    server = request.getfixturevalue("postgresql")
    name = f"t{uuid.uuid4().hex}"
    engine = sa.create_engine(sa.make_url(server).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(name))
    yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture
def store(store_url: str) -> Iterator[RunStore]:
    store = RunStore(store_url)
    yield store
    store.close()
