"""Numbers to words: rounds, what was agreed on, policies; a record of any age is told."""

from typing import Any

import pytest

from evertunnel.diagnosis.ladder import Rung, Telling, build_ladder, count_rounds
from evertunnel.model import AttemptKind, Outcome

NETWORK = ("network", "Staff", "notApplied", "users: the user is not one of those named")
ACCESS = ("conditional access", "MFA", "reportOnlyFailure", "needs mfa")


def tell(story: dict[str, Any] | None = None, **columns: Any) -> list[Rung]:
    values: dict[str, Any] = {
        "kind": AttemptKind.USER_TUNNEL, "outcome": Outcome.GRANTED, "reason": "granted", "detail": "", "policies": (),
        "duration_ms": 9.0, "story": {"steps": [], "policies": []} | (story or {}),
    }  # fmt: skip
    return build_ladder(Telling(**values | columns))


def test_what_happened_in_one_round_stands_in_the_order_it_had_to_happen_in() -> None:
    login = {"method": "eap-tls", "rounds": [0, 30, 6, 40, 180, 900, 85, 700, 60, 90, 6, 0], "proven": 3,
             "tls": ["TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519"]}  # fmt: skip
    ladder = tell({"login": login}, policies=[NETWORK, ACCESS], certificate="user", owner="alice", session="s1, up")
    assert ladder == [
        (0.0, "radius", "Access-Request from gateway that is gone"),
        (0.0, "eap", "round 1: 30 octets from the client, 6 to it"),
        (4.0, "eap", "round 2: 180 octets from the client, 900 to it"),
        (8.5, "eap", "round 3: 700 octets from the client, 60 to it"),
        (8.5, "tls", "TLSv1.3, cipher TLS_AES_256_GCM_SHA384, key exchange x25519"),
        (8.5, "certificate", "user"),
        (8.5, "owner", "alice"),
        (8.5, "network policy", "Staff does not match: users: the user is not one of those named"),
        (8.5, "conditional access", "MFA (report-only) would not be satisfied: needs mfa"),
        (9.0, "eap", "round 4: 6 octets from the client"),
        (9.0, "outcome", "Access-Accept: granted"),
        (9.0, "session", "s1, up"),
    ]


def test_the_story_of_a_gateway_comes_before_what_we_say_to_it() -> None:
    story = {"steps": [[0.0, "IKE_SA_INIT"], [9.0, "the device is denied"]]}
    ladder = tell(story, kind=AttemptKind.DEVICE_TUNNEL, outcome=Outcome.REFUSED, reason="device_denied",
                  detail="the device is denied", policies=[NETWORK])  # fmt: skip
    assert [rung.stage for rung in ladder] == ["gateway", "network policy", "decision", "outcome"]
    assert ladder[-1].text == "refused, device_denied"


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (16, 16), (17, 11), (100, 11)])
def test_many_rounds_are_told_in_a_few_lines(count: int, shown: int) -> None:
    rounds = [number for index in range(count) for number in (index, 900, 900)]
    ladder = tell({"login": {"method": "eap-tls", "rounds": rounds}}, duration_ms=100.0)
    assert sum(rung.stage == "eap" for rung in ladder) == shown


def test_rounds_that_were_only_counted_are_told() -> None:
    story = {"login": {"method": "eap-tls", "rounds": [0, 30, 6] * 128, "count": 300}}
    assert any(rung.text == "172 rounds more" for rung in tell(story))
    assert count_rounds(story) == 300


def test_a_gateway_without_eap_and_one_that_bounds_us() -> None:
    assert tell({"login": {"method": "", "rounds": [0, 0, 0]}})[1].text == "round 1: no EAP in it"
    texts = [rung.text for rung in tell({"login": {"method": "", "rounds": [0, 9, 6], "mtu": 1000}})]
    assert "Framed-MTU bounds our messages to 996 octets instead of 1390" in texts
    assert count_rounds({}) is None


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("kind", list(AttemptKind))
def test_an_old_record_is_told(kind: AttemptKind, outcome: Outcome) -> None:
    (rung,) = tell(kind=kind, outcome=outcome, reason="x", detail="because")
    assert rung.stage == "outcome"
    assert rung.text.endswith(": because")
