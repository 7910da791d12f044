"""A client's side of PEAP and EAP-MSCHAPv2, honest unless told otherwise, with arithmetic of its own."""

import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Sequence

from cryptography import x509
from OpenSSL import SSL, crypto

from evertunnel.protocols.eap import mschapv2_keys  # held to the RFCs' own numbers elsewhere
from tests.peers.certificates import Credential
from tests.peers.eap_tls import IDENTITY, NAK, TLS, build_response, cut

PEAP, MSCHAPV2, EXTENSIONS = 25, 26, 33
CHALLENGE, RESPONSE, SUCCESS, FAILURE, CHANGE = 1, 2, 3, 4, 7
LENGTH, MORE = 0x80, 0x40
# What a client is about to say inside its tunnel, and what it says instead: None is nothing at all.
Twist = Callable[[str, bytes], bytes | None]


def say_it(_what: str, plain: bytes) -> bytes:
    """An honest client."""
    return plain


class TLSEnd:
    """The client's half of TLS; without a credential it shows no certificate."""

    def __init__(self, root: x509.Certificate, credential: Credential | None, *, version: int) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(root))
        context.set_verify(SSL.VERIFY_PEER, lambda *arguments: bool(arguments[-1]))
        if credential is not None:
            context.use_certificate(credential.certificate)
            for each in credential.chain:
                context.add_extra_chain_cert(each)
            context.use_privatekey(credential.key)
        self.secrets: list[bytes] = []
        context.set_keylog_callback(lambda _connection, line: self.secrets.append(line.split()[2]))
        self._context = context
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.done = False
        self.alert = ""

    def resume(self, first: "TLSEnd") -> None:
        """Offer the session of another connection that is over."""
        session = first.connection.get_session()
        assert session is not None
        self.connection = SSL.Connection(first._context, None)
        self.connection.set_connect_state()
        self.connection.set_session(session)

    def take(self, message: bytes) -> bytes:
        """Feed what came; what was said inside, if anything was."""
        if message:
            self.connection.bio_write(message)
        plain = b""
        try:
            if not self.done:
                self.connection.do_handshake()
                self.done = True
            while True:
                plain += self.connection.recv(20_000)
        except SSL.WantReadError:
            return plain
        except SSL.Error as error:
            self.alert = str(error)
            return plain

    def send(self) -> bytes:
        """What is to go out."""
        out = b""
        try:
            while True:
                out += self.connection.bio_read(20_000)
        except SSL.WantReadError:
            return out

    def derive(self, eap_type: int) -> bytes:
        """The tunnel's key material (RFC 5216 2.3, RFC 9427 2.1)."""
        if self.connection.get_protocol_version_name() == "TLSv1.2":
            return self.connection.export_keying_material(b"client EAP encryption", 128, None)
        return self.connection.export_keying_material(b"EXPORTER_EAP_TLS_Key_Material", 128, bytes((eap_type,)))


