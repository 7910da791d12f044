"""What a device signs over a request."""

from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.enrolment import build_signed_text

REQUESTS = st.tuples(st.binary(max_size=8), st.text(max_size=8), st.binary(max_size=8))


def build(request: tuple[bytes, str, bytes]) -> bytes:
    nonce, user_name, csr_der = request
    return build_signed_text(nonce=nonce, user_name=user_name, csr_der=csr_der)


@given(REQUESTS, REQUESTS)
def test_two_requests_are_signed_alike_only_when_they_are_the_same(
    one: tuple[bytes, str, bytes], other: tuple[bytes, str, bytes]
) -> None:
    assert (build(one) == build(other)) is (one == other)


def test_octets_cannot_move_from_one_part_to_the_next() -> None:
    assert build((b"nonce", "alice", b"")) != build((b"noncea", "lice", b""))
    assert build((b"", "alice", b"")) != build((b"alice", "", b""))


def test_it_says_what_it_is_for() -> None:
    assert b"evertunnel short-lived certificate request 1" in build((b"", "", b""))
