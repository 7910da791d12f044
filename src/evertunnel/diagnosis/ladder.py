"""The ladder of an attempt: what was recorded as numbers and short words, as sentences in the order of time.

A login writes numbers (servers.logins), for its time is counted; whoever reads a record has time for words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from evertunnel.model import AttemptKind, Outcome

# More rounds than this are small fragments, all alike: the beginning and the end tell enough.
_ROUNDS_AT_MOST, _FIRST_ROUNDS, _LAST_ROUNDS = 16, 6, 4
_NUMBERS_OF_A_ROUND = 3
# Of how many octets our EAP messages are at most without Framed-MTU, or with a large one, and with one below 64.
_USUAL_EAP_BYTES, _LEAST_EAP_BYTES = 1390, 60
_SMALL_ROUND_BYTES = 400
_CUT_AT = 300  # a gateway's steps are no longer (actions.follow_tunnel)

_NETWORK_WORDS = {
    "success": "matches and grants",
    "failure": "matches and denies",
    "notApplied": "does not match",
    "notEnabled": "is switched off",
}
_ACCESS_WORDS = {
    "success": "is satisfied",
    "failure": "is not satisfied",
    "notApplied": "does not apply",
    "notEnabled": "is switched off",
    "unknown": "may apply",
    "reportOnlySuccess": "(report-only) would be satisfied",
    "reportOnlyFailure": "(report-only) would not be satisfied",
    "reportOnlyInterrupted": "(report-only) would ask the person",
    "reportOnlyNotApplied": "(report-only) does not apply",
}


class Rung(NamedTuple):
    """Milliseconds since the attempt began, which part of it this is, and what happened."""

    at_ms: float
    stage: str
    text: str


@dataclass(frozen=True, slots=True)
class Telling:
    """An attempt as it was recorded. `story` is its JSON; what else is known of it comes in words or is empty.

    `policies` are kind, name, result and detail of each. `owner` is whose certificate or password it is, `certificate`
    and `session` describe those that belong to it.
    """

    kind: AttemptKind
    outcome: Outcome
    reason: str
    detail: str
    duration_ms: float
    story: Mapping[str, Any]
    policies: Sequence[tuple[str, str, str, str]]
    gateway: str = ""
    client_address: str = ""
    claimed_identity: str = ""
    certificate: str = ""
    owner: str = ""
    session: str = ""


def build_ladder(telling: Telling) -> list[Rung]:
    """Every rung, the earliest first; what happened at one time stands in the order in which it had to happen."""
    login = telling.story.get("login") or {}
    rounds = _read_rounds(login)
    end = telling.duration_ms
    # What failed was noted when it did; what was proven, in the round in which it was.
    noted = telling.story["steps"]
    proven_in = login.get("proven", 0)
    seen_at = rounds[proven_in - 1][0] if 0 < proven_in <= len(rounds) else noted[0][0] if login and noted else end
    rungs = [*_tell_rounds(telling, login, rounds), *_tell_handshake(telling, login, seen_at)]
    stage = {AttemptKind.USER_TUNNEL: "login", AttemptKind.DEVICE_TUNNEL: "gateway"}.get(telling.kind, "request")
    decided = [Rung(at_ms, "decision", text) for at_ms, text in noted if _is_detail(text, telling)]
    rungs += [Rung(at_ms, stage, text) for at_ms, text in noted if not _is_detail(text, telling)]
    rungs += [Rung(seen_at if proven_in else end, *_tell_policy(*policy)) for policy in telling.policies]
    rungs += decided
    rungs.append(Rung(end, "outcome", _tell_outcome(telling, said=bool(decided), by_radius=bool(login))))
    if telling.session:
        rungs.append(Rung(end, "session", telling.session))
    return sorted(rungs, key=lambda rung: rung.at_ms)


def count_rounds(story: Mapping[str, Any]) -> int | None:
    """How many EAP messages of the client came; None where that was not recorded."""
    login = story.get("login")
    return None if login is None else int(login.get("count") or len(login["rounds"]) // _NUMBERS_OF_A_ROUND)


def _read_rounds(login: Mapping[str, Any]) -> list[tuple[float, int, int]]:
    numbers = iter(login.get("rounds", ()))
    return [(tenths / 10, came, went) for tenths, came, went in zip(numbers, numbers, numbers, strict=False)]


def _tell_rounds(
    telling: Telling, login: Mapping[str, Any], rounds: Sequence[tuple[float, int, int]]
) -> Iterator[Rung]:
    if not rounds:
        return
    mtu = login.get("mtu")
    words = [f"Access-Request from gateway {telling.gateway or 'that is gone'}"]
    if telling.client_address:
        words.append(f"for a client at {telling.client_address}")
    if telling.claimed_identity:
        words.append(f"that calls itself {telling.claimed_identity}")
    if mtu is not None:
        words.append(f"(Framed-MTU {mtu})")
    yield Rung(rounds[0][0], "radius", " ".join(words))
    total = login.get("count", len(rounds))
    for index, (at_ms, came, went) in enumerate(rounds):
        number = index + 1
        if len(rounds) > _ROUNDS_AT_MOST and _FIRST_ROUNDS <= index < len(rounds) - _LAST_ROUNDS:
            if index == _FIRST_ROUNDS:
                left_out = rounds[_FIRST_ROUNDS : len(rounds) - _LAST_ROUNDS]
                largest = max(max(came, went) for _at, came, went in left_out)
                yield Rung(at_ms, "eap", f"{len(left_out)} rounds more like it, of at most {largest} octets")
            continue
        yield Rung(at_ms, "eap", f"round {number}: {_tell_round(came, went)}")
    if total > len(rounds):
        yield Rung(telling.duration_ms, "eap", f"{total - len(rounds)} rounds more")
    largest = max(max(came, went) for _at, came, went in rounds)
    if len(rounds) > _ROUNDS_AT_MOST and largest < _SMALL_ROUND_BYTES:
        small = f"{total} rounds, because no message is larger than {largest} octets: raise the MTU on the way"
        yield Rung(rounds[-1][0], "eap", small)
    elif mtu is not None and mtu - 4 < _USUAL_EAP_BYTES:
        bound = max(mtu - 4, _LEAST_EAP_BYTES)
        yield Rung(rounds[0][0], "eap", f"Framed-MTU bounds our messages to {bound} octets instead of 1390")


def _tell_round(came: int, went: int) -> str:
    from_client = f"{came} octets from the client" if came else "no EAP in it"
    return f"{from_client}, {went} to it" if went else from_client


def _tell_handshake(telling: Telling, login: Mapping[str, Any], at_ms: float) -> Iterator[Rung]:
    if tls := login.get("tls"):
        version, cipher, group = tls
        yield Rung(at_ms, "tls", f"{version}, cipher {cipher}" + (f", key exchange {group}" if group else ""))
        if login.get("resumed"):
            yield Rung(at_ms, "tls", "the client resumed a session, in which it had proven the key of its certificate")
    if shown := login.get("shown"):
        text = f"subject {shown['subject']}, issuer {shown['issuer']}, serial {shown['serial']}, until "
        proof = "its key proven, not on record" if "proven" in login else "shown"
        yield Rung(at_ms, "certificate", f"{proof}: {text}{_short(shown['not_after'])}")
    if telling.certificate:
        proof = "shown, its key not proven: " if login and "proven" not in login else ""
        yield Rung(at_ms, "certificate", proof + telling.certificate)
    if telling.owner:
        yield Rung(at_ms, "owner", telling.owner)


def _tell_policy(kind: str, name: str, result: str, detail: str) -> tuple[str, str]:
    words = (_NETWORK_WORDS if kind == "network" else _ACCESS_WORDS).get(result, result)
    stage = "network policy" if kind == "network" else "conditional access"
    return stage, f"{name} {words}" + (f": {detail}" if detail else "")


def _is_detail(text: str, telling: Telling) -> bool:
    """Whether a step is what decided, which the record has as its detail, too; steps may be cut."""
    return bool(text) and text[:_CUT_AT] == telling.detail[:_CUT_AT]


def _tell_outcome(telling: Telling, *, said: bool, by_radius: bool) -> str:
    granted = telling.outcome is Outcome.GRANTED
    words = telling.outcome.value if granted else f"{telling.outcome.value}, {telling.reason}"
    if by_radius and telling.outcome is not Outcome.FAILED:
        words = f"{'Access-Accept' if granted else 'Access-Reject'}: {words}"
    return words if said or not telling.detail else f"{words}: {telling.detail}"


def _short(moment: str) -> str:
    return f"{moment[:19].replace('T', ' ')} UTC"
