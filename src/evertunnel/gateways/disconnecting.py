"""Ends sessions by Disconnect-Requests: what a gateway acknowledged is noted apart from what was seen to be over."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from evertunnel.actions.account import SILENT
from evertunnel.effects import Effect, EffectKind, EffectSubject
from evertunnel.gateways.cuts import read_cuts
from evertunnel.gateways.dynamic_client import DynamicClient, Wish
from evertunnel.protocols.radius import attributes as radius
from evertunnel.storage import effect_queue, sessions, tables
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow

# After an answer: the gateway's Accounting-Stop may be on its way, or it needs time to find the session.
_ASK_AGAIN_SECONDS = 5.0
# A gateway with our strongSwan is cut over its control socket; this is for when that does not answer.
_CONTROL_FIRST = timedelta(seconds=1)
_NAMES = frozenset({radius.USER_NAME, radius.ACCT_SESSION_ID, radius.NAS_PORT})
_COLUMNS = {EffectSubject.USER: "user_id", EffectSubject.DEVICE: "device_id", EffectSubject.SESSION: "id"}
NO_WAY = (
    "nobody can end its sessions from here: name where it takes Disconnect-Requests (`evertunnel gateway change NAME "
    "--disconnect`), or end them there"
)
NAMELESS = "nothing that it would know the session by is known here"
SAID_YES = "it acknowledged, and has not yet said that the session is over"
LOST = "it went silent before it said that the session is over"


class Disconnecting:
    """One gateway's. With `foreign` nothing but its accounting shows that a session is over, and here is decided it."""

    def __init__(
        self, store: Store, gateway_id: str, client: DynamicClient | None, *, nas_identifier: str, foreign: bool
    ) -> None:
        self._store = store
        self._gateway_id = gateway_id
        self._client = client
        self._nas_identifier = nas_identifier
        self._foreign = foreign
        self._acknowledged: set[str] = set()
        self._again_at: dict[str, float] = {}
        self._errors: dict[str, str] = {}

    def perform_pending(self, now: datetime) -> bool:
        """Ask for what is pending, once. True when nothing is left to do here."""
        with self._store.read() as connection:
            if not effect_queue.list_pending(connection, self._gateway_id):
                return True
            if not self._list_pending(connection, now):
                return False  # whoever has its control socket goes first
        with self._store.hold(f"disconnects of {self._gateway_id}") as held:
            return held and self._perform(now)

    def _list_pending(self, connection: Connection, now: datetime) -> list[Effect]:
        pending = effect_queue.list_pending(connection, self._gateway_id)
        if self._foreign:
            return pending
        return [
            effect for effect in pending if effect.kind is EffectKind.CUT and now - effect.created_at > _CONTROL_FIRST
        ]

    def _perform(self, now: datetime) -> bool:
        with self._store.read() as connection:
            pending = [each for each in self._list_pending(connection, now) if each.kind is EffectKind.CUT]
            cuts = read_cuts(connection, self._gateway_id, pending)
            wanted = {session_id for effect in pending for session_id in cuts.list_sessions(effect.id)}
            rows = [row for row in sessions.list_live_of_gateway(connection, self._gateway_id) if row.id in wanted]
            identified = identify_sessions(connection, rows, self._nas_identifier)
        live = {row.id for row in rows}
        self._acknowledged &= live
        self._again_at = {key: at for key, at in self._again_at.items() if key in live}
        self._errors = {key: text for key, text in self._errors.items() if key in live}
        self._ask(identified)
        return self._store_outcome(now)

    def _ask(self, identified: Mapping[str, Sequence[tuple[int, bytes]]]) -> None:
        uptime = time.monotonic()
        due = [key for key in identified if self._again_at.get(key, 0.0) <= uptime]
        # A request that names no session may be taken for all of them.
        self._errors |= {key: NAMELESS for key in due if not is_named(identified[key])}
        due = [key for key in due if is_named(identified[key])]
        if self._client is None:
            self._errors |= dict.fromkeys(due, NO_WAY)
            return
        wishes: list[Wish] = [(radius.Code.DISCONNECT_REQUEST, identified[key]) for key in due]
        try:
            answers = self._client.ask(wishes) if wishes else []
        except OSError as error:
            self._errors |= dict.fromkeys(due, f"there is no way to it: {error.strerror}")
            return
        uptime = time.monotonic()
        for key, answer in zip(due, answers, strict=True):
            if answer is None:
                self._errors[key] = "it does not answer Disconnect-Requests: is the secret right, and the port open?"
                continue
            self._again_at[key] = uptime + _ASK_AGAIN_SECONDS
            self._errors[key] = SAID_YES if answer.acknowledged else answer.error
            if answer.acknowledged:
                self._acknowledged.add(key)

    def _store_outcome(self, now: datetime) -> bool:
        """What the gateway said, and for one that is not ours what its accounting shows. True: nothing is left."""
        with self._store.write(now) as tx:
            pending = self._list_pending(tx.connection, tx.now)
            cuts = read_cuts(tx.connection, self._gateway_id, [e for e in pending if e.kind is EffectKind.CUT])
            done, errors = [], {}
            for effect in pending:
                left = cuts.list_sessions(effect.id)
                if left and self._acknowledged.issuperset(left):
                    effect_queue.acknowledge_effect(tx, effect.id)
                if left:
                    errors[effect.id] = next((self._errors[key] for key in left if key in self._errors), "")
                elif self._foreign and effect.kind is EffectKind.CUT and _was_lost(tx.connection, effect):
                    errors[effect.id] = LOST
                elif self._foreign:
                    done.append(effect.id)
            effect_queue.confirm_effects(tx, done)
            for effect_id, error in errors.items():
                effect_queue.note_failures(tx, [effect_id], error)
        return not errors


