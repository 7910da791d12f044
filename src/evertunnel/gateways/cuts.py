"""Which tunnels of a gateway are to be cut, by what is wanted, what is recorded and what they claim. Reads only."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from evertunnel.effects import Effect, EffectSubject
from evertunnel.gateways.tunnels import Tunnel, find_device_certificate_id
from evertunnel.model import CertificateStatus, TunnelKind
from evertunnel.storage import certificates, people, sessions
from evertunnel.storage.tables import AnyRow

_COLUMNS = ((EffectSubject.USER, "user_id"), (EffectSubject.DEVICE, "device_id"), (EffectSubject.SESSION, "id"))
_COLUMN = dict(_COLUMNS)


def read_cuts(connection: Connection, gateway_id: str, effects: Sequence[Effect]) -> "Cuts":
    """What these effects want, against the sessions that are live now."""
    live = sessions.list_owners_of_gateway(connection, gateway_id) if effects else []
    return Cuts(effects, live, _list_claims(connection, effects))


def find_session_ends(connection: Connection, gateway_id: str, effects: Sequence[Effect]) -> dict[str, str]:
    """Ids of the sessions that are live now and that these effects end, with why."""
    causes = {(effect.subject_kind, effect.subject_id): effect.cause for effect in effects}
    rows = sessions.list_live_of_owners(connection, gateway_id, {effect.subject_id for effect in effects})
    found = {}
    for row in rows if effects else ():
        for kind, column in _COLUMNS:
            if (cause := causes.get((kind, getattr(row, column)))) is not None:
                found[row.id] = cause
    return found


class Cuts:
    """All cuts of one batch, so that one listing of the gateway serves them all."""

    def __init__(self, effects: Sequence[Effect], live: Sequence[AnyRow], claims: dict[str, frozenset[str]]) -> None:
        by_subject: dict[str, dict[str, set[str]]] = {column: defaultdict(set) for _, column in _COLUMNS}
        self._by_user_name: dict[str, set[str]] = defaultdict(set)
        self._by_certificate: dict[str, set[str]] = defaultdict(set)
        for effect in effects:
            by_subject[_COLUMN[effect.subject_kind]][effect.subject_id].add(effect.id)
            index = self._by_user_name if effect.subject_kind is EffectSubject.USER else self._by_certificate
            for claim in claims[effect.id]:
                index[claim].add(effect.id)
        self._by_spis = {row.spis: row for row in live if row.spis}
        # Whoever came up is known by its indexes. Only a session that still waits for its tunnel has nothing but the
        # number; where two wait, the newest is meant, for strongSwan counts from 1 again after a restart.
        self._by_number = {(row.kind, row.unique_id): row for row in reversed(live) if not row.spis}
        self._sessions: dict[str, list[AnyRow]] = {effect.id: [] for effect in effects}
        # Which kind of tunnel must be explained by a session before an effect counts as done.
        self._unexplained: dict[TunnelKind, set[str]] = {kind: set() for kind in TunnelKind}
        users, devices, own = (by_subject[column] for _, column in _COLUMNS)
        # By session id, of those sessions alone that any effect is about: they are few among many.
        self._by_session: dict[str, set[str]] = {}
        for row in live:
            if row.user_id in users or row.device_id in devices or row.id in own:
                found = {*users.get(row.user_id, ()), *devices.get(row.device_id, ()), *own.get(row.id, ())}
                self._by_session[row.id] = found
                for effect_id in found:
                    self._sessions[effect_id].append(row)
        for effect in effects:
            if effect.subject_kind is not EffectSubject.SESSION:
                self._unexplained[TunnelKind.USER].add(effect.id)
            for row in self._sessions[effect.id]:
                self._unexplained[TunnelKind(row.kind)].add(effect.id)

    def list_numbers(self, effects: Iterable[Effect]) -> list[int]:
        """Numbers that tunnels of sessions concerned had when they were recorded; now they may be others'."""
        return sorted({row.unique_id for effect in effects for row in self._sessions.get(effect.id, ())})

    def list_sessions(self, effect_id: str) -> list[str]:
        """Ids of live sessions that an effect is to end."""
        return [row.id for row in self._sessions.get(effect_id, ())]

    def find_effects(self, tunnel: Tunnel) -> set[str]:
        """Effects that want this tunnel gone: by its session, or by what it claims to be.

        A claim is enough to cut: whoever claims to be somebody denied loses only his own tunnel. It finds tunnels that
        are on their way up or not joined yet.
        """
        if tunnel.kind is None:
            return set()
        row = self._find_session(tunnel)
        found = set(self._by_session.get(row.id, ())) if row is not None else set()
        if self._by_user_name:
            found |= self._by_user_name.get(tunnel.claimed_identity.casefold(), set())
        if self._by_certificate:
            found |= self._by_certificate.get(find_device_certificate_id(tunnel.claimed_identity) or "", set())
        return found

    def list_unconfirmed(self, tunnels: Iterable[Tunnel]) -> set[str]:
        """Effects that a listing does not show to be done.

        A tunnel that no session explains speaks against all of them: one that was rekeyed just now has another number
        than the one that was cut.
        """
        left: set[str] = set()
        for tunnel in tunnels:
            left |= self.find_effects(tunnel)
            if tunnel.kind is not None and tunnel.established and self._find_session(tunnel) is None:
                left |= self._unexplained[tunnel.kind]
        return left

    def _find_session(self, tunnel: Tunnel) -> AnyRow | None:
        if (row := self._by_spis.get(tunnel.spis)) is not None or tunnel.kind is None:
            return row
        return self._by_number.get((tunnel.kind.value, tunnel.unique_id))


def _list_claims(connection: Connection, effects: Sequence[Effect]) -> dict[str, frozenset[str]]:
    """What each effect's subject calls itself: a user's name, a device's certificates."""
    users = {effect.subject_id for effect in effects if effect.subject_kind is EffectSubject.USER}
    names = people.find_name_keys(connection, users)
    return {effect.id: _find_claims(connection, effect, names) for effect in effects}


def _find_claims(connection: Connection, effect: Effect, names: Mapping[str, str]) -> frozenset[str]:
    match effect.subject_kind:
        case EffectSubject.USER:
            return frozenset({names[effect.subject_id]} if effect.subject_id in names else ())
        case EffectSubject.DEVICE:
            statuses = [status.value for status in CertificateStatus]
            rows = certificates.list_of_subject(connection, "device_id", effect.subject_id, statuses)
            return frozenset(row.id for row in rows)
        case EffectSubject.SESSION:
            return frozenset()
