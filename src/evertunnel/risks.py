"""Looks for risks in the attempts as they are recorded, on every node. Nobody waits for it, and it asks little.

What was recorded is the truth: after a start the attempts of a day are gone over again, and what was found in them
before is kept once. It follows the ledger's batches, which are in one order for all workers and nodes.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import orjson
import structlog

from evertunnel.access.computed_risks import LIFE, AttemptMemory, Failure, Finding, Place, Sighting
from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.sign_in import read_address
from evertunnel.access.documents import PolicyError
from evertunnel.actions.policy_names import compile_location
from evertunnel.actions.store_risks import store_risks
from evertunnel.errors import UnavailableError
from evertunnel.model import AttemptKind, Outcome, Reason
from evertunnel.storage import attempts
from evertunnel.storage.policy_objects import ObjectKind, list_objects
from evertunnel.storage.store import Store, read_heads
from evertunnel.storage.tables import AnyRow

_LOOK_EVERY_SECONDS = 0.8
# While nothing can be stored.
_FOUND_AT_MOST = 10_000
_FAILED_SIGN_INS = frozenset({Reason.SIGN_IN_FAILED.value, Reason.CODE_WRONG.value})
# What a client said of itself, once its key was proven, and what was not true.
_SAID_WRONG = frozenset({Reason.IDENTITY_MISMATCH.value, Reason.CERTIFICATE_WRONG_KIND.value})

FindPlace = Callable[[IPv4Address | IPv6Address], Place | None]
log = structlog.get_logger()


def keep_risks(
    store: Store, find_place: FindPlace | None, clock: Callable[[], datetime], stopped: threading.Event
) -> None:
    """Look about once a second until stopped."""
    watch = RiskWatch(store, find_place)
    said = ""  # once for the same failure
    while not stopped.wait(_LOOK_EVERY_SECONDS):
        try:
            if users := watch.look(clock()):
                log.warning("the risk of users rose", users=users)
            said = ""
        except Exception as error:  # whatever it is, nobody would start this thread again
            if str(error) != said:
                known = isinstance(error, UnavailableError)
                log.warning("cannot look for risks", error=str(error), exc_info=None if known else error)
            said = str(error)


class RiskWatch:
    """What was seen so far, and how far the ledger was read. For one thread.

    Without `find_place`, or where it tells no place, no travel is found.
    """

    def __init__(self, store: Store, find_place: FindPlace | None) -> None:
        self._store = store
        self._find_place = find_place
        self._trusted: list[NamedLocation] = []
        self._documents: Mapping[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self._memory = AttemptMemory()
        self._epoch = self._batch = 0
        self._found: list[Finding] = []

    def look(self, now: datetime) -> int:
        """Go over what was recorded since the last look; returns of how many users the risk is another now.

        Raises UnavailableError; what was found is stored at a later look.
        """
        with self._store.read() as connection:
            epoch, batch = read_heads(connection)
            if batch < self._batch:
                self._begin()  # a database that was put back from a copy
            if epoch != self._epoch:
                self._follow_locations(list_objects(connection, ObjectKind.LOCATION))
                self._epoch = epoch
            if batch != self._batch:
                since = None if self._batch else now - LIFE
                for row in attempts.list_recorded(connection, after_batch=self._batch, until_batch=batch, since=since):
                    self._take(row)
                self._batch = batch
        changed = store_risks(self._store, self._found, now=now) if self._found else 0
        self._found = []
        return changed

    def _follow_locations(self, rows: Sequence[AnyRow]) -> None:
        documents = {row.id: row.document for row in rows if row.document.get("isTrusted") is True}
        if documents == self._documents:
            return
        self._documents, self._trusted = documents, []
        for location_id, document in documents.items():
            try:
                self._trusted.append(compile_location(location_id, document))
            except PolicyError:
                continue  # who is in one that cannot be read nobody can tell

    def _take(self, row: AnyRow) -> None:
        granted = row.outcome == Outcome.GRANTED.value
        finding = None
        if row.kind == AttemptKind.CERTIFICATE.value:
            if granted:
                finding = self._see(row)
            elif row.reason in _FAILED_SIGN_INS and row.assigned:
                # On a device of his own: whoever has another could raise the risk of anybody.
                finding = self._memory.fail(Failure(row.user_id, row.at, row.id))
        elif row.kind == AttemptKind.USER_TUNNEL.value and (granted or _is_proven(row)):
            if row.reason in _SAID_WRONG:
                said = f"{row.certificate_id} {row.reason} {row.claimed_identity}"
                finding = self._memory.fail(Failure(row.user_id, row.at, said))
            else:
                finding = self._see(row)
        if finding is not None and len(self._found) < _FOUND_AT_MOST:
            self._found.append(finding)

    def _see(self, row: AnyRow) -> Finding | None:
        address = read_address(row.client_address)
        key = row.device_id or row.certificate_id
        if self._find_place is None or address is None or key is None:
            return None
        if any(location.holds(address, None) for location in self._trusted):
            return None
        place = self._find_place(address)
        if place is None:
            return None
        return self._memory.see(Sighting(row.user_id, key, row.at, str(address), place))


def _is_proven(row: AnyRow) -> bool:
    """Whether the key of the certificate was proven: only then policies were asked, and what from is in the record."""
    return "facts" in orjson.loads(row.story)
