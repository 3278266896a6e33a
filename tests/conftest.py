"""What several test files share: run stores on both databases."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pgcore.runs.store import RunStore


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest leaves its script behind as the main module, which every process started afterwards would run again."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(autouse=True)
def no_login() -> None:
    """What an earlier test was told of the secrets is forgotten."""
    if "pages.ui.login" in sys.modules:
        sys.modules["pages.ui.login"].providers.cache_clear()


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
