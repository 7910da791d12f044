"""Names of what is audited: `subject:action`. The name is the contract; renaming one breaks somebody's search."""

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Audit(StrEnum):
    """Every change an administrator, a device or we ourselves can make."""

    INSTALLATION_CREATE = "installation:create"
    KEYS_SEAL = "keys:seal"
    BACKUP_MAKE = "backup:make"
    BACKUP_RESTORE = "backup:restore"
    USER_ADD = "user:add"
    USER_CHANGE = "user:change"
    USER_REMOVE = "user:remove"
    USER_TOTP_ADD = "user:totp-add"
    USER_TOTP_CONFIRM = "user:totp-confirm"
    USER_TOTP_REMOVE = "user:totp-remove"
    USER_PASSWORD_CHANGE = "user:password-change"  # noqa: S105
    USER_REPORT = "user:report"
    USER_RISK = "user:risk"
    USER_DISMISS_RISK = "user:dismiss-risk"
    USER_DENY = "user:deny"
    USER_ALLOW = "user:allow"
    DEVICE_ADD = "device:add"
    DEVICE_CHANGE = "device:change"
    DEVICE_REMOVE = "device:remove"
    DEVICE_ASSIGN = "device:assign"
    DEVICE_UNASSIGN = "device:unassign"
    DEVICE_REPORT = "device:report"
    DEVICE_COMPLIANCE = "device:compliance"
    DEVICE_DENY = "device:deny"
    DEVICE_ALLOW = "device:allow"
    GROUP_ADD = "group:add"
    GROUP_CHANGE = "group:change"
    GROUP_REMOVE = "group:remove"
    GROUP_JOIN = "group:join"
    GROUP_LEAVE = "group:leave"
    AUTHORITY_OFFLINE = "authority:offline"
    AUTHORITY_ONLINE = "authority:online"
    ACCESS_AUTHORITY_CREATE = "access-authority:create"
    ACCESS_AUTHORITY_ACTIVATE = "access-authority:activate"
    ACCESS_AUTHORITY_RETIRE = "access-authority:retire"
    ACCESS_AUTHORITY_DISTRUST = "access-authority:distrust"
    ACCESS_AUTHORITY_END = "access-authority:end"
    CERTIFICATE_GRANT = "certificate:grant"
    CERTIFICATE_REVOKE = "certificate:revoke"
    GATEWAY_ADD = "gateway:add"
    GATEWAY_CHANGE = "gateway:change"
    GATEWAY_REMOVE = "gateway:remove"
    GATEWAY_RADSEC = "gateway:radsec"
    GATEWAY_SECRET_ROTATE = "gateway:secret-rotate"  # noqa: S105  a name
    GATEWAY_SECRET_FINISH = "gateway:secret-finish"  # noqa: S105  a name
    GATEWAY_CODE = "gateway:code"
    GATEWAY_ENROL = "gateway:enrol"
    GATEWAY_ENROL_REFUSED = "gateway:enrol-refused"
    MSCHAPV2_ON = "mschapv2:on"
    MSCHAPV2_OFF = "mschapv2:off"
    NETWORK_POLICY_ADD = "network-policy:add"
    NETWORK_POLICY_CHANGE = "network-policy:change"
    NETWORK_POLICY_REMOVE = "network-policy:remove"
    ACCESS_POLICY_IMPORT = "access-policy:import"
    ACCESS_POLICY_CHANGE = "access-policy:change"
    ACCESS_POLICY_REMOVE = "access-policy:remove"
    FACTS_IMPORT = "facts:import"
    COMPLIANCE_POLICY_IMPORT = "compliance-policy:import"
    COMPLIANCE_POLICY_REMOVE = "compliance-policy:remove"
    LOCATION_ADD = "named-location:add"
    LOCATION_CHANGE = "named-location:change"
    LOCATION_REMOVE = "named-location:remove"
    STRENGTH_ADD = "authentication-strength:add"
    STRENGTH_CHANGE = "authentication-strength:change"
    STRENGTH_REMOVE = "authentication-strength:remove"
    POLICY_TEST_ADD = "policy-test:add"
    POLICY_TEST_CHANGE = "policy-test:change"
    POLICY_TEST_REMOVE = "policy-test:remove"
    PROFILE_SAVE = "profile:save"
    PROFILE_REMOVE = "profile:remove"
    SESSION_END = "session:end"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to whom. `subject` is a name for people, `subject_id` survives renaming."""

    name: Audit
    actor: str
    subject: str = ""
    subject_id: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def show_path(path: Path) -> str:
    """A path for the record: a file's name is bytes, and need not be text."""
    return os.fsencode(path).decode(errors="backslashreplace")
