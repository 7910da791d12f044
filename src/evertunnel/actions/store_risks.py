"""Keep the risks that were found in attempts, as facts that end by themselves. Found twice they are kept once."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from evertunnel.access.computed_risks import LEVELS, LIFE, Finding, join_findings
from evertunnel.access.fact_sources import TRAVEL
from evertunnel.access.facts import SIGN_IN_RISK, USER_RISK
from evertunnel.actions.store_facts import store_facts
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import facts, people
from evertunnel.storage.store import Store

# Fewer than make whoever follows read everything anew.
_AT_ONCE = 400
_Wanted = dict[str, list[Fact]]


def store_risks(store: Store, findings: Sequence[Finding], *, now: datetime) -> int:
    """Returns of how many users the risk is another now. Nodes that found the same write it once.

    Writes only when a level rises or is about to end; a lower one says nothing while a higher lives.
    """
    joined = join_findings(findings)
    users = sorted({user_id for user_id, _source in joined})
    changed = 0
    for start in range(0, len(users), _AT_ONCE):
        part = set(users[start : start + _AT_ONCE])
        mine = {key: finding for key, finding in joined.items() if key[0] in part}
        with store.read() as connection:
            if not _find_wanted(connection, mine, now):
                continue
        with store.write(now) as tx:
            wanted = _find_wanted(tx.connection, mine, tx.now)
            changed += len(store_facts(tx, SubjectKind.USER, wanted))
            names = people.find_names(tx.connection, SubjectKind.USER, wanted)
            for user_id, said in wanted.items():
                for fact in said:
                    details = {fact.name: fact.value, "because": fact.detail}
                    tx.record(AuditEntry(Audit.USER_RISK, fact.source, names[user_id], user_id, details))
    return changed


def name_risk(source: str) -> str:
    """Which risk a source of ours speaks of: where somebody signs in from, or what is tried in his name."""
    return SIGN_IN_RISK if source == TRAVEL else USER_RISK


def _find_wanted(connection: Connection, joined: Mapping[tuple[str, str], Finding], now: datetime) -> _Wanted:
    users = {user_id for user_id, _source in joined}
    there = people.find_names(connection, SubjectKind.USER, users)
    known = facts.load_facts(connection, SubjectKind.USER, users)
    wanted: _Wanted = {}
    for (user_id, source), finding in joined.items():
        name = name_risk(source)
        old = next((fact for fact in known.get(user_id, ()) if (fact.name, fact.source) == (name, source)), None)
        if user_id in there and (fact := _find_fact(old, finding, now)) is not None:
            wanted.setdefault(user_id, []).append(fact)
    return wanted


def _find_fact(old: Fact | None, finding: Finding, now: datetime) -> Fact | None:
    """What to say now; None if nothing else than before."""
    found: Finding | None = finding
    if old is not None and old.value == LEVELS[0]:
        found = finding.without(old.observed_at)  # somebody looked at all until then
    elif old is not None and finding.at <= old.observed_at and finding.level == old.value:
        return None  # it is what was found then
    if found is None or found.at + LIFE <= now:
        return None
    if old is not None and old.expires_at is not None and old.expires_at > now:
        risen = LEVELS.index(found.level) - LEVELS.index(old.value)
        if risen < 0 or (risen == 0 and old.expires_at - now > LIFE / 2):
            return None
    return Fact(name_risk(found.source), found.level, found.source, found.at, found.at + LIFE, found.detail)
