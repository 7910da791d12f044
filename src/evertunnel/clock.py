"""The one place that reads the wall clock. Rims call it and hand `now` inwards; pure parts never import it."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251
