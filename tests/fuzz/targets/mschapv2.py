"""EAP-MSCHAPv2 in pieces: a password counts as proven only by a response that it makes, and a new one as well.

An input is an octet of flags and the data of responses, each after two octets of length. Challenges are the same in
each run, so that what real clients said is right again.
"""

import hashlib
import struct

from evertunnel.actions.nt_hashes import find_objection
from evertunnel.protocols.eap import mschapv2_keys as keys
from evertunnel.protocols.eap.methods.mschapv2 import RETRIES, EAPMSCHAPv2, OpCode, State, StoredPassword
from evertunnel.protocols.eap.methods.progress import Ask, Failed, Finished, PasswordPeer, Proven
from evertunnel.protocols.eap.packet import EAPError
from tests.fuzz.target import Target
from tests.peers.peap import InnerMSCHAPv2

NAME, PASSWORD, _NEW_PASSWORD = "dave", "dave's own password", "another good password"
_NT_HASH = keys.hash_password_nt(PASSWORD)
_EXPIRED, _REFUSED = 1, 2
# Within a response and within a change of password: the peer's challenge and what it made of both.
_RESPONSE = struct.Struct("!5x16s8x24sx")
_CHANGE = struct.Struct("!4x516x16x16s8x24s2x")


class Account:
    """Dave's, for one run: its challenges come in the same order each time."""

    def __init__(self, *, expired: bool = False) -> None:
        self.expired = expired
        self.looked = 0
        self._name = b""
        self._challenge = b""
        self._issued = 0

    def new_method(self) -> EAPMSCHAPv2:
        return EAPMSCHAPv2(self._find, find_objection, self._new_challenge)

    def verify(self, data: bytes, peer: object) -> bytes:
        """What proved it does prove it. Returns the keys of the login."""
        assert isinstance(peer, PasswordPeer) and peer.user_id == NAME
        assert (peer.new_password is not None) == (data[0] == OpCode.CHANGE_PASSWORD) == self.expired
        nt_hash, layout = _NT_HASH, _RESPONSE
        if peer.new_password is not None:
            nt_hash, layout = keys.hash_password_nt(peer.new_password), _CHANGE
            assert nt_hash != _NT_HASH and not find_objection(peer.new_password)
        peer_challenge, response = layout.unpack_from(data)
        digest = hashlib.sha1(peer_challenge + self._challenge + self._name).digest()[:8]
        assert response == keys.build_nt_response(digest, nt_hash), "a password counts as proven that was not"
        return keys.derive_master_session_key(nt_hash, response)

    def _find(self, name: str) -> StoredPassword:
        self.looked += 1
        assert self.looked <= 1 + RETRIES, "a password was looked at once more than is allowed"
        self._name = name.rpartition("\\")[2].encode("utf-8", "replace")
        known = self._name.decode().casefold() == NAME
        return StoredPassword(NAME, _NT_HASH, self.expired) if known else StoredPassword("", bytes(16))

    def _new_challenge(self) -> bytes:
        self._issued += 1
        self._challenge = hashlib.sha256(bytes((self._issued,))).digest()[:16]
        return self._challenge


def build() -> Target:
    """Whole logins: right, wrong, wrong at first, of nobody; an expired password that is changed or is not."""
    seeds = []
    for flags in (0, _EXPIRED, _REFUSED):
        for name, tries in (
            (NAME, [PASSWORD]), ("CORP\\Dave", [PASSWORD]), (NAME, ["wrong", PASSWORD]), (NAME, ["wrong"] * 4),
            ("nobody", [PASSWORD]),
        ):  # fmt: skip
            for new in ("", _NEW_PASSWORD, PASSWORD) if flags else ("",):
                client = InnerMSCHAPv2(name, tries[0], tries=tries[1:], new_password=new)
                seeds.append(bytes((flags,)) + _record(flags, client))
    # A password of nothing: as many zero octets as there is nothing to know.
    client = InnerMSCHAPv2("nobody", "")
    seeds.append(b"\0" + _record(0, client))
    # More tries than there are.
    client = InnerMSCHAPv2(NAME, "wrong", tries=["wrong"] * RETRIES)
    seeds.append(b"\0" + pack(split(_record(0, client))[:1] * (RETRIES + 2)))
    words = [b"\2\1\0\x3a\x31", b"\7\1\2\x4a", b"\3", b"\4", NAME.encode(), b"\\"]
    return Target(check, seeds, words=words)


def check(data: bytes) -> None:
    """Say it all."""
    if not data:
        return
    account = Account(expired=bool(data[0] & _EXPIRED))
    method = account.new_method()
    assert method.start().data[0] == OpCode.CHALLENGE
    key, refused = b"", False
    for piece in split(data[1:]):
        try:
            progress = method.receive(piece)
        except EAPError as error:
            assert len(str(error)) < 300
            return
        if isinstance(progress, Proven):
            key = account.verify(piece, progress.peer)
            refused = bool(data[0] & _REFUSED)
            progress = method.refuse("no") if refused else method.accept()
        match progress:
            case Ask(asked):
                assert struct.unpack_from("!xxH", asked)[0] == len(asked) < 300
            case Finished(_, master_session_key):
                assert key and not refused and master_session_key == key
            case Failed(_, detail):
                assert method.failed == progress and len(detail) < 300
        if method.state is State.FINISHED:
            assert isinstance(progress, Finished | Failed)
            return


def split(data: bytes) -> list[bytes]:
    """Pieces, each after two octets of length."""
    pieces = []
    while len(data) >= 2:
        (length,) = struct.unpack("!H", data[:2])
        pieces.append(data[2 : 2 + length])
        data = data[2 + length :]
    return pieces


def pack(pieces: list[bytes]) -> bytes:
    """The same the other way round."""
    return b"".join(struct.pack("!H", len(piece)) + piece for piece in pieces)


def _record(flags: int, client: InnerMSCHAPv2) -> bytes:
    method, said = Account(expired=bool(flags & _EXPIRED)).new_method(), []
    progress: object = method.start()
    while isinstance(progress, Ask):
        said.append(client.answer(progress.data))
        progress = method.receive(said[-1])
        if isinstance(progress, Proven):
            progress = method.refuse("no") if flags & _REFUSED else method.accept()
    return pack(said)
