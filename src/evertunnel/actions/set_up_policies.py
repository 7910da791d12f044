"""The usual set-up in one step: a deny group above the grants, device tunnels for all devices, short-lived certificates
demanded for user tunnels, and conditional access that demands a compliant device."""

from datetime import datetime

from evertunnel.actions.change_network_policies import insert_network_policy
from evertunnel.actions.import_access_policies import store_planned
from evertunnel.actions.plan_access_policies import plan_access_policies
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.write_policies import write_policies
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import SubjectKind
from evertunnel.pki import oids
from evertunnel.storage import people
from evertunnel.storage.store import Store, Transaction

DENY_GROUP = "VPN Denied"
USER_GROUP = "VPN Users"
DEVICE_GROUP = "VPN Devices"
_COMPLIANT = {
    "displayName": "VPN: require a compliant device",
    "state": "enabled",
    "conditions": {
        "users": {"includeUsers": ["All"]},
        "applications": {"includeApplications": ["VPN"]},
        "clientAppTypes": ["all"],
    },
    "grantControls": {"operator": "OR", "builtInControls": ["compliantDevice"]},
}


def set_up_policies(store: Store, *, actor: str, now: datetime) -> None:
    """Make groups and policies. Raises AlreadyExistsError when one of the policies is there already."""
    with write_policies(store, now) as tx:
        for group in (DENY_GROUP, USER_GROUP, DEVICE_GROUP):
            _ensure_group(tx, group, actor=actor)
        insert_network_policy(
            tx,
            "Deny group",
            {"permission": "deny", "conditions": {"groups": [DENY_GROUP]}},
            position=None,
            actor=actor,
        )
        insert_network_policy(
            tx,
            "Device tunnel",
            {"permission": "grant", "conditions": {"tunnel": "device", "groups": [DEVICE_GROUP]}},
            position=None,
            actor=actor,
        )
        insert_network_policy(
            tx,
            "User tunnel",
            {
                "permission": "grant",
                "conditions": {"tunnel": "user", "groups": [USER_GROUP]},
                "settings": {"allowed_certificate_oids": [oids.CONDITIONAL_ACCESS.dotted_string]},
            },
            position=None,
            actor=actor,
        )
        for planned in plan_access_policies(tx.connection, [PolicyFile("", _COMPLIANT)]):
            store_planned(tx, planned, actor=actor)


def _ensure_group(tx: Transaction, name: str, *, actor: str) -> None:
    if people.find_subject(tx.connection, SubjectKind.GROUP, name) is None:
        group_id = people.insert_subject(tx, SubjectKind.GROUP, name)
        tx.raise_epoch(SubjectKind.GROUP.value, group_id)
        tx.record(AuditEntry(Audit.GROUP_ADD, actor, name, group_id))
