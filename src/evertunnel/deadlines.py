"""What happens because time passed and nobody asked: denials and trust that end, facts that run out."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from evertunnel.actions.end_access_trust import end_access_trust
from evertunnel.actions.end_denials import end_denials
from evertunnel.actions.end_facts import end_facts, find_seconds_left
from evertunnel.errors import UnavailableError
from evertunnel.storage.store import Store

_LOOK_EVERY_SECONDS = 1.0
_LOOK_AT_LEAST_SECONDS = 0.02
# What ran out while nobody looked is looked at by the first.
_AWAY_AT_MOST = timedelta(days=7)

log = structlog.get_logger()


def keep_deadlines(store: Store, clock: Callable[[], datetime], stopped: threading.Event) -> None:
    """Look once a second until stopped, and at the moment a fact runs out."""
    looked = clock() - _AWAY_AT_MOST
    seconds = _LOOK_AT_LEAST_SECONDS
    while not stopped.wait(seconds):
        seconds = _LOOK_EVERY_SECONDS
        now = clock()
        try:
            denials = end_denials(store, now=now)
            distrusted = end_access_trust(store, now=now)
            ran_out = end_facts(store, since=looked, now=now)
            left = find_seconds_left(store, now=now, at_most=_LOOK_EVERY_SECONDS)
        except UnavailableError as error:
            log.warning("cannot look for what ended", error=str(error))
            continue
        except Exception:  # a bug over one row must not keep denials, trust and facts from ending
            log.exception("cannot look for what ended")
            continue
        # A clock that was set back goes over the same time again.
        looked = now
        seconds = max(_LOOK_AT_LEAST_SECONDS, left)
        if denials:
            log.info("denials ended", denials=denials)
        if distrusted:
            log.info("retired access authorities are trusted no more", authorities=distrusted)
        if ran_out:
            log.info("facts ran out", subjects=ran_out)
