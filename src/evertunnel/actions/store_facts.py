"""Keep what sources say, let the verdicts of compliance policies follow, and say of whom anything changed.

Everything that stores facts goes through here: a verdict that did not follow its posture would let in or keep out
whom it should not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from evertunnel.access.compliance import CompliancePolicy, Platform, Verdict, compile_compliance_policy
from evertunnel.access.documents import PolicyError
from evertunnel.access.fact_names import NOT_COMPLIANT_SINCE, POSTURE
from evertunnel.access.fact_sources import is_verdict_source, name_verdict_source
from evertunnel.access.facts import COMPLIANT
from evertunnel.access.posture import judge_device
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import Fact, SubjectKind
from evertunnel.storage import facts, people
from evertunnel.storage.compliance_policies import list_compliance_policies
from evertunnel.storage.store import Transaction

# Who says what a compliance policy keeps beside its verdict, and changes it.
POLICY = "compliance policy"
_LONGEST_DETAIL = 500

_Known = dict[tuple[str, str], Fact]


@dataclass(slots=True)
class _Work:
    """What must be written."""

    said: list[tuple[str, Fact]] = field(default_factory=list)
    gone: list[facts.FactKey] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    verdicts: dict[str, tuple[Fact | None, Fact | None]] = field(default_factory=dict)

    def say(self, subject_id: str, known: _Known, fact: Fact, *, if_newer: bool = False) -> bool:
        """Keep a fact. True: it may be decided otherwise now."""
        old = known.get((fact.name, fact.source))
        if old == fact or (if_newer and old is not None and old.observed_at > fact.observed_at):
            return False
        known[fact.name, fact.source] = fact
        self.said.append((subject_id, fact))
        if old is not None and _bears(old) == _bears(fact):
            return False
        self.changed.add(subject_id)
        return True

    def take_back(self, subject_id: str, known: _Known, key: tuple[str, str]) -> None:
        """A source says this no more."""
        if known.pop(key, None) is not None:
            self.gone.append((subject_id, *key))
            self.changed.add(subject_id)


def store_facts(
    tx: Transaction,
    kind: SubjectKind,
    said: Mapping[str, Sequence[Fact]],
    *,
    whole_source: str | None = None,
    if_newer: bool = False,
    ran_out: bool = False,
) -> set[str]:
    """Keep facts by subject id; returns the ids of whom something changed, whose epoch is raised.

    With a `whole_source` the facts are all that source says: what else it said is taken back. With `if_newer` a fact
    older than what its source said before is left out. With `ran_out` something of each of these subjects ran out.
    """
    known = facts.load_facts(tx.connection, kind, said.keys())
    work = _Work(changed=set(said) if ran_out else set())
    policies = load_compliance_policies(tx.connection) if kind is SubjectKind.DEVICE else {}
    for subject_id, new in said.items():
        mine = {(fact.name, fact.source): fact for fact in known.get(subject_id, ())}
        judged = ran_out
        for fact in new:
            judged |= work.say(subject_id, mine, fact, if_newer=if_newer) and fact.name in POSTURE
        if whole_source is not None:
            names = {fact.name for fact in new}
            for key in [key for key in mine if key[1] == whole_source and key[0] not in names]:
                work.take_back(subject_id, mine, key)
                judged = True
        if judged and kind is SubjectKind.DEVICE:
            _judge(work, policies, subject_id, mine, tx.now)
    _write(tx, kind, work)
    return work.changed


def judge_all_devices(tx: Transaction) -> set[str]:
    """Judge every device anew, after a compliance policy changed; returns the ids of those judged otherwise."""
    policies = load_compliance_policies(tx.connection)
    work = _Work()
    for subject_id, said in facts.load_facts(tx.connection, SubjectKind.DEVICE).items():
        _judge(work, policies, subject_id, {(fact.name, fact.source): fact for fact in said}, tx.now)
    _write(tx, SubjectKind.DEVICE, work)
    return work.changed


def load_compliance_policies(connection: Connection) -> dict[Platform, CompliancePolicy]:
    """By platform. One that cannot be read makes nobody compliant."""
    found = {}
    for row in list_compliance_policies(connection):
        try:
            policy = compile_compliance_policy(row.document)
        except PolicyError:
            continue
        found[policy.platform] = policy
    return found


def find_failed_since(said: Iterable[Fact]) -> datetime | None:
    """When the device failed first, as kept beside the verdict before."""
    for fact in said:
        if (fact.name, fact.source) == (NOT_COMPLIANT_SINCE, POLICY):
            return fact.observed_at
    return None


def _judge(
    work: _Work, policies: Mapping[Platform, CompliancePolicy], subject_id: str, known: _Known, now: datetime
) -> None:
    before = [key for key in known if is_verdict_source(key[1]) or key[1] == POLICY]
    if not before and not policies:
        return
    said = [fact for key, fact in known.items() if key not in before]
    if not said and not before:
        return
    verdict = judge_device(policies, said, find_failed_since(known.values()), now)
    wanted = _list_facts(verdict, now)
    old = next((known[key] for key in before if key[0] == COMPLIANT), None)
    for key in before:
        if key not in {(fact.name, fact.source) for fact in wanted}:
            work.take_back(subject_id, known, key)
    for fact in wanted:
        same = known.get((fact.name, fact.source))
        if same is None or _bears(same) != _bears(fact):
            work.say(subject_id, known, fact)
    new = next((fact for fact in wanted if fact.name == COMPLIANT), None)
    if (old.value if old else None) != (new.value if new else None):
        work.verdicts[subject_id] = (old, new)


def _list_facts(verdict: Verdict, now: datetime) -> list[Fact]:
    wanted = []
    if verdict.compliant is not None:
        # A no needs no end: whatever could end it is judged when it happens.
        value, ends = ("true", verdict.changes_at) if verdict.compliant else ("false", None)
        detail = verdict.detail[:_LONGEST_DETAIL]
        wanted.append(Fact(COMPLIANT, value, name_verdict_source(verdict.source), now, ends, detail))
    if verdict.failed_since is not None:
        since = verdict.failed_since
        wanted.append(Fact(NOT_COMPLIANT_SINCE, since.isoformat(), POLICY, since))
    return wanted


def _write(tx: Transaction, kind: SubjectKind, work: _Work) -> None:
    facts.replace_facts(tx, kind, work.said, gone=work.gone)
    for subject_id in sorted(work.changed):
        tx.raise_epoch(kind.value, subject_id)
    names = people.find_names(tx.connection, kind, work.verdicts.keys())
    for subject_id, (old, new) in work.verdicts.items():
        details = {"before": old.value if old else "unknown", "now": new.value if new else "unknown"}
        if new is not None:
            details["because"] = new.detail
        tx.record(AuditEntry(Audit.DEVICE_COMPLIANCE, POLICY, names.get(subject_id, subject_id), subject_id, details))


def _bears(fact: Fact) -> tuple[object, ...]:
    """What of a fact can bear on a decision; when it was seen last does not."""
    return fact.value, fact.expires_at, fact.detail
