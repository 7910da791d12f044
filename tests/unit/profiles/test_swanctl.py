"""swanctl.conf: values stay values, the same meaning back, and strongSwan's own parser agrees."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.model import Profile, Protocol
from evertunnel.profiles.swanctl import build_swanctl, limit_swanctl, read_swanctl
from evertunnel.profiles.swanctl_conf import Section, decode_conf, encode_conf
from tests.unit.profiles.samples import DEVICE, USER
from tests.unit.profiles.strategies import TEXT

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(lambda name: name != "include")
SECTIONS = st.recursive(
    st.builds(Section, st.dictionaries(NAMES, TEXT.filter(bool), max_size=3)),
    lambda inner: st.builds(
        Section, st.dictionaries(NAMES, TEXT.filter(bool), max_size=3), st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)


def strip_lines(section: Section) -> object:
    return section.settings, {name: strip_lines(inner) for name, inner in section.sections.items()}


@given(SECTIONS)
def test_what_is_written_is_read_back(section: Section) -> None:
    assert strip_lines(decode_conf(encode_conf(section))) == strip_lines(section)


def test_a_profile_is_read_back_by_meaning(thousand_profiles: list[Profile]) -> None:
    written = 0
    for profile in thousand_profiles:
        try:
            text = build_swanctl(profile)
        except InvalidInputError:
            continue
        (reading,) = read_swanctl(text)
        assert reading.profile == limit_swanctl(profile)[0]
        written += 1
    assert written > 100


def test_what_strongswan_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="IKEv2"):
        build_swanctl(replace(USER, protocols=(Protocol.SSTP,)))
    with pytest.raises(InvalidInputError, match="routes"):
        build_swanctl(replace(DEVICE, routes=()))


def test_values_cannot_open_a_section() -> None:
    text = build_swanctl(replace(USER, name='x"}\x7f'.rstrip("\x7f") + " connections { evil {"))
    assert list(decode_conf(text).sections) == ["connections"]
    assert list(decode_conf(text).sections["connections"].sections) == ["evertunnel-user"]


@pytest.mark.parametrize(
    ("text", "word"),
    [("a {", "not closed"), ("}", "line 1"), ("a = \"x", "line 1"), ("\n\nx y", "line 3"),
     ("include /etc/passwd", "include"),
     ("= 3", "line 1"), ("a {" * 100, "too deep")],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line(text: str, word: str) -> None:
    with pytest.raises(InvalidInputError, match=word):
        decode_conf(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(InvalidInputError):
        decode_conf(text)


def test_what_a_profile_cannot_hold_of_a_file_is_told() -> None:
    """Docs say that what is not understood is reported; settings of others went without a word."""
    text = build_swanctl(USER)
    assert [finding.what for finding in read_swanctl(text)[0].findings] == []
    text = text.replace('version = "2"', 'version = "2"\n    mobike = no', 1)
    text = text.replace('proposals = "', 'proposals = "aes128-sha256-modp2048,', 1)
    text = text.replace('id = "vpn.example.com"', 'id = "gate.example.com"', 1)
    text = (
        text.replace("net {", 'net {\n        local_ts = "10.9.0.0/16"', 1)
        + 'secrets {\n  eap-1 {\n    id = "a"\n  }\n}\n'
    )
    (reading,) = read_swanctl(text)
    told = [(finding.rule, finding.path) for finding in reading.findings]
    assert told == [
        ("proposal-others", "connections.evertunnel-user"),
        ("other-identity", "connections.evertunnel-user.remote.id"),
        ("unknown", "connections.evertunnel-user.mobike"),
        ("unknown", "connections.evertunnel-user.children.net.local_ts"),
        ("unknown", "secrets"),
    ]