class Fragments:
    """Puts together what comes and cuts what goes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._incoming = b""
        self._outgoing: list[bytes] = []

    def take(self, data: bytes, answer: Callable[[bytes], bytes]) -> bytes:
        """The data of one response to the data of one request."""
        flags, body = data[0], data[1:]
        if self._outgoing:
            assert body == b"", "our fragment was not acknowledged"
            return self._outgoing.pop(0)
        self._incoming += body[4:] if flags & LENGTH else body
        if flags & MORE:
            return b"\0"
        message, self._incoming = self._incoming, b""
        self._outgoing = cut(answer(message), self.size)
        return self._outgoing.pop(0)


class InnerTLS:
    """EAP-TLS inside."""

    type = TLS

    def __init__(self, root: x509.Certificate, credential: Credential | None, *, version: int = SSL.TLS1_3_VERSION):
        self.tls = TLSEnd(root, credential, version=version)
        self._fragments = Fragments(900)

    def answer(self, data: bytes) -> bytes:
        return self._fragments.take(data, self._answer)

    def _answer(self, message: bytes) -> bytes:
        self.tls.take(message)
        return self.tls.send()

    @property
    def key(self) -> bytes:
        return self.tls.derive(TLS)[:32]


class InnerMSCHAPv2:
    """EAP-MSCHAPv2, inside or alone. `failures` has the texts of the server's refusals."""

    type = MSCHAPV2

    def __init__(
        self, name: str, password: str, *, new_password: str = "", tries: Sequence[str] = (), careless: bool = False
    ) -> None:
        """One that is careless does not look at the server's proof."""
        self.name, self.new_password, self.careless = name, new_password, careless
        self.passwords = [password, *tries]
        self.failures: list[str] = []
        self.key = b""
        self.last_response = b""
        self._challenge = b""
        self._expected = ""

    def answer(self, data: bytes) -> bytes:
        operation, value = data[0], data[4:]
        if operation == CHALLENGE:
            self._challenge = value[1 : 1 + value[0]]
            return self._respond(data[1])
        if operation == SUCCESS:
            proven = value.decode().startswith(self._expected)
            assert proven or self.careless, "the server does not know the password"
            return bytes((SUCCESS,))
        text = value.decode()
        self.failures.append(text)
        words = dict(word.split("=", 1) for word in text.split(" ") if "=" in word)
        self._challenge = bytes.fromhex(words["C"])
        if words["E"] == "648" and self.new_password:
            return self._change(data[1] + 1)
        if words["R"] == "1" and len(self.passwords) > 1:
            self.passwords.pop(0)
            return self._respond(data[1] + 1)
        return bytes((FAILURE,))

    def _prove(self, password: str) -> tuple[bytes, bytes]:
        peer_challenge = os.urandom(16)
        name = self.name.rpartition("\\")[2].encode()
        digest = hashlib.sha1(peer_challenge + self._challenge + name).digest()[:8]
        nt_hash = mschapv2_keys.hash_password_nt(password)
        response = mschapv2_keys.build_nt_response(digest, nt_hash)
        self._expected = mschapv2_keys.build_authenticator_response(nt_hash, response, digest)
        self.key = mschapv2_keys.derive_master_session_key(nt_hash, response)
        return peer_challenge, response

    def _respond(self, number: int) -> bytes:
        peer_challenge, response = self._prove(self.passwords[0])
        value = bytes((49,)) + peer_challenge + bytes(8) + response + b"\0" + self.name.encode()
        self.last_response = struct.pack("!BBH", RESPONSE, number, 4 + len(value)) + value
        return self.last_response

    def _change(self, number: int) -> bytes:
        peer_challenge, response = self._prove(self.new_password)
        old = mschapv2_keys.hash_password_nt(self.passwords[0])
        text = self.new_password.encode("utf-16-le")
        clear = os.urandom(512 - len(text)) + text + struct.pack("<I", len(text))
        encrypted_hash = mschapv2_keys.encrypt_nt_hash(old, mschapv2_keys.hash_password_nt(self.new_password))
        value = _encrypt_rc4(old, clear) + encrypted_hash + peer_challenge + bytes(8) + response + bytes(2)
        return struct.pack("!BBH", CHANGE, number, 4 + len(value)) + value


Inner = InnerTLS | InnerMSCHAPv2


