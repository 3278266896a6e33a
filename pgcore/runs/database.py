"""Where runs are kept: the data directory, and a database that opens, reads and writes with errors a person can act on."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from platformdirs import user_data_path
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, make_url

from pgcore.errors import BadInput
from pgcore.runs import schema

SQLITE_FILE = "runs.sqlite"


class StoreError(BadInput):
    """The run store could not be read or written; nothing was changed."""


def data_directory() -> Path:
    """PGLAB_HOME, else the platform's directory for the user's data; absolute, not necessarily there yet."""
    home = os.environ.get("PGLAB_HOME")
    return Path(home).expanduser().absolute() if home else user_data_path("policy-gradient-lab", appauthor=False)


class Database:
    """A run store's engine. `patience_s` is how long to wait for a lock another program holds.

    Raises StoreError, with one sentence, for everything that is wrong with the database and not with the request.
    """

    def __init__(self, url: str | None, patience_s: float) -> None:
        self.url = _resolve(url)
        self.patience_s = patience_s
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            make_directory(Path(str(self.url.database)).parent)
        self.engine = _sqlite(self.url, patience_s) if self.is_sqlite else _postgresql(self.url, patience_s)
        schema.migrate(self)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._in_words(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, durable: bool = False) -> Iterator[Connection]:
        """A transaction; `durable`: once committed, a power cut does not undo it nor any committed before it."""
        engine = self.engine.execution_options(writes=True, durable=durable)
        with self._in_words(), engine.begin() as connection:
            if durable and not self.is_sqlite:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
            yield connection

    def lock(self, connection: Connection) -> None:
        """Until the end of this transaction no other one passes here (SQLite has but one writer anyway)."""
        if not self.is_sqlite:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7041776)")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            cause = getattr(error, "orig", error)
            code = getattr(cause, "sqlite_errorname", "")  # which says more than the words: of all "disk I/O error"s, which
            raise StoreError(self._sentence(f"{cause} ({code})" if code else str(cause))) from error

    def _sentence(self, cause: str) -> str:
        where = self.url.database if self.is_sqlite else self.url.render_as_string(hide_password=True)
        for pattern, sentence in CAUSES.items():
            if re.search(pattern, cause, re.IGNORECASE):
                return sentence.format(where=where, patience=self.patience_s)
        return f"The run store {where} failed: {' '.join(cause.split())[:300]}."


@cache
def upsert(table: sa.Table, is_sqlite: bool) -> Any:
    """INSERT that replaces the row of the same primary key: both databases spell it alike, SQLAlchemy keeps it by dialect."""
    insert = sqlite.insert(table) if is_sqlite else postgresql.insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {column.name: insert.excluded[column.name] for column in table.c if column.name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=rest)


CAUSES = {
    r"disk is full|no space left|disk full": "The disk is full: nothing was saved to {where}; free some space and try again.",
    r"database is locked|lock timeout|statement timeout|QueuePool limit": (
        "The run store {where} is busy: another program has held it for {patience:g} s; try again, or close that program."
    ),
    r"readonly database|read-only": (
        "The run store {where} is read-only: make it writable, or choose another directory by PGLAB_HOME."
    ),
    r"unable to open database": (
        "The run store {where} cannot be opened: make its directory writable, or choose another one by PGLAB_HOME."
    ),
    # What SQLite makes of a write that the system refuses, but for a full disk; it keeps to itself why.
    r"IOERR_WRITE|IOERR_SHMSIZE|quota exceeded|file too large": (
        "The files of the run store {where} may not grow, nothing was saved: a limit on the size of files (ulimit -f) or a"
        " quota is reached, or the disk fails; raise the limit or free some space, and try again."
    ),
    r"not a database|malformed|file is encrypted|no such (table|column)|has no column|already exists.*SQLITE_": (
        "The file {where} is damaged or no run store: move it away, or choose another directory by PGLAB_HOME."
    ),
    r"connection (failed|refused|timeout|is bad)|could not (connect|translate)|server closed|terminat|No such file": (
        "The database {where} cannot be reached: start it, or correct PGLAB_DATABASE_URL."
    ),
}


def _resolve(url: str | None) -> URL:
    given = url or os.environ.get("PGLAB_DATABASE_URL")
    if not given:
        return URL.create("sqlite", database=str(data_directory() / SQLITE_FILE))
    try:
        parsed = make_url(given)
    except sa.exc.ArgumentError:
        parsed = None
    backend = parsed.get_backend_name() if parsed is not None else ""
    if parsed is None or backend not in ("sqlite", "postgresql", "postgres"):
        raise BadInput(
            "PGLAB_DATABASE_URL is no database this program knows: give postgresql://user@host/name or sqlite:///file."
        )
    if backend != "sqlite":
        return parsed.set(drivername="postgresql+psycopg")
    if not parsed.database or parsed.database == ":memory:":
        raise BadInput("A run store in memory is seen by no other process: give sqlite:///file.")
    return parsed.set(drivername="sqlite", database=str(Path(parsed.database).absolute()))


def make_directory(directory: Path) -> None:
    """Make the data directory where there is none. Raises StoreError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The data directory {directory} cannot be made ({error.strerror}): choose another one by PGLAB_HOME."
        ) from error


def _sqlite(url: URL, patience_s: float) -> sa.Engine:
    engine = sa.create_engine(url, pool_size=10, max_overflow=20, pool_timeout=patience_s)

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where _begin says so, not where the driver guesses
        connection.execute(f"PRAGMA busy_timeout = {int(patience_s * 1000)}")
        connection.execute("PRAGMA foreign_keys = ON")
        _write_ahead(connection, patience_s)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("writes"):  # taking the write lock at once: a reader that turns writer can only fail
            connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get('durable') else 'NORMAL'}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection, patience_s: float) -> None:
    """Readers and a writer side by side. The first to open a new file turns this on, where busy_timeout does not hold."""
    give_up_at = time.monotonic() + patience_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
        time.sleep(0.01)


def _postgresql(url: URL, patience_s: float) -> sa.Engine:
    engine = sa.create_engine(
        url, pool_size=10, max_overflow=20, pool_timeout=patience_s, pool_pre_ping=True, connect_args={"connect_timeout": 5}
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.autocommit = True
        milliseconds = max(int(patience_s * 1000), 1)
        connection.execute(
            f"SET lock_timeout = {milliseconds}; SET statement_timeout = {milliseconds + 30_000}; SET synchronous_commit = off"
        )
        connection.autocommit = False

    return engine
