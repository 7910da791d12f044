"""Facts go into a record and come out of it, and the same is decided from them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.access.facts import Facts, SignInFacts
from evertunnel.access.own_tunnel import OwnTunnel
from evertunnel.access.recorded_facts import decode_facts, encode_facts
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
from tests.unit.access.samples import NOW, make_facts, say

TEXTS = st.text(max_size=12)
IDS = st.frozensets(st.sampled_from(["g1", "g2", "g3"]))
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
USERS = st.builds(User, st.sampled_from(["u1", "u2"]), TEXTS, st.booleans(), IDS)
DEVICES = st.builds(Device, st.just("d1"), TEXTS, st.booleans(), IDS, st.sampled_from([frozenset(), frozenset({"u1"})]))
FACTS = st.builds(Fact, st.just("compliant"), st.sampled_from(["true", "false"]), TEXTS, TIMES, st.none() | TIMES)
SIGN_INS = st.builds(
    SignInFacts,
    platform=st.none() | TEXTS,
    country=st.none() | st.sampled_from(["", "FR"]),
    sign_in_risk=st.none() | TEXTS,
    roles=st.none() | IDS,
    device=st.dictionaries(TEXTS, st.none() | st.booleans() | TEXTS | st.lists(TEXTS, max_size=2), max_size=3),
    password_changed=st.none() | st.booleans(),
    terms_accepted=IDS,
)
EVERYTHING = st.builds(
    Facts,
    at=TIMES,
    tunnel=st.none() | st.sampled_from(TunnelKind),
    gateway=st.none() | st.builds(Gateway, TEXTS, TEXTS, st.just(""), st.booleans()),
    user=st.none() | USERS,
    device=st.none() | DEVICES,
    certificate=st.none(),
    certificate_usages=st.just(frozenset()),
    user_denial=TEXTS,
    device_denial=TEXTS,
    device_facts=st.dictionaries(TEXTS, st.lists(FACTS, min_size=1, max_size=2).map(tuple), max_size=2),
    user_facts=st.dictionaries(TEXTS, st.lists(FACTS, min_size=1, max_size=2).map(tuple), max_size=2),
    own_tunnel=st.none() | st.builds(OwnTunnel, st.lists(TEXTS, max_size=2).map(tuple)),
    client_address=TEXTS,
    sign_in=SIGN_INS,
    signed_in_at=st.none() | TIMES,
)


@given(EVERYTHING)
def test_everything_that_was_known_is_known_again(facts: Facts) -> None:
    found = json.loads(orjson.dumps(encode_facts(facts)))
    again = decode_facts(found, at=facts.at, client_address=facts.client_address)
    device_facts, user_facts = (
        {name: tuple(replace(fact, name=name) for fact in told) for name, told in known.items()}
        for known in (facts.device_facts, facts.user_facts)
    )
    device = facts.device
    if device is not None and (facts.user is None or facts.user.id not in device.users):
        device = replace(device, users=frozenset())
    assert again == replace(facts, device_facts=device_facts, user_facts=user_facts, device=device)


@pytest.mark.parametrize("kind", [CertificateKind.SHORT_LIVED, CertificateKind.USER])
def test_a_certificate_is_known_again_but_for_its_number(kind: CertificateKind) -> None:
    certificate = Certificate(
        "c1", Authority.ACCESS, 7, kind, CertificateStatus.ON_HOLD, NOW + timedelta(hours=1), "u1", "d1"
    )
    facts = make_facts(say("true"), certificate=certificate, certificate_usages=frozenset({"1.2.3"}))
    again = decode_facts(encode_facts(facts), at=facts.at, client_address=facts.client_address)
    assert again.certificate == replace(certificate, serial=0)
    assert again.certificate_usages == {"1.2.3"}


def test_what_is_usual_takes_little_room() -> None:
    assert len(orjson.dumps(encode_facts(make_facts(say("true"))))) < 500


def test_the_moment_of_the_decision_is_kept_where_the_attempt_began_before() -> None:
    own = OwnTunnel(("192.0.2.7",))
    facts = replace(make_facts(say("true")), method=LoginMethod.PEAP_EAP_MSCHAPV2, crypto_bound=True, own_tunnel=own)
    began = facts.at - timedelta(seconds=9)
    found = encode_facts(facts, attempt_at=began)
    again = decode_facts(found, at=began, client_address="")
    assert (again.at, again.method, again.crypto_bound, again.own_tunnel) == (facts.at, facts.method, True, own)
    assert "at" not in encode_facts(facts, attempt_at=facts.at)
    old = {key: value for key, value in found.items() if key != "at"}
    assert decode_facts(old, at=began, client_address="").at == began, "a record from before it was kept"