def identify_sessions(
    connection: Connection, rows: Sequence[AnyRow], nas_identifier: str
) -> dict[str, list[tuple[int, bytes]]]:
    """What names each session to its gateway (RFC 5176 3): as that itself names it in accounting, if it does.

    Nothing more than that: everything in a request has to match. `nas_identifier` is empty where we do not know it.
    """
    accounting, attempts = tables.accounting, tables.attempts
    found: dict[str, list[tuple[int, bytes]]] = {}
    for row in rows:
        named = [(radius.NAS_IDENTIFIER, nas_identifier.encode())] if nas_identifier else []
        record = connection.execute(
            select(accounting.c.acct_session_id, accounting.c.user_name)
            .where(accounting.c.session_id == row.id, accounting.c.ended_at.is_(None))
            .order_by(accounting.c.began_at.desc())
        ).first()
        user_name = record.user_name if record is not None else ""
        if not user_name:
            user_name = connection.execute(
                select(attempts.c.claimed_identity).where(attempts.c.id == row.attempt_id)
            ).scalar()
        if user_name:
            named.append((radius.USER_NAME, user_name.encode()[: radius.MAXIMUM_VALUE_BYTES]))
        if record is not None:
            named.append((radius.ACCT_SESSION_ID, record.acct_session_id.encode()[: radius.MAXIMUM_VALUE_BYTES]))
        elif row.unique_id:
            named.append((radius.NAS_PORT, row.unique_id.to_bytes(4, "big")))
        found[row.id] = named
    return found


def is_named(attributes: Sequence[tuple[int, bytes]]) -> bool:
    """Whether they name one session, or those of one user: not those of everybody who gave no name."""
    return any(
        number in _NAMES and value and not (number == radius.USER_NAME and _is_anonymous(value))
        for number, value in attributes
    )


def _is_anonymous(user_name: bytes) -> bool:
    """Whether many may call themselves that (RFC 7542 2.4, as in access.login_names)."""
    user = user_name.rpartition(b"\\")[2].partition(b"@")[0]
    return user.strip().lower() in (b"", b"anonymous")


def _was_lost(connection: Connection, effect: Effect) -> bool:
    """Whether a session that an effect meant ended only because its gateway spoke of it no more."""
    accounting, table = tables.accounting, tables.sessions
    return (
        connection.execute(
            select(table.c.id)
            .join(accounting, accounting.c.session_id == table.c.id)
            .where(
                table.c.gateway_id == effect.gateway_id,
                table.c[_COLUMNS[effect.subject_kind]] == effect.subject_id,
                table.c.ended_at >= effect.created_at,
                accounting.c.end_cause == SILENT,
            )
            .limit(1)
        ).first()
        is not None
    )
