"""How times are kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode_time(moment: datetime) -> int:
    """Microseconds since 1970 UTC. A naive datetime is a bug and raises TypeError."""
    return (moment - _EPOCH) // _MICROSECOND


def decode_time(microseconds: int) -> datetime:
    """The aware UTC datetime of a stored time."""
    return _EPOCH + timedelta(microseconds=microseconds)


class UTCTime(TypeDecorator[datetime]):
    """An aware datetime kept as an integer, which both databases compare, index and hash alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Into the database."""
        return None if value is None else encode_time(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Out of the database."""
        return None if value is None else decode_time(value)
