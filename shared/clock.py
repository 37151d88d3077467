"""Time as the database tells it: the only clock by which leases are judged.

Times are UTC. SQLite keeps them as text with six decimals (the form that SQLAlchemy writes and
that sorts as time does), PostgreSQL as `timestamptz`.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Float, types
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement


class UTCDateTime(types.TypeDecorator[datetime]):
    """A moment in UTC; naive where the database has no time zones, aware in Python always."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand the database UTC."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Read the database's UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class now(FunctionElement[datetime]):  # noqa: N801 - a SQL function, written as one
    """The database's time at this moment (not at the transaction's start)."""

    type = UTCDateTime()
    inherit_cache = True
    name = "fitq_now"


@compiles(now, "sqlite")
def _now_sqlite(element: object, compiler: object, **kw: object) -> str:  # noqa: ARG001
    return "(strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')"


@compiles(now, "postgresql")
def _now_postgresql(element: object, compiler: object, **kw: object) -> str:  # noqa: ARG001
    return "clock_timestamp()"


class after(FunctionElement[datetime]):  # noqa: N801
    """The database's time in so many seconds: `after(30)`; negative for the past."""

    type = UTCDateTime()
    inherit_cache = True
    name = "fitq_after"


@compiles(after, "sqlite")
def _after_sqlite(element: after, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', {seconds})) || '000')"


@compiles(after, "postgresql")
def _after_postgresql(element: after, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


class seconds_between(FunctionElement[float]):  # noqa: N801
    """Seconds from the first moment to the second."""

    type = Float()
    inherit_cache = True
    name = "fitq_seconds_between"


@compiles(seconds_between, "sqlite")
def _between_sqlite(element: seconds_between, compiler: Any, **kw: Any) -> str:
    first, second = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"((julianday({second}) - julianday({first})) * 86400.0)"


@compiles(seconds_between, "postgresql")
def _between_postgresql(element: seconds_between, compiler: Any, **kw: Any) -> str:
    first, second = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(extract(epoch from ({second} - {first})) AS double precision)"


class earlier(FunctionElement[datetime]):  # noqa: N801
    """The earlier of two moments."""

    type = UTCDateTime()
    inherit_cache = True
    name = "fitq_earlier"


@compiles(earlier, "sqlite")
def _earlier_sqlite(element: earlier, compiler: Any, **kw: Any) -> str:
    return f"min({compiler.process(element.clauses, **kw)})"


@compiles(earlier, "postgresql")
def _earlier_postgresql(element: earlier, compiler: Any, **kw: Any) -> str:
    return f"least({compiler.process(element.clauses, **kw)})"


class unix_now(FunctionElement[float]):  # noqa: N801
    """The database's time as seconds since 1970, with decimals."""

    type = Float()
    inherit_cache = True
    name = "fitq_unix_now"


@compiles(unix_now, "sqlite")
def _unix_sqlite(element: object, compiler: object, **kw: object) -> str:  # noqa: ARG001
    # 'subsec' needs SQLite 3.42; julianday keeps a millisecond, which is what `now` keeps as well.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(unix_now, "postgresql")
def _unix_postgresql(element: object, compiler: object, **kw: object) -> str:  # noqa: ARG001
    return "CAST(extract(epoch from clock_timestamp()) AS double precision)"


def seconds(start: ColumnElement[Any], end: ColumnElement[Any]) -> ColumnElement[float]:
    """Return SQL for the seconds from `start` to `end`."""
    return seconds_between(start, end)
