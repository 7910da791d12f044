"""Codes of an authenticator app: RFC 6238's own vectors, the window, and what is no code."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from evertunnel.totp import build_uri, encode_secret, find_step, make_secret

# RFC 6238 appendix B, SHA-1. It shows eight digits, of which six are the last six.
SECRET = b"12345678901234567890"
VECTORS = {
    59: "94287082",
    1_111_111_109: "07081804",
    1_111_111_111: "14050471",
    1_234_567_890: "89005924",
    2_000_000_000: "69279037",
    20_000_000_000: "65353130",
}
MOMENT = datetime.fromtimestamp(1_234_567_890, UTC)
CODE = VECTORS[1_234_567_890][2:]
STEP = 1_234_567_890 // 30


@pytest.mark.parametrize("seconds", VECTORS)
def test_the_vectors_of_rfc_6238(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert find_step(SECRET, VECTORS[seconds][2:], now=moment) == seconds // 30


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_each_way_is_good_and_its_own_step_is_told(steps: int, good: bool) -> None:
    found = find_step(SECRET, CODE, now=MOMENT + timedelta(seconds=30 * steps))
    assert found == (STEP if good else None)


@pytest.mark.parametrize("second", [0, 29.999999])
def test_a_step_begins_and_ends_at_its_thirty_seconds(second: float) -> None:
    beginning = datetime.fromtimestamp(STEP * 30, UTC)
    assert find_step(SECRET, CODE, now=beginning + timedelta(seconds=30 + second)) == STEP
    assert find_step(SECRET, CODE, now=beginning + timedelta(seconds=60 + second)) is None


@pytest.mark.parametrize("code", [f"{CODE[:3]} {CODE[3:]}", f" {CODE}\n", f"{CODE}\t"])
def test_spaces_are_how_people_write_it(code: str) -> None:
    assert find_step(SECRET, code, now=MOMENT) == STEP


@pytest.mark.parametrize(
    "code",
    ["", "0", CODE[:5], f"{CODE}0", f"0{CODE}", VECTORS[1_234_567_890], f"+{CODE[1:]}", f"-{CODE}", "\ud800",
     "".join(chr(0xFF10 + int(digit)) for digit in CODE), f"{CODE}\x00", "9" * 100_000],
    ids=range(12),
)  # fmt: skip
def test_what_is_not_these_six_digits_is_wrong(code: str) -> None:
    assert find_step(SECRET, code, now=MOMENT) is None


def test_secrets_have_160_bits_and_differ() -> None:
    made = {make_secret() for _ in range(100)}
    assert len(made) == 100 and {len(secret) for secret in made} == {20}


def test_the_address_names_whose_it_is_and_carries_the_secret() -> None:
    uri = urlsplit(build_uri(SECRET, user_name="alice@corp.example", issuer="Ex: ämple & Söhne"))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/Ex: ämple & Söhne:alice@corp.example"
    assert parse_qs(uri.query) == {"secret": [encode_secret(SECRET)], "issuer": ["Ex: ämple & Söhne"]}
    assert encode_secret(SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
