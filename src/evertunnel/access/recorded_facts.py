"""The facts of an attempt as its record keeps them, so that other policies can be tried on it later.

Whatever a decision looked at goes in, and nothing that is empty: most attempts keep some hundred octets.
"""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from evertunnel.access.facts import Facts, SignInFacts
from evertunnel.access.own_tunnel import OwnTunnel
from evertunnel.model import (
    Authority,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Device,
    Fact,
    Gateway,
    LoginMethod,
    TunnelKind,
    User,
)

# Looked up a hundred thousand times in a replay, where calling the enumerations would cost more than all else.
_TUNNELS = {each.value: each for each in TunnelKind}
_AUTHORITIES = {each.value: each for each in Authority}
_KINDS = {each.value: each for each in CertificateKind}
_STATUSES = {each.value: each for each in CertificateStatus}
# What a record that says nothing of it means.
_USUAL_METHODS = (None, LoginMethod.EAP_TLS)
_SETS = frozenset({"roles", "terms_accepted"})
_PLAIN = tuple(each.name for each in fields(SignInFacts) if each.name not in _SETS)


def encode_facts(facts: Facts, *, attempt_at: datetime | None = None) -> dict[str, Any]:
    """As JSON. The client's address stands in the attempt itself, and the time unless it began at another."""
    found: dict[str, Any] = {}
    if attempt_at is not None and attempt_at != facts.at:
        found["at"] = _encode_time(facts.at)
    if facts.tunnel is not None:
        found["tunnel"] = facts.tunnel.value
    if (user := facts.user) is not None:
        found["user"] = [user.id, user.name, user.enabled, list(user.groups)]
    if (device := facts.device) is not None:
        assigned = user is not None and user.id in device.users
        found["device"] = [device.id, device.name, device.enabled, list(device.groups), assigned]
    if (gateway := facts.gateway) is not None:
        found["gateway"] = [gateway.id, gateway.name, gateway.enabled]
    if (certificate := facts.certificate) is not None:
        found["certificate"] = [
            certificate.id,
            certificate.authority.value,
            certificate.kind.value,
            certificate.status.value,
            _encode_time(certificate.not_after),
        ]
        found["usages"] = list(facts.certificate_usages)
    if facts.user_denial or facts.device_denial:
        found["denials"] = [facts.user_denial, facts.device_denial]
    if facts.device_facts:
        found["facts"] = _encode_told(facts.device_facts)
    if facts.user_facts:
        found["user_facts"] = _encode_told(facts.user_facts)
    if facts.own_tunnel is not None:
        found["own_tunnel"] = list(facts.own_tunnel.addresses)
    if facts.signed_in_at is not None:
        found["signed_in"] = [_encode_time(facts.signed_in_at), *facts.authentication_methods]
    if facts.sign_in != _NOTHING:
        found["sign_in"] = _encode_sign_in(facts.sign_in)
    if facts.method not in _USUAL_METHODS:
        found["method"] = [facts.method, facts.crypto_bound]
    return found


def decode_facts(found: Mapping[str, Any], *, at: datetime, client_address: str) -> Facts:
    """The same again. Whatever later versions leave out is unknown.

    `at` is when the attempt began: the moment of the decision where no other is kept.
    """
    user, device, gateway, certificate = (found.get(name) for name in ("user", "device", "gateway", "certificate"))
    denials = found.get("denials") or ["", ""]
    method, crypto_bound = found.get("method", (None, None))
    signed_in = found.get("signed_in")
    return Facts(
        at=_decode_time(found["at"]) if "at" in found else at,
        tunnel=_TUNNELS[found["tunnel"]] if "tunnel" in found else None,
        gateway=Gateway(gateway[0], gateway[1], "", gateway[2]) if gateway else None,
        user=User(user[0], user[1], user[2], frozenset(user[3])) if user else None,
        device=Device(
            device[0], device[1], device[2], frozenset(device[3]), frozenset({user[0]} if device[4] and user else ())
        )
        if device
        else None,
        certificate=_decode_certificate(certificate, user, device) if certificate else None,
        certificate_usages=frozenset(found.get("usages", ())),
        user_denial=denials[0],
        device_denial=denials[1],
        device_facts=_decode_told(found.get("facts", {})),
        user_facts=_decode_told(found.get("user_facts", {})),
        own_tunnel=OwnTunnel(tuple(found["own_tunnel"])) if "own_tunnel" in found else None,
        client_address=client_address,
        sign_in=_decode_sign_in(found["sign_in"]) if "sign_in" in found else _NOTHING,
        signed_in_at=_decode_time(signed_in[0]) if signed_in else None,
        authentication_methods=tuple(signed_in[1:]) if signed_in else (),
        method=LoginMethod(method) if method else None,
        crypto_bound=crypto_bound,
    )


_NOTHING = SignInFacts()


def _encode_told(facts: Mapping[str, tuple[Fact, ...]]) -> dict[str, Any]:
    return {
        name: [
            [
                fact.value,
                fact.source,
                _encode_time(fact.observed_at),
                fact.expires_at and _encode_time(fact.expires_at),
                *([fact.detail] if fact.detail else []),
            ]
            for fact in told
        ]
        for name, told in facts.items()
    }


def _decode_told(found: Mapping[str, Any]) -> dict[str, tuple[Fact, ...]]:
    return {
        name: tuple(
            Fact(name, value, source, _decode_time(seen), None if until is None else _decode_time(until), *detail)
            for value, source, seen, until, *detail in told
        )
        for name, told in found.items()
    }


def _encode_sign_in(known: SignInFacts) -> dict[str, Any]:
    found = {name: value for name in _PLAIN if (value := getattr(known, name)) != getattr(_NOTHING, name)}
    for name in _SETS:
        if (value := getattr(known, name)) != getattr(_NOTHING, name):
            found[name] = sorted(value)
    return found


def _decode_sign_in(found: Mapping[str, Any]) -> SignInFacts:
    given: dict[str, Any] = {name: found[name] for name in _PLAIN if name in found}
    given |= {name: frozenset(found[name]) for name in _SETS if name in found}
    return SignInFacts(**given)


def _decode_certificate(row: list[Any], user: list[Any] | None, device: list[Any] | None) -> Certificate:
    return Certificate(
        id=row[0],
        authority=_AUTHORITIES[row[1]],
        serial=0,
        kind=_KINDS[row[2]],
        status=_STATUSES[row[3]],
        not_after=_decode_time(row[4]),
        user_id=user[0] if user else None,
        device_id=device[0] if device else None,
    )


def _encode_time(moment: datetime) -> str:
    return moment.isoformat()


def _decode_time(text: str) -> datetime:
    return datetime.fromisoformat(text)
