"""Ends sessions by Disconnect-Requests: what a gateway acknowledged is noted apart from what was seen to be over.

The cuts of a mass (effect_queue) are spread as those over a control socket are (effect_worker).
"""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from evertunnel.actions.account import SILENT
from evertunnel.effects import Effect, EffectKind, EffectSubject
from evertunnel.gateways.cuts import Cuts, read_cuts
from evertunnel.gateways.dynamic_client import DynamicClient, Wish
from evertunnel.gateways.effect_worker import PACE_SECONDS, PACED_AT_ONCE
from evertunnel.model import GatewayState
from evertunnel.protocols.radius import attributes as radius
from evertunnel.storage import effect_queue, gateways, sessions, tables
from evertunnel.storage.effect_queue import Due
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
        self,
        store: Store,
        gateway_id: str,
        client: DynamicClient | None,
        *,
        nas_identifier: str,
        foreign: bool,
        read_uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._gateway_id = gateway_id
        self._client = client
        self._nas_identifier = nas_identifier
        self._foreign = foreign
        self._read_uptime = read_uptime
        self._paced_at = float("-inf")
        self._acknowledged: set[str] = set()
        self._again_at: dict[str, float] = {}
        self._errors: dict[str, str] = {}

    def perform_pending(self, now: datetime) -> bool:
        """Ask for what is due, once. True when nothing is left to do here."""
        uptime = self._read_uptime()
        with self._store.read() as connection:
            due = self._list_due(connection, now, uptime)
        if due.is_empty:
            return not due.others
        with self._store.hold(f"disconnects of {self._gateway_id}") as held:
            return held and self._perform(now, uptime)

    def _list_due(self, connection: Connection, now: datetime, uptime: float) -> Due:
        paced_at_most = 2 * PACED_AT_ONCE if uptime >= self._paced_at + PACE_SECONDS else 0
        due = effect_queue.list_due(connection, self._gateway_id, paced_at_most=paced_at_most)
        if self._foreign:
            return due
        # Whoever has its control socket goes first, and spreads a mass alone while the gateway answers there.
        alone = due.paced and gateways.find_state(connection, self._gateway_id) is GatewayState.CONNECTED
        urgent = [effect for effect in due.urgent if _is_late(effect, now)]
        paced = [effect for effect in due.paced if not alone and _is_late(effect, now)]
        left_out = len(due.urgent) + len(due.paced) - len(urgent) - len(paced)
        return Due(urgent, paced, others=due.others or left_out > 0)

    def _perform(self, now: datetime, uptime: float) -> bool:
        with self._store.read() as connection:
            due = self._list_due(connection, now, uptime)
            if due.is_empty:
                return not due.others
            cuts = read_cuts(connection, self._gateway_id, [each for each in due.urgent + due.paced if is_cut(each)])
            live = {row.id: row for row in sessions.list_live_of_gateway(connection, self._gateway_id)}
            self._forget_all_but(live.keys())
            urgent, paced = self._choose(due.urgent, cuts), self._choose(due.paced, cuts)
            keys = dict.fromkeys(urgent + paced[:PACED_AT_ONCE])
            rows = [live[key] for key in keys if key in live]
            identified = identify_sessions(connection, rows, self._nas_identifier)
        if due.paced:
            self._paced_at = uptime
        acknowledged = self._ask(identified)
        return self._store_outcome(now, due, acknowledged.union(paced[PACED_AT_ONCE:]))

    def _choose(self, effects: Sequence[Effect], cuts: Cuts) -> list[str]:
        """Ids of sessions whose turn it is to be asked for."""
        uptime = self._read_uptime()
        keys = (key for effect in effects for key in cuts.list_sessions(effect.id))
        return [key for key in keys if self._again_at.get(key, uptime) <= uptime]

    def _forget_all_but(self, live: Set[str]) -> None:
        self._acknowledged &= live
        self._again_at = {key: at for key, at in self._again_at.items() if key in live}
        self._errors = {key: text for key, text in self._errors.items() if key in live}

    def _ask(self, identified: Mapping[str, Sequence[tuple[int, bytes]]]) -> set[str]:
        """Ask for all of them. Returns the ids of those that the gateway acknowledged now."""
        # A request that names no session may be taken for all of them.
        self._errors |= {key: NAMELESS for key, names in identified.items() if not is_named(names)}
        due = [key for key, names in identified.items() if is_named(names)]
        if self._client is None:
            self._errors |= dict.fromkeys(due, NO_WAY)
            return set()
        wishes: list[Wish] = [(radius.Code.DISCONNECT_REQUEST, identified[key]) for key in due]
        try:
            answers = self._client.ask(wishes) if wishes else []
        except OSError as error:
            self._errors |= dict.fromkeys(due, f"there is no way to it: {error.strerror}")
            return set()
        uptime = self._read_uptime()
        acknowledged = set()
        for key, answer in zip(due, answers, strict=True):
            if answer is None:
                self._errors[key] = "it does not answer Disconnect-Requests: is the secret right, and the port open?"
                continue
            self._again_at[key] = uptime + _ASK_AGAIN_SECONDS
            self._errors[key] = SAID_YES if answer.acknowledged else answer.error
            if answer.acknowledged:
                acknowledged.add(key)
        self._acknowledged |= acknowledged
        return acknowledged

    def _store_outcome(self, now: datetime, due: Due, in_place: set[str]) -> bool:
        """What the gateway said, and for one that is not ours what its accounting shows. True: nothing is left.

        Of a mass these sessions keep their place in the queue: not asked for yet, or perhaps over at the next look.
        """
        with self._store.write(now) as tx:
            wanted = effect_queue.list_still_pending(tx.connection, [effect.id for effect in due.urgent + due.paced])
            pending = [effect for effect in due.urgent + due.paced if effect.id in wanted]
            paced = {effect.id for effect in due.paced}
            cuts = read_cuts(tx.connection, self._gateway_id, [effect for effect in pending if is_cut(effect)])
            done, errors = list[str](), dict[str, str]()
            for effect in pending:
                left = cuts.list_sessions(effect.id)
                if left and self._acknowledged.issuperset(left):
                    effect_queue.acknowledge_effect(tx, effect.id)
                if left:
                    if effect.id not in paced or not in_place.issuperset(left):
                        errors[effect.id] = next((self._errors[key] for key in left if key in self._errors), "")
                elif self._foreign and is_cut(effect) and _was_lost(tx.connection, effect):
                    errors[effect.id] = LOST
                elif self._foreign:
                    done.append(effect.id)
            effect_queue.confirm_effects(tx, done)
            for effect_id, error in errors.items():
                effect_queue.note_failures(tx, [effect_id], error)
        return len(done) == len(pending) and not due.others


def is_cut(effect: Effect) -> bool:
    """Whether it ends sessions."""
    return effect.kind is EffectKind.CUT


def _is_late(effect: Effect, now: datetime) -> bool:
    """Whether the control socket would have confirmed it by now. Of one by a clock ahead of ours nobody can tell."""
    return is_cut(effect) and not -_CONTROL_FIRST <= now - effect.created_at <= _CONTROL_FIRST


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
    """Whether a session that an effect meant ended only because its gateway spoke of it no more, or never."""
    accounting, table = tables.accounting, tables.sessions
    return (
        connection.execute(
            select(table.c.id)
            .outerjoin(accounting, accounting.c.session_id == table.c.id)
            .where(
                table.c.gateway_id == effect.gateway_id,
                table.c[_COLUMNS[effect.subject_kind]] == effect.subject_id,
                table.c.ended_at >= effect.created_at,
                (accounting.c.end_cause == SILENT) | (accounting.c.id.is_(None) & table.c.up_at.is_(None)),
            )
            .limit(1)
        ).first()
        is not None
    )
