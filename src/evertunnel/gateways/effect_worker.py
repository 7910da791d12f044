"""Performs a gateway's pending effects, and says so only after the gateway shows that it is so."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from evertunnel.effects import Effect, EffectKind, EffectSubject
from evertunnel.errors import UnavailableError
from evertunnel.gateways.tunnels import find_device_certificate_id, read_tunnel
from evertunnel.model import CertificateStatus, SubjectKind, TunnelKind
from evertunnel.storage import certificates, effect_queue, people, sessions
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow
from evertunnel.vici_connection import ViciConnection


class EffectWorker:
    """One gateway's. Not safe between threads: it shares its caller's VICI connection."""

    def __init__(
        self, store: Store, gateway_id: str, connection: ViciConnection, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._gateway_id = gateway_id
        self._vici = connection
        self._clock = clock

    def perform_pending(self) -> bool:
        """Try everything that is pending once. True when nothing is left to do.

        Of several nodes that reach the gateway one does it; the others find nothing left, or look again.
        """
        with self._store.read() as connection:
            if not effect_queue.list_pending(connection, self._gateway_id):
                return True
        with self._store.hold(f"effects of {self._gateway_id}") as held:
            return held and self._perform_pending()

    def _perform_pending(self) -> bool:
        with self._store.read() as connection:
            pending = effect_queue.list_pending(connection, self._gateway_id)
        done = True
        for effect in pending:
            try:
                confirmed = self._perform(effect)
                error = "a tunnel is still there"
            except UnavailableError as problem:
                confirmed, error = False, str(problem)
            # Taken here and not at the commit: this is the moment at which the gateway showed it.
            seen_at = self._clock()
            with self._store.write(seen_at) as tx:
                if confirmed:
                    effect_queue.confirm_effect(tx, effect.id)
                    for row in _list_concerned(tx.connection, effect) if effect.kind is EffectKind.CUT else ():
                        sessions.end_session(tx, row.id, effect.cause)
                else:
                    effect_queue.note_failure(tx, effect.id, error)
            done = done and confirmed
        return done

    def _perform(self, effect: Effect) -> bool:
        """Cut and look again. Raises UnavailableError."""
        # Whatever charon remembers of a certificate must not let the next try in, nor keep it out.
        self._vici.flush_certificates()
        if effect.kind is EffectKind.FLUSH:
            return True
        with self._store.read() as connection:
            live = sessions.list_live_of_gateway(connection, effect.gateway_id)
            claims = _list_claims(connection, effect)
        # What is known goes first: to list ten thousand tunnels takes a while.
        numbers = [row.unique_id for row in live if _concerns(effect, row)]
        for number in numbers:
            self._vici.terminate(number)
        for number in self._find_claimed(effect, claims):
            self._vici.terminate(number)
        if any(self._vici.list_tunnels(number) for number in numbers):
            return False
        return not self._find_claimed(effect, claims, live)

    def _find_claimed(self, effect: Effect, claims: frozenset[str], live: Sequence[AnyRow] = ()) -> list[int]:
        """Tunnels of the subject that are on their way up or not joined yet, by what they claim to be.

        A claim is enough to cut: whoever claims to be somebody denied loses only his own tunnel. With `live` also user
        tunnels that no session explains: one that was rekeyed just now has another number than the one that was cut.
        """
        if effect.subject_kind is EffectSubject.SESSION:
            return []
        spis, numbers = {row.spis for row in live}, {row.unique_id for row in live}
        found = []
        for section in self._vici.list_tunnels():
            tunnel = read_tunnel(section["name"], section)
            if tunnel.kind is None:
                continue
            unexplained = tunnel.spis not in spis and tunnel.unique_id not in numbers
            if _read_claim(effect, tunnel.claimed_identity) in claims or (
                live and unexplained and tunnel.established and tunnel.kind is TunnelKind.USER
            ):
                found.append(tunnel.unique_id)
        return found


def _list_claims(connection: Connection, effect: Effect) -> frozenset[str]:
    """What the effect's subject calls itself, as `_read_claim` reads it: a user's name, a device's certificates."""
    match effect.subject_kind:
        case EffectSubject.USER:
            row = people.find_subject(connection, SubjectKind.USER, effect.subject_id)
            return frozenset() if row is None else frozenset({row.name_key})
        case EffectSubject.DEVICE:
            statuses = [status.value for status in CertificateStatus]
            rows = certificates.list_of_subject(connection, "device_id", effect.subject_id, statuses)
            return frozenset(row.id for row in rows)
        case EffectSubject.SESSION:
            return frozenset()


def _read_claim(effect: Effect, identity: str) -> str | None:
    return identity.casefold() if effect.subject_kind is EffectSubject.USER else find_device_certificate_id(identity)


def _list_concerned(connection: Connection, effect: Effect) -> list[AnyRow]:
    """Live sessions on the effect's gateway that it is to end."""
    return [row for row in sessions.list_live_of_gateway(connection, effect.gateway_id) if _concerns(effect, row)]


def _concerns(effect: Effect, row: AnyRow) -> bool:
    column = {
        EffectSubject.USER: "user_id",
        EffectSubject.DEVICE: "device_id",
        EffectSubject.SESSION: "id",
    }[effect.subject_kind]
    return bool(getattr(row, column) == effect.subject_id)
