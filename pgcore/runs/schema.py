"""The tables of the run store, and the way from an older version of them to this one."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pgcore.errors import BadInput
from pgcore.runs.packing import sharpe_on_test

if TYPE_CHECKING:
    from pgcore.runs.database import Database


class _SqliteNumber(sa.types.UserDefinedType[float]):
    """A column that SQLite leaves as it is: one it knows to be a number loses the sign of −0."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BLOB"


Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Number: sa.types.TypeEngine[float] = sa.Double().with_variant(_SqliteNumber(), "sqlite")

tables = sa.MetaData()

store_version = sa.Table("store_version", tables, sa.Column("version", sa.Integer, primary_key=True))

runs = sa.Table(
    "runs",
    tables,
    sa.Column("key", Key, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("estimator", sa.Text, nullable=False),
    sa.Column("prices", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("created", Number, nullable=False),
    sa.Column("queued", Number),
    sa.Column("started", Number),
    sa.Column("ended", Number),
    sa.Column("deleted", Number),
    sa.Column("env_steps", sa.BigInteger, nullable=False, default=0),
    sa.Column("updates", sa.BigInteger, nullable=False, default=0),
    sa.Column("episodes", sa.BigInteger, nullable=False, default=0),
    sa.Column("wall_s", Number),
    sa.Column("return_mean", Number),
    sa.Column("return_best", Number),
    sa.Column("solved", sa.Boolean, nullable=False, default=False),
    sa.Column("error", sa.Text, nullable=False, default=""),
    sa.Column("host", sa.Text),
    sa.Column("boot", sa.Text),
    sa.Column("pid", sa.BigInteger),
    sa.Column("process_started", Number),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("heartbeat", Number),
    sa.Column("expected", Number),
    sa.Column("store_retries", sa.BigInteger, nullable=False, default=0),
    sa.Column("desired", sa.Text, nullable=False, default="run"),
    sa.Column("desired_at", Number),
    sa.Column("pace", Number),
    sa.Column("pause_at", sa.BigInteger),
    sa.Column("judged", Number),
    sa.Column("changed", Number, default=time.time, onupdate=time.time),
    sa.Index("runs_by_status", "status"),
    sa.Index("runs_by_owner", "owner", "created"),
    sa.Index("runs_by_prices", "prices"),
    sqlite_autoincrement=True,
)


def _run_key() -> sa.Column[int]:
    return sa.Column("run_key", Key, sa.ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True)


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, Number) for name in names]


