"""MD4 against RFC 1320 A.5."""

import pytest

from evertunnel.protocols.eap.md4 import hash_md4

VECTORS = {
    b"": "31d6cfe0d16ae931b73c59d7e0c089c0",
    b"a": "bde52cb31de33e46245e05fbdbd6fb24",
    b"abc": "a448017aaf21d8525fc10ae87aa6729d",
    b"message digest": "d9130a8164549fe818874806e1c7014b",
    b"abcdefghijklmnopqrstuvwxyz": "d79e1c308aa5bbcdeea8ed63df412da9",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "043f8582f241db351ce627e153e7f0e4",
    b"1234567890" * 8: "e33b4ddc9c38f2199c3e7b164fcc0536",
}


@pytest.mark.parametrize("data", list(VECTORS), ids=len)
def test_the_rfcs_own_numbers(data: bytes) -> None:
    assert hash_md4(data).hex() == VECTORS[data]


@pytest.mark.parametrize("length", [55, 56, 63, 64, 65, 119, 120])
def test_lengths_around_a_block_are_padded_apart(length: int) -> None:
    assert len({hash_md4(b"x" * each) for each in range(length - 1, length + 2)}) == 3
