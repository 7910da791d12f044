"""Try a draft of the conditional access policies on recorded attempts. Nothing is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from evertunnel.access.decision import Policies
from evertunnel.access.recorded_facts import decode_facts
from evertunnel.access.replay import Difference, RecordedAttempt, replay
from evertunnel.actions.compile_policies import PolicyCompiler
from evertunnel.actions.import_access_policies import STATES
from evertunnel.actions.plan_access_policies import PlannedPolicy, plan_access_policies
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.errors import InvalidInputError, NotFoundError
from evertunnel.model import Outcome, Reason
from evertunnel.storage import attempts
from evertunnel.storage.snapshot import Snapshot, StoredAccessPolicy, load_policies
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow

# They did not end by what policies say, whatever these said on the way.
_NOT_ASKED = frozenset(
    reason.value
    for reason in (
        Reason.IDENTITY_MISMATCH,
        Reason.OUTER_IDENTITY_MISMATCH,
        Reason.MSCHAPV2_SWITCHED_OFF,
        Reason.PASSWORD_WRONG,
        Reason.PASSWORD_EXPIRED,
        Reason.PASSWORD_CHANGE_FAILED,
        Reason.CRYPTO_BINDING_WRONG,
        Reason.CLIENT_STOPPED,
        Reason.TOO_MANY_ROUNDS,
        Reason.TOO_MANY_FAILURES,
        Reason.TLS_FAILED,
        Reason.INTERNAL_ERROR,
        Reason.LIFETIME_TOO_SHORT,
    )
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What the policies would be: those of `files` replace those of the same names or come beside them.

    `mapping` is as in plan_access_policies. `states` sets policies on, off or report-only, by name. `alone`: the files
    instead of all there are.
    """

    files: Sequence[PolicyFile] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """What came of some attempts. `after` is where the next page begins; None when there is none.

    `skipped` were decided from nothing that was kept: a failed handshake, a record from before facts were kept.
    """

    looked_at: int
    skipped: int
    differences: tuple[Difference, ...]
    after: str | None


def build_draft(store: Store, draft: Draft) -> Policies:
    """The policies as they would stand. Nothing is written, and nobody who writes waits for it.

    Raises PolicyError, NotFoundError, InvalidInputError.
    """
    stored = Snapshot()
    with store.read() as connection:
        load_policies(connection, stored)
        planned = plan_access_policies(connection, draft.files, draft.mapping, replace=True)
    stored.access = _put_in_place(stored.access, planned, draft)
    return PolicyCompiler().compile(stored)


def replay_page(
    store: Store,
    policies: Policies,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    after: str | None = None,
    limit: int,
) -> Page:
    """Try policies on the next attempts, the oldest first. Raises InvalidInputError for an `after` that is none."""
    with store.read() as connection:
        rows = attempts.list_in_order(connection, since=since, until=until, after=after, limit=limit)
    recorded = [found for row in rows if (found := _read(row)) is not None]
    return Page(
        len(rows),
        len(rows) - len(recorded),
        tuple(replay(policies, recorded)),
        attempts.name_place(rows[-1]) if len(rows) == limit else None,
    )


def _put_in_place(
    stored: Sequence[StoredAccessPolicy], planned: Sequence[PlannedPolicy], draft: Draft
) -> list[StoredAccessPolicy]:
    found = {} if draft.alone else {name: (document, resolved) for name, document, resolved in stored}
    for each in planned:
        found[each.policy.name] = each.document, each.resolved
    for name, state in draft.states.items():
        if name not in found:
            raise NotFoundError(f"there is no conditional access policy {name!r} in the draft")
        if state not in STATES:
            raise InvalidInputError(f"{state!r} is not {', '.join(STATES)}")
        document, resolved = found[name]
        found[name] = {**document, "state": STATES[state].value}, resolved
    return [(name, *found[name]) for name in sorted(found)]


def _read(row: AnyRow) -> RecordedAttempt | None:
    """None: it was refused before policies were asked, or its facts were not kept."""
    found = orjson.loads(row.story).get("facts")
    if found is None or row.reason in _NOT_ASKED:
        return None
    return RecordedAttempt(
        row.id,
        row.at,
        row.outcome == Outcome.GRANTED.value,
        row.reason,
        row.detail,
        decode_facts(found, at=row.at, client_address=row.client_address),
    )
