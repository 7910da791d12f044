"""Performs a gateway's pending effects, and says so only after the gateway shows that it is so."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from evertunnel.effects import Effect, EffectKind, EffectSubject
from evertunnel.errors import UnavailableError
from evertunnel.gateways.tunnels import find_device_certificate_id, read_tunnel
from evertunnel.model import SubjectKind
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
        """Try everything that is pending once. True when nothing is left to do."""
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
        numbers = self._find_numbers(effect)
        for number in numbers:
            self._vici.terminate(number)
        return not any(self._vici.list_tunnels(number) for number in numbers) and not self._find_half_open(effect)

    def _find_numbers(self, effect: Effect) -> list[int]:
        with self._store.read() as connection:
            numbers = [row.unique_id for row in _list_concerned(connection, effect)]
        return numbers + [number for number in self._find_half_open(effect) if number not in numbers]

    def _find_half_open(self, effect: Effect) -> list[int]:
        """Tunnels of the subject that are on their way up or not joined yet, by what they claim to be.

        A claim is enough to cut: whoever claims to be somebody denied loses only his own tunnel.
        """
        if effect.subject_kind is EffectSubject.SESSION:
            return []
        found = []
        for section in self._vici.list_tunnels():
            tunnel = read_tunnel(section["name"], section)
            if tunnel.kind is not None and self._claims(effect, tunnel.claimed_identity):
                found.append(tunnel.unique_id)
        return found

    def _claims(self, effect: Effect, identity: str) -> bool:
        with self._store.read() as connection:
            if effect.subject_kind is EffectSubject.USER:
                row = people.find_subject(connection, SubjectKind.USER, effect.subject_id)
                return row is not None and identity.casefold() == row.name_key
            certificate_id = find_device_certificate_id(identity)
            certificate = certificates.find_certificate(connection, certificate_id) if certificate_id else None
            return certificate is not None and certificate.device_id == effect.subject_id


def _list_concerned(connection: Connection, effect: Effect) -> list[AnyRow]:
    """Live sessions on the effect's gateway that it is to end."""
    column = {
        EffectSubject.USER: "user_id",
        EffectSubject.DEVICE: "device_id",
        EffectSubject.SESSION: "id",
    }[effect.subject_kind]
    live = sessions.list_live_of_gateway(connection, effect.gateway_id)
    return [row for row in live if getattr(row, column) == effect.subject_id]
