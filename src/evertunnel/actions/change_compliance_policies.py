"""Import and remove compliance policies. Every device is judged anew in the same transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from evertunnel.access.compliance import Platform, compile_compliance_policy
from evertunnel.access.documents import PolicyError
from evertunnel.actions.store_facts import judge_all_devices
from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import NotFoundError
from evertunnel.storage import compliance_policies
from evertunnel.storage.store import Store, Transaction
from evertunnel.storage.tables import AnyRow


def import_compliance_policies(store: Store, document: Any, *, actor: str, now: datetime) -> tuple[list[str], int]:
    """Store one policy or an array of them, each for its platform's before. Returns the platforms, and how many
    devices are judged otherwise now. Raises PolicyError.
    """
    compiled = {}
    for index, each in enumerate(document if isinstance(document, list) else [document]):
        try:
            platform = compile_compliance_policy(each).platform
        except PolicyError as error:
            if isinstance(document, list):
                raise PolicyError(f"$[{index}]{error.path[1:]}", error.problem) from None
            raise
        if platform in compiled:
            raise PolicyError(f"$[{index}].platform", f"is {platform} a second time: a platform has one policy")
        compiled[platform] = each
    if not compiled:
        raise PolicyError("$", "holds no policy")
    with store.write(now) as tx:
        for platform, each in compiled.items():
            compliance_policies.store_compliance_policy(tx, platform.value, each)
            tx.record(AuditEntry(Audit.COMPLIANCE_POLICY_IMPORT, actor, platform.value, details={"document": each}))
        return [platform.value for platform in compiled], len(judge_all_devices(tx))


def put_compliance_policy(tx: Transaction, document: Any, *, details: Mapping[str, Any], actor: str) -> bool:
    """Put a document in the place of its platform's policy, or bring one back. Whether there was none.

    Raises PolicyError.
    """
    platform = compile_compliance_policy(document).platform.value
    is_new = compliance_policies.find_compliance_policy(tx.connection, platform) is None
    compliance_policies.store_compliance_policy(tx, platform, document)
    kept = {"document": document, **details}
    tx.record(AuditEntry(Audit.COMPLIANCE_POLICY_IMPORT, actor, platform, details=kept))
    judge_all_devices(tx)
    return is_new


def remove_compliance_policy(store: Store, platform: str, *, actor: str, now: datetime) -> int:
    """Remove a platform's policy: then nothing is known of its devices. Returns of how many. Raises NotFoundError."""
    with store.write(now) as tx:
        row = get_compliance_policy(tx.connection, platform)
        compliance_policies.delete_compliance_policy(tx, row.platform)
        tx.record(AuditEntry(Audit.COMPLIANCE_POLICY_REMOVE, actor, row.platform, details={"document": row.document}))
        return len(judge_all_devices(tx))


def get_compliance_policy(connection: Connection, platform: str) -> AnyRow:
    """A platform's policy. Raises NotFoundError."""
    names = {each.value.casefold(): each.value for each in Platform}
    row = compliance_policies.find_compliance_policy(connection, names.get(platform.casefold(), ""))
    if row is None:
        raise NotFoundError(
            f"there is no compliance policy for {platform[:80]!r}; `evertunnel compliance list` shows those that exist"
        )
    return row
