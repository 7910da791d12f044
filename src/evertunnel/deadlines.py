"""What happens because time passed and nobody asked: denials that end, and trust in retired access authorities."""

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from evertunnel.actions.end_access_trust import end_access_trust
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
            distrusted = end_access_trust(store, now=clock())
        except UnavailableError as error:
            log.warning("cannot look for what ended", error=str(error))
            continue
        if ended:
            log.info("denials ended", denials=ended)
        if distrusted:
            log.info("retired access authorities are trusted no more", authorities=distrusted)
