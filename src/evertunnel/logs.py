"""Logs: a line of JSON an event to standard error, where systemd or a file takes them. No secret is ever passed."""

import logging
import os
from contextlib import suppress

import orjson
import structlog
from structlog.typing import EventDict


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
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(_StandardError()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
