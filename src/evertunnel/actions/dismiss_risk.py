"""An administrator looked at a risk that we found, and says that there is none."""

from datetime import datetime

from evertunnel.access.computed_risks import LEVELS, LIFE
from evertunnel.access.fact_sources import COMPUTED
from evertunnel.actions.store_facts import store_facts
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import InvalidInputError
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import facts, people
from evertunnel.storage.store import Store

_REASON_AT_MOST = 200


def dismiss_risk(store: Store, user: str, *, reason: str, actor: str, now: datetime) -> list[str]:
    """Returns the names of the risks that were. Only what happens from now on is found again.

    What other sources say stays: they must take it back. Raises NotFoundError, InvalidInputError.
    """
    if len(reason) > _REASON_AT_MOST or not (reason.isprintable() or not reason):
        raise InvalidInputError(f"a reason is at most {_REASON_AT_MOST} characters that can be printed")
    with store.write(now) as tx:
        row = people.get_subject(tx.connection, SubjectKind.USER, user)
        standing = [
            fact
            for fact in facts.list_facts(tx.connection, SubjectKind.USER, row.id)
            if fact.source in COMPUTED
            and fact.value != LEVELS[0]
            and (fact.expires_at is None or tx.now < fact.expires_at)
        ]
        if not standing:
            raise InvalidInputError(
                f"nothing that we found makes {row.name} a risk: see evertunnel user risk {row.name}"
            )
        detail = f"dismissed by {actor}{': ' if reason else ''}{reason}"
        said = [Fact(fact.name, LEVELS[0], fact.source, tx.now, tx.now + LIFE, detail) for fact in standing]
        store_facts(tx, SubjectKind.USER, {row.id: said})
        details = {fact.name: f"{fact.value}: {fact.detail}" for fact in standing}
        tx.record(AuditEntry(Audit.USER_DISMISS_RISK, actor, row.name, row.id, {**details, "reason": reason}))
    return [fact.name for fact in standing]
