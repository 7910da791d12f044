"""How far an effect is confirmed, as the API tells it."""

from datetime import datetime, timedelta
from typing import Any

from evertunnel.storage.tables import AnyRow


def describe_confirmation(effect: AnyRow, since: datetime) -> dict[str, Any]:
    """Times are milliseconds since the commit that wanted it. The row has its gateway's own error besides."""
    return {
        "state": effect.state,
        "milliseconds": _count_milliseconds(since, effect.confirmed_at),
        "acknowledged_milliseconds": _count_milliseconds(since, effect.acknowledged_at),
        "tries": effect.tries,
        "last_error": effect.last_error or ("" if effect.confirmed_at else effect.gateway_error or ""),
    }


def _count_milliseconds(since: datetime, until: datetime | None) -> float | None:
    return None if until is None else round((until - since) / timedelta(milliseconds=1), 1)
