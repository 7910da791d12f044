"""What happens because time passed and nobody asked: denials and trust that end, facts that run out."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from evertunnel.actions.end_access_trust import end_access_trust
from evertunnel.actions.end_denials import end_denials
from evertunnel.actions.end_facts import end_facts, find_seconds_left
from evertunnel.actions.end_own_tunnel_changes import end_own_tunnel_changes
from evertunnel.errors import UnavailableError
from evertunnel.storage.store import Store

_LOOK_EVERY_SECONDS = 1.0
_LOOK_AT_LEAST_SECONDS = 0.02
# What ran out while nobody looked is looked at by the first.
_AWAY_AT_MOST = timedelta(days=7)

log = structlog.get_logger()


_Result = TypeVar("_Result")


def keep_deadlines(store: Store, clock: Callable[[], datetime], stopped: threading.Event) -> None:
    """Look once a second until stopped, and at the moment a fact runs out."""
    looked = clock() - _AWAY_AT_MOST
    seconds = _LOOK_AT_LEAST_SECONDS
    while not stopped.wait(seconds):
        now = clock()
        if denials := _look_for("denials", partial(end_denials, store, now=now)):
            log.info("denials ended", denials=denials)
        if distrusted := _look_for("trust", partial(end_access_trust, store, now=now)):
            log.info("retired access authorities are trusted no more", authorities=distrusted)
        ran_out = _look_for("facts", partial(end_facts, store, since=looked, now=now))
        if ran_out:
            log.info("facts ran out", subjects=ran_out)
        if ran_out is not None:
            looked = now  # a clock that was set back goes over the same time again
        if devices := _look_for("own tunnels", partial(end_own_tunnel_changes, store, now=now)):
            log.info("user tunnels beside device tunnels that changed are decided again", devices=devices)
        left = _look_for("the next", partial(find_seconds_left, store, now=now, at_most=_LOOK_EVERY_SECONDS))
        seconds = _LOOK_EVERY_SECONDS if left is None or ran_out is None else max(_LOOK_AT_LEAST_SECONDS, left)


def _look_for(what: str, look: Callable[[], _Result]) -> _Result | None:
    """What it found; None when it could not look. One of them must not keep the others from ending."""
    try:
        return look()
    except UnavailableError as error:
        log.warning("cannot look for what ended", what=what, error=str(error))
    except Exception:  # a bug over one row: nobody would start this thread again
        log.exception("cannot look for what ended", what=what)
    return None
