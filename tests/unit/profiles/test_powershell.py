"""PowerShell: a value is one string literal whatever it holds, and a profile never becomes part of a script's code."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.certificate_script import build_certificate_script
from evertunnel.profiles.install_script import build_install_script
from evertunnel.profiles.model import EAPTLS, PEAP, Profile
from evertunnel.profiles.powershell import fill_script, find_payload, is_changed, quote_text, read_payload
from evertunnel.profiles.rras import build_rras_script
from evertunnel.profiles.script_texts import CONFIGURE_RRAS, GET_CERTIFICATE, INSTALL_PROFILE
from tests.unit.profiles.powershell_grammar import find_faults, list_commands, list_string_literals
from tests.unit.profiles.strategies import HOSTILE

QUOTES = "'\u2018\u2019\u201a\u201b"
TEMPLATES = {"install": INSTALL_PROFILE, "certificate": GET_CERTIFICATE, "rras": CONFIGURE_RRAS}


def as_certificate_profile(profile: Profile) -> Profile:
    """The profile as one whose user has a certificate of ours."""
    method = profile.authentication
    if not isinstance(method, EAPTLS) and not (isinstance(method, PEAP) and isinstance(method.inner, EAPTLS)):
        method = EAPTLS()
    return replace(profile, tunnel=TunnelKind.USER, entra=None, authentication=method)


def build_certificate(profile: Profile) -> str:
    return build_certificate_script(as_certificate_profile(profile), server_url="https://vpn.example.com/enrol")


BUILDERS: dict[str, Callable[[Profile], str]] = {
    "install": build_install_script,
    "certificate": build_certificate,
    "rras": build_rras_script,
}


def unquote(literal: str) -> str:
    """As PowerShell's tokenizer reads a single-quoted string: two quotes of any kind are the second of them.

    The grammar knows the straight quote only, so that the typographic ones are held by this alone.
    """
    assert literal[0] == literal[-1] == "'"
    value, index, inside = "", 0, literal[1:-1]
    while index < len(inside):
        if inside[index] in QUOTES:
            index += 1
            assert index < len(inside) and inside[index] in QUOTES, "the string ends before its end"
        value += inside[index]
        index += 1
    return value


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))) | st.text(QUOTES + '"$`(){};#@ab\\-', max_size=30))
@example("'; Remove-Item C:\\ #")
@example("\u2019; Remove-Item C:\\ #")
@example("$(whoami)`n")
@example("'\u2018\u2019\u201a\u201b")
def test_a_quoted_value_is_one_literal_with_that_value(text: str) -> None:
    script = f"$a = {quote_text(text)}\n$b = 1\n"
    assert not find_faults(script)
    (literal,) = list_string_literals(script)
    assert unquote(literal) == text
    assert not list_commands(script)


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\0", "\x1b[31m", "\x85"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="control"):
        quote_text(text)


@pytest.mark.parametrize("script", ["$a ?? 1", "$a ? 1 : 2", "a && b", "a || b", "if ($a { }", "$a = 'b"])
def test_the_grammar_finds_what_5_1_would_refuse(script: str) -> None:
    assert find_faults(script)


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_script_is_understood_and_written_for_5_1(kind: str) -> None:
    assert not find_faults(TEMPLATES[kind])
    assert not re.search(r"\?\?|\?\.|-Parallel|-AsHashtable|-SkipCertificateCheck|utf8NoBOM", TEMPLATES[kind])
    # Without a byte order mark 5.1 reads other characters in the machine's code page, where they may be quotes.
    assert TEMPLATES[kind].isascii()


@pytest.mark.parametrize("kind", BUILDERS)
def test_nothing_is_run_that_was_text(kind: str) -> None:
    commands = {name.lower() for name in list_commands(TEMPLATES[kind])}
    assert not commands & {
        "invoke-expression",
        "iex",
        "add-type",
        "invoke-webrequest",
        "start-process",
        "cmd",
        "cmd.exe",
    }
    assert "[scriptblock]::create" not in TEMPLATES[kind].lower()


@pytest.mark.parametrize("kind", BUILDERS)
def test_but_for_the_payload_every_profile_gives_the_same_script(kind: str, thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles:
        script = BUILDERS[kind](profile)
        payload = find_payload(script)
        assert payload is not None and re.fullmatch(r"[A-Za-z0-9+/]+=*", payload)
        assert script == TEMPLATES[kind].replace("@PAYLOAD@", payload)


@pytest.mark.parametrize("kind", BUILDERS)
def test_scripts_of_profiles_are_understood(kind: str, thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles[::20]:
        assert not find_faults(BUILDERS[kind](profile))


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize(
    "name", [text for text in HOSTILE if "/" not in text and "\\" not in text] + ["@PAYLOAD@", "’; calc"]
)
def test_hostile_names_are_data(kind: str, name: str, thousand_profiles: list[Profile]) -> None:
    profile = replace(thousand_profiles[0], name=name)
    script = BUILDERS[kind](profile)
    assert not find_faults(script)
    assert not is_changed(script, TEMPLATES[kind])
    assert name not in script.replace(find_payload(script) or "", "") or name in TEMPLATES[kind]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "$Payload = 'AAAA'",
        "$Payload = ''",
        "$Payload = 'e30='\n$Payload = 'e30='",
        "$Payload = 'W10='",
        "x" * 5_000_000,
    ],
)
def test_another_script_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        read_payload(text, "install-profile")


def test_deep_json_is_refused() -> None:
    deep = base64.b64encode(b"[" * 100_000).decode()
    with pytest.raises(InvalidInputError):
        read_payload(f"$Payload = '{deep}'", "install-profile")


def test_more_than_5_1_reads_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="longer"):
        fill_script("$Payload = '@PAYLOAD@'", {"kind": "x" * 2_100_000})
