"""Logs: a line of JSON an event to standard error, where systemd or a file takes them. No secret is ever passed."""

import json
import logging
import os
import re
from contextlib import suppress
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict

# All but plain ASCII is looked at: what a terminal obeys, fools the eye or ends a line is what Python would not print.
_OTHERS = re.compile(r"[^ -~]")


class _StandardError:
    """A line that cannot be written is lost: who serves must not end because a disk is full of logs."""

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(2, line)

    def flush(self) -> None:
        """Nothing is kept back."""


def set_up_logs(*, process: str) -> None:
    """For the servers: every line says which process wrote it."""

    def name_process(_logger: object, _method: str, event: EventDict) -> EventDict:
        return {"process": process, **event}

    structlog.configure(
        processors=[
            name_process,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(_StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


def _encode(event: EventDict, **options: Any) -> bytes:
    """JSON in a line. Whoever follows a log in a terminal is safe from the names in it, which come from anywhere."""
    try:
        data = orjson.dumps(event, **options)
    except TypeError:  # half a character, as in the name of a file
        data = json.dumps(event, default=str).encode()
    if data.isascii() and b"\x7f" not in data:
        return data
    return _OTHERS.sub(_escape, data.decode()).encode()


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