records = sa.Table(
    "records",
    tables,
    _run_key(),
    sa.Column("update", sa.BigInteger, primary_key=True),
    sa.Column("env_steps", sa.BigInteger, nullable=False),
    sa.Column("episodes", sa.BigInteger, nullable=False),
    *_numbers("wall_s", "return_mean", "entropy", "kl", "grad_norm", "policy_loss", "value_loss"),
    *_numbers("explained_variance", "weight_std", "learning_rate"),
    sa.Column("episode_returns", sa.LargeBinary, nullable=False),
    sa.Column("action_share", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)


def _states(name: str) -> sa.Table:
    return sa.Table(
        name,
        tables,
        _run_key(),
        sa.Column("update", sa.BigInteger, primary_key=True),
        sa.Column("env_steps", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )


checkpoints = _states("checkpoints")
policies = _states("policies")

# The policy of a run that is not the last of its history: of a stocks run, that which did best on the validation part.
chosen_policies = sa.Table(
    "chosen_policies",
    tables,
    _run_key(),
    sa.Column("update", sa.BigInteger, nullable=False),
    sa.Column("env_steps", sa.BigInteger, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)

evaluations = sa.Table(
    "evaluations",
    tables,
    _run_key(),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("test_sharpe", Number),
)

events = sa.Table(
    "events",
    tables,
    sa.Column("key", Key, primary_key=True, autoincrement=True),
    sa.Column("run_key", Key, sa.ForeignKey("runs.key", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", Number, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)

prices = sa.Table(
    "prices",
    tables,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("first", sa.Text, nullable=False),
    sa.Column("last", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

price_names = sa.Table(
    "price_names",
    tables,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("digest", sa.String(64), sa.ForeignKey("prices.digest", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created", Number, nullable=False),
    sa.Column("deleted", Number),
)


def _add_number(connection: Connection, table: str, column: str) -> None:
    number = "BLOB" if connection.dialect.name == "sqlite" else "DOUBLE PRECISION"
    connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} {number}")


def _add_what_listings_show(connection: Connection) -> None:
    """Version 2: numbers that pages had to read whole histories and results for, and prices that can be deleted."""
    added = {"runs": ("wall_s", "return_best", "changed"), "evaluations": ("test_sharpe",), "price_names": ("deleted",)}
    for table, columns in added.items():
        for column in columns:
            _add_number(connection, table, column)
    connection.exec_driver_sql(
        "UPDATE runs SET changed = created, wall_s ="
        ' (SELECT r.wall_s FROM records r WHERE r.run_key = runs.key ORDER BY r."update" DESC LIMIT 1)'
    )
    change_best = sa.text("UPDATE runs SET return_best = :best WHERE key = :key")
    for (key,) in connection.exec_driver_sql("SELECT key FROM runs WHERE updates > 0").all():
        rows = connection.execute(sa.text("SELECT episode_returns FROM records WHERE run_key = :key"), {"key": key})
        returns = np.frombuffer(b"".join(row[0] for row in rows), "<f8")
        if np.isfinite(returns).any():
            connection.execute(change_best, {"key": key, "best": float(returns[np.isfinite(returns)].max())})
    change_sharpe = sa.text("UPDATE evaluations SET test_sharpe = :sharpe WHERE run_key = :key AND kind = 'final'")
    for key, result in connection.exec_driver_sql("SELECT run_key, result FROM evaluations WHERE kind = 'final'").all():
        connection.execute(change_sharpe, {"key": key, "sharpe": sharpe_on_test(json.loads(result))})


def _set_chosen_policies_apart(connection: Connection) -> None:
    """Version 3: the chosen policy of a run has a place of its own, where it took that of the last policy of the history."""
    chosen_policies.create(connection)
    last = sa.text('SELECT "update", state FROM policies WHERE run_key = :key ORDER BY "update" DESC LIMIT 1')
    for key, result in connection.exec_driver_sql("SELECT run_key, result FROM evaluations WHERE kind = 'final'").all():
        checkpoint = json.loads(result).get("checkpoint")
        row = connection.execute(last, {"key": key}).first()
        if checkpoint and row is not None and row[0] > checkpoint["update"]:
            chosen = {"run_key": key, "update": checkpoint["update"], "env_steps": checkpoint["env_steps"], "state": row[1]}
            connection.execute(sa.insert(chosen_policies), chosen)
            untrue = sa.text('DELETE FROM policies WHERE run_key = :key AND "update" = :update')
            connection.execute(untrue, {"key": key, "update": row[0]})


def _add_how_far_judging_is(connection: Connection) -> None:
    """Version 4: the share of the evaluation that is done."""
    _add_number(connection, "runs", "judged")


# STEPS[i] leads from version i + 1 to version i + 2. A new store is made as the tables above say, so a change to them comes
# with the step that brings the stores that exist to the same.
STEPS: list[Callable[[Connection], None]] = [_add_what_listings_show, _set_chosen_policies_apart, _add_how_far_judging_is]


def migrate(database: "Database") -> None:
    """Bring the tables to this version; safe while others do the same. Raises BadInput for a newer store."""
    newest = 1 + len(STEPS)
    with database.read() as connection:
        version = _version(connection)
    if version < newest:
        with database.write(durable=True) as connection:
            database.lock(connection)
            version = _version(connection)
            if version == 0:
                tables.create_all(connection, checkfirst=False)  # tables of these names are another program's: refused
            else:
                for step in STEPS[version - 1 :]:
                    step(connection)
                for table in tables.sorted_tables:  # likewise
                    connection.execute(sa.select(table).limit(0))
            if version < newest:
                connection.execute(sa.delete(store_version))
                connection.execute(sa.insert(store_version), {"version": newest})
    if version > newest:
        raise BadInput(
            f"The run store was written by a newer version of this program (its tables are version {version}, this one knows"
            f" {newest}): update the program, or choose another directory by PGLAB_HOME."
        )


def _version(connection: Connection) -> int:
    if not sa.inspect(connection).has_table("store_version"):
        return 0
    version = connection.scalar(sa.select(store_version.c.version))
    return version if isinstance(version, int) else 0
