"""Self-tests beside policies: who does what, with which facts, and what must come of it. One JSON object a test.

What a test does not give is unknown. It is about policies alone: denials and who is switched off do not count.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.country_codes import find_country_problem
from evertunnel.access.conditional.devices import read_device_properties
from evertunnel.access.conditional.sign_in import INSIDER_RISK_LEVELS, PLATFORMS, read_address
from evertunnel.access.conditional.strengths import METHODS
from evertunnel.access.documents import (
    PolicyError,
    quote,
    read_flag,
    read_object,
    read_text,
    read_texts,
    refuse_unknown,
)
from evertunnel.access.what_if import Supposition
from evertunnel.model import AuthenticationMethod, CertificateKind, Reason, TunnelKind

TESTS_AT_MOST = 500
NAME_AT_MOST = 100
_DOCUMENT_BYTES_AT_MOST = 8 * 1024
_TEXT_AT_MOST = 256
_SECONDS_AT_MOST = 10 * 366 * 24 * 3600
WHAT = {"user-tunnel": TunnelKind.USER, "device-tunnel": TunnelKind.DEVICE, "certificate": None}
_KINDS = tuple(kind.value for kind in (CertificateKind.USER, CertificateKind.DEVICE, CertificateKind.SHORT_LIVED))
_RISKS = ("none", "low", "medium", "high")
# The same as what-if asks for, and what must come of it.
_FIELDS = (
    "name",
    "for",
    "user",
    "device",
    "gateway",
    "certificate",
    "address",
    "country",
    "platform",
    "compliant",
    "domain_joined",
    "own_tunnel",
    "sign_in_risk",
    "user_risk",
    "insider_risk",
    "methods",
    "signed_in_seconds_ago",
    "device_properties",
    "expect",
    "reason",
    "policy",
)
# What other fields say.


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """A compiled test. `user`, `device` and `gateway` are as written; empty is none.

    `grants` is what must come of it; `reason` and `policy` narrow that where they are given.
    """

    name: str
    tunnel: TunnelKind | None
    user: str
    device: str
    gateway: str
    certificate: CertificateKind | None
    supposition: Supposition
    signed_in_seconds_ago: int | None
    grants: bool
    reason: Reason | None
    policy: str


def compile_policy_test(document: Any) -> PolicyTest:
    """Read a test. Raises PolicyError with the JSON path of the first problem."""
    test = read_object(document, "$")
    refuse_unknown(test, "$", _FIELDS)
    if len(json.dumps(document)) > _DOCUMENT_BYTES_AT_MOST:
        raise PolicyError("$", f"is larger than {_DOCUMENT_BYTES_AT_MOST // 1024} KiB")
    tunnel = WHAT[read_text(test.get("for", "user-tunnel"), "$.for", choices=tuple(WHAT))]
    found = PolicyTest(
        name=_read_name(test.get("name")),
        tunnel=tunnel,
        user=_read_optional(test, "user"),
        device=_read_optional(test, "device"),
        gateway=_read_optional(test, "gateway"),
        certificate=_read_kind(test, tunnel),
        supposition=_read_supposition(test),
        signed_in_seconds_ago=_read_seconds(test),
        grants=read_text(test.get("expect"), "$.expect", choices=("grant", "block")) == "grant",
        reason=Reason(text) if (text := _read_choice(test, "reason", tuple(Reason))) is not None else None,
        policy=_read_optional(test, "policy"),
    )
    _verify_whole(found)
    return found


def _verify_whole(test: PolicyTest) -> None:
    if test.tunnel is TunnelKind.DEVICE:
        if not test.device:
            raise PolicyError("$.device", "a device tunnel is a device's: name one")
        if test.user:
            raise PolicyError("$.user", "a device tunnel has no user: leave it out")
    elif not test.user:
        raise PolicyError("$.user", "name the user who signs in")
    if test.signed_in_seconds_ago is not None and test.supposition.methods is None:
        raise PolicyError("$.methods", "say what was passed at the sign-in so many seconds ago")
    if test.reason is not None and (test.reason is Reason.GRANTED) != test.grants:
        raise PolicyError("$.reason", f"{test.reason.value} is no reason to {'grant' if test.grants else 'block'}")


def _read_supposition(test: Mapping[str, Any]) -> Supposition:
    methods = test.get("methods")
    known = (*METHODS, *(method.value for method in AuthenticationMethod))
    return Supposition(
        address=_read_address(test),
        country=_read_country(test),
        platform=_read_choice(test, "platform", PLATFORMS),
        compliant=_read_yes_no(test, "compliant"),
        domain_joined=_read_yes_no(test, "domain_joined"),
        own_tunnel=_read_yes_no(test, "own_tunnel"),
        sign_in_risk=_read_choice(test, "sign_in_risk", _RISKS),
        user_risk=_read_choice(test, "user_risk", _RISKS),
        insider_risk=_read_choice(test, "insider_risk", INSIDER_RISK_LEVELS),
        methods=None if methods is None else read_texts(methods, "$.methods", choices=known),
        device=read_device_properties(test.get("device_properties"), "$.device_properties"),
    )


def _read_name(value: Any) -> str:
    name = read_text(value, "$.name")
    if not name.strip() or len(name) > NAME_AT_MOST or not name.isprintable():
        raise PolicyError("$.name", f"must be 1 to {NAME_AT_MOST} printable characters")
    return name


def _read_optional(test: Mapping[str, Any], key: str) -> str:
    if test.get(key) is None:
        return ""
    text = read_text(test[key], f"$.{key}")
    if len(text) > _TEXT_AT_MOST:
        raise PolicyError(f"$.{key}", f"is longer than {_TEXT_AT_MOST} characters")
    return text


def _read_choice(test: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str | None:
    return None if test.get(key) is None else read_text(test[key], f"$.{key}", choices=choices)


def _read_yes_no(test: Mapping[str, Any], key: str) -> bool | None:
    return None if test.get(key) is None else read_flag(test[key], f"$.{key}", default=False)


def _read_kind(test: Mapping[str, Any], tunnel: TunnelKind | None) -> CertificateKind | None:
    text = _read_choice(test, "certificate", _KINDS)
    if text is None:
        return None
    if tunnel is None:
        raise PolicyError("$.certificate", "one is asked for, so none is presented: leave it out")
    return CertificateKind(text)


def _read_address(test: Mapping[str, Any]) -> str | None:
    text = _read_optional(test, "address")
    if text and read_address(text) is None:
        raise PolicyError("$.address", f"{quote(text)} is no address such as 192.0.2.7")
    return text or None


def _read_country(test: Mapping[str, Any]) -> str | None:
    """Empty is an address that no country has."""
    code = test.get("country")
    if code is None or code == "":
        return code
    text = read_text(code, "$.country")
    if problem := find_country_problem(text):
        raise PolicyError("$.country", f"{problem}, or nothing for no country")
    return text


def _read_seconds(test: Mapping[str, Any]) -> int | None:
    value = test.get("signed_in_seconds_ago")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _SECONDS_AT_MOST:
        raise PolicyError("$.signed_in_seconds_ago", f"must be a whole number from 0 to {_SECONDS_AT_MOST}")
    return value
