"""What happens because time passed and nobody asked: denials that end."""

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from evertunnel.actions.end_denials import end_denials
from evertunnel.errors import UnavailableError
from evertunnel.storage.store import Store

_LOOK_EVERY_SECONDS = 1.0

log = structlog.get_logger()


def keep_deadlines(store: Store, clock: Callable[[], datetime], stopped: threading.Event) -> None:
    """Look once a second until stopped."""
    while not stopped.wait(_LOOK_EVERY_SECONDS):
        try:
            ended = end_denials(store, now=clock())
        except UnavailableError as error:
            log.warning("cannot look for denials that ended", error=str(error))
            continue
        if ended:
            log.info("denials ended", denials=ended)