class PEAPClient:
    """One login. `heard` is what the server said inside, `keys` what both sides should have at the end."""

    def __init__(
        self,
        root: x509.Certificate,
        inner: Inner,
        *,
        identity: str,
        outer_identity: str = "anonymous@corp.example",
        version: int = SSL.TLS1_3_VERSION,
        fragment_bytes: int = 1_000,
        binds: bool = True,
        twist: Twist = say_it,
        outer_flags: int = 0,
    ) -> None:
        self.inner, self.identity, self.outer_identity = inner, identity, outer_identity
        self.tls = TLSEnd(root, None, version=version)
        self._fragments = Fragments(fragment_bytes)
        self.twist = twist
        self._binds, self._outer_flags = binds, outer_flags
        self.heard: list[bytes] = []
        self.result = 0
        self.keys = b""
        self.binding = b""

    def answer_identity(self, identifier: int = 0) -> bytes:
        return build_response(identifier, IDENTITY, self.outer_identity.encode())

    def answer(self, request: bytes) -> bytes:
        code, identifier, length = struct.unpack_from("!BBH", request)
        assert (code, length) == (1, len(request)), f"not an EAP-Request: {request.hex()}"
        if request[4] == IDENTITY:
            return self.answer_identity(identifier)
        if request[4] != PEAP:
            return build_response(identifier, NAK, bytes((PEAP,)))
        data = self._fragments.take(request[5:], self._answer)
        return build_response(identifier, PEAP, bytes((data[0] | self._outer_flags,)) + data[1:])

    def _answer(self, message: bytes) -> bytes:
        plain = self.tls.take(message)
        if plain:
            self.heard.append(plain)
            said = self._answer_inner(plain)
            if said is not None:
                self.tls.connection.sendall(said)
        return self.tls.send()

    def _answer_inner(self, plain: bytes) -> bytes | None:
        if len(plain) > 4 and plain[4] == EXTENSIONS and plain[0] == 1:
            return self.twist("result", self._answer_result(plain))
        if plain[0] == IDENTITY:
            return self.twist("identity", bytes((IDENTITY,)) + self.identity.encode())
        if plain[0] != self.inner.type:
            return self.twist("nak", bytes((NAK, self.inner.type)))
        return self.twist("method", bytes((plain[0],)) + self.inner.answer(plain[1:]))

    def _answer_result(self, plain: bytes) -> bytes:
        values = plain[5:]
        self.result = struct.unpack_from("!H", values, 4)[0]
        answer = values[:6]
        if self.result == 1:
            # As the server has it: its own binding has to hold first.
            material = self.tls.derive(PEAP)
            intermediate, mac_key = self.derive(material)
            theirs = values[6:66]
            careless = isinstance(self.inner, InnerMSCHAPv2) and self.inner.careless
            assert careless or theirs[40:] == self.sign(mac_key, theirs[:40]), "the server's binding is wrong"
            self.keys = (
                expand(intermediate, b"Session Key Generating Function", b"\0", 64) if self._binds else material[:64]
            )
            if self._binds:
                mine = theirs[:4] + bytes((0, 0, 0, 1)) + os.urandom(32)
                self.binding = mine + self.sign(mac_key, mine)
                answer += self.binding
        return struct.pack("!BBHB", 2, plain[1], 5 + len(answer), EXTENSIONS) + answer

    def derive(self, material: bytes) -> tuple[bytes, bytes]:
        """Keys of the session and of the MAC."""
        keys = expand(material[:40], b"Inner Methods Compound Keys", self.inner.key.ljust(32, b"\0"), 60)
        return keys[:40], keys[40:]

    @staticmethod
    def sign(mac_key: bytes, binding: bytes) -> bytes:
        """The MAC of a binding that ends where it begins."""
        return hmac.digest(mac_key, binding + bytes(20) + b"\x19", "sha1")


class MSCHAPv2Client:
    """EAP-MSCHAPv2 alone."""

    def __init__(self, inner: InnerMSCHAPv2, *, identity: str) -> None:
        self.inner, self.identity = inner, identity

    def answer_identity(self, identifier: int = 0) -> bytes:
        return build_response(identifier, IDENTITY, self.identity.encode())

    def answer(self, request: bytes) -> bytes:
        identifier, eap_type = request[1], request[4]
        if eap_type == IDENTITY:
            return self.answer_identity(identifier)
        if eap_type != MSCHAPV2:
            return build_response(identifier, NAK, bytes((MSCHAPV2,)))
        return build_response(identifier, MSCHAPV2, self.inner.answer(request[5:]))


def expand(key: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """PRF+ ([MS-PEAP] 3.1.5.5.2.2)."""
    blocks: list[bytes] = []
    for number in range(1, 2 + length // 20):
        last = blocks[-1] if blocks else b""
        blocks.append(hmac.digest(key, last + label + seed + bytes((number, 0, 0)), "sha1"))
    return b"".join(blocks)[:length]


def _encrypt_rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 0xFF
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for octet in data:
        i = (i + 1) & 0xFF
        j = (j + state[i]) & 0xFF
        state[i], state[j] = state[j], state[i]
        out.append(octet ^ state[(state[i] + state[j]) & 0xFF])
    return bytes(out)
