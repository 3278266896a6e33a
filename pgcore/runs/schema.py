"""The tables of the run store, and the way from an older version of them to this one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pgcore.errors import BadInput

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
    sa.Column("return_mean", Number),
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

evaluations = sa.Table(
    "evaluations",
    tables,
    _run_key(),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("result", sa.Text, nullable=False),
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
)

# STEPS[i] leads from version i + 1 to version i + 2. A new store is made as the tables above say, so a change to them comes
# with the step that brings the stores that exist to the same.
STEPS: list[Callable[[Connection], None]] = []


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
                tables.create_all(connection)
            else:
                for step in STEPS[version - 1 :]:
                    step(connection)
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
    return connection.scalar(sa.select(store_version.c.version)) or 0
