"""An attempt as the API tells it: a row of a list, and everything with words for what was recorded as numbers."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import Connection, select

from evertunnel.access.facts import Facts
from evertunnel.access.network_policies import tell_seen
from evertunnel.access.recorded_facts import decode_facts
from evertunnel.diagnosis.ladder import Telling, build_ladder, count_rounds
from evertunnel.diagnosis.reasons import explain
from evertunnel.model import AttemptKind, LoginMethod, Outcome, PolicyResult, Reason
from evertunnel.storage import certificates, sessions, tables
from evertunnel.storage.recorded_results import decode_results
from evertunnel.storage.tables import AnyRow


def describe(row: AnyRow) -> dict[str, Any]:
    """A row of a list."""
    return _describe(row, orjson.loads(row.story))


def describe_whole(connection: Connection, row: AnyRow) -> dict[str, Any]:
    """One, with its ladder, what each policy said and saw, cause and what to do."""
    story = orjson.loads(row.story)
    certificate = certificates.find_certificate(connection, row.certificate_id) if row.certificate_id else None
    session = sessions.find_session(connection, row.session_id) if row.session_id else None
    found = story.get("facts")
    facts = None if found is None else decode_facts(found, at=row.at, client_address=row.client_address)
    policies = _describe_policies(connection, story, facts)
    # How somebody signed in, in this attempt or for the short-lived certificate shown in it.
    methods, signed_in_at = story.get("methods", []), row.at
    if not methods and certificate is not None:
        methods, signed_in_at = certificate.methods.split(), certificate.signed_in_at
    explanation = explain(Reason(row.reason), user=row.user_name, device=row.device_name, gateway=row.gateway_name)
    ladder = build_ladder(
        Telling(
            kind=AttemptKind(row.kind),
            outcome=Outcome(row.outcome),
            reason=row.reason,
            detail=row.detail,
            duration_ms=row.duration_microseconds / 1000,
            story=story,
            policies=[(each["kind"], each["policy"], each["result"], _with_seen(each)) for each in policies],
            gateway=row.gateway_name or "",
            client_address=row.client_address,
            claimed_identity=row.claimed_identity,
            certificate=_tell_certificate(certificate),
            owner=_tell_owner(row, facts),
            session=_tell_session(row, session),
        )
    )
    return _describe(row, story) | {
        "steps": [rung._asdict() for rung in ladder],
        "policies": policies,
        "certificate": _describe_certificate(certificate),
        "authentication_methods": methods,
        "signed_in_at": signed_in_at if methods else None,
        "cause": explanation.cause,
        "fix": explanation.fix,
    }


def _describe(row: AnyRow, story: Mapping[str, Any]) -> dict[str, Any]:
    explanation = explain(Reason(row.reason))
    version, cipher, group = (story.get("login") or {}).get("tls") or (None, None, None)
    return {
        "id": row.id,
        "at": row.at,
        "kind": row.kind,
        "outcome": row.outcome,
        "reason": row.reason,
        "nps_reason_code": explanation.nps_code,
        "nps_reason": explanation.nps_reason,
        "detail": row.detail,
        "gateway": row.gateway_name,
        "user": row.user_name,
        "device": row.device_name,
        "certificate_id": row.certificate_id,
        "session_id": row.session_id,
        "claimed_identity": row.claimed_identity,
        "client_address": row.client_address,
        "duration_ms": row.duration_microseconds / 1000,
        "login_method": _find_login_method(row, story),
        "eap_rounds": count_rounds(story),
        "tls_version": version,
        "tls_cipher": cipher,
        "tls_group": group,
    }


def _find_login_method(row: AnyRow, story: Mapping[str, Any]) -> str | None:
    """How a client of a user tunnel logged in; None where it did not come to that."""
    if row.kind != AttemptKind.USER_TUNNEL.value:
        return None
    if login := story.get("login"):
        return login["method"] or None
    return LoginMethod.EAP_TLS.value if "facts" in story else None


def _describe_policies(connection: Connection, story: Mapping[str, Any], facts: Facts | None) -> list[dict[str, Any]]:
    names = _name_groups(connection, facts)
    return [asdict(each) | {"seen": _tell_seen(each, facts, names)} for each in decode_results(story)]


def _tell_seen(said: PolicyResult, facts: Facts | None, group_names: Mapping[str, str]) -> str:
    """What a network policy that did not apply looked at."""
    if facts is None or (said.kind, said.result) != ("network", "notApplied"):
        return ""
    return tell_seen(said.detail, facts, group_names)


def _with_seen(policy: Mapping[str, Any]) -> str:
    return f"{policy['detail']} (seen: {policy['seen']})" if policy["seen"] else str(policy["detail"])


def _name_groups(connection: Connection, facts: Facts | None) -> dict[str, str]:
    """Those of whom the facts are about, by id; a group that was removed has no name any more."""
    if facts is None:
        return {}
    ids = (facts.user.groups if facts.user else frozenset()) | (facts.device.groups if facts.device else frozenset())
    groups = tables.groups.c
    return {row.id: row.name for row in connection.execute(select(groups.id, groups.name).where(groups.id.in_(ids)))}


def _describe_certificate(row: AnyRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    names = ("id", "authority", "serial", "kind", "status", "not_before", "not_after")
    return {name: getattr(row, name) for name in names}


def _tell_certificate(row: AnyRow | None) -> str:
    if row is None:
        return ""
    return f"{row.kind}, serial {row.serial}, of the {row.authority} authority, until {row.not_after:%F %T} UTC"


def _tell_owner(row: AnyRow, facts: Facts | None) -> str:
    """By the names they had then, where these were kept."""
    user = facts.user.name if facts is not None and facts.user else row.user_name
    device = facts.device.name if facts is not None and facts.device else row.device_name
    if user and device:
        return f"{user} on {device}"
    return user or device or ""


def _tell_session(row: AnyRow, session: AnyRow | None) -> str:
    if not row.session_id:
        return ""
    if session is None:
        return f"{row.session_id}, no longer on record"
    words = [f"{session.id}, {session.state}"]
    if session.up_at:
        words.append(f"up at {session.up_at:%F %T} UTC")
    if session.ended_at:
        words.append(f"ended at {session.ended_at:%F %T} UTC")
    return ", ".join(words) + (f": {session.end_reason}" if session.end_reason else "")
