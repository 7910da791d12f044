"""What a peer says inside its tunnel once it is decrypted: headers left on or off, inner methods, results, bindings.

An input begins with what it is: values of a result as they are, or an octet of flags and the data of responses, each
after two octets of length, for a tunnel that encrypts nothing. Its keys and all challenges are the same in each run.
"""

import struct
from functools import partial

from evertunnel.protocols.eap import peap_keys
from evertunnel.protocols.eap.conversation import Conversation, MethodRefusedError, TooManyRoundsError
from evertunnel.protocols.eap.methods.peap import PEAP, bound_inner_packet
from evertunnel.protocols.eap.methods.progress import Ask, Failed, Finished, Method, Progress, Proven
from evertunnel.protocols.eap.methods.tls import EAPTLS
from evertunnel.protocols.eap.packet import EAPError, Type, encode_request
from evertunnel.protocols.eap.peap_results import FAILURE, SUCCESS, build_result, decode_results
from evertunnel.protocols.eap.tls_server import TLSParameters
from evertunnel.protocols.eap.tls_tunnel import Tunnel, TunnelContext
from tests.fuzz.target import Target
from tests.fuzz.targets.mschapv2 import NAME, PASSWORD, Account, pack, split
from tests.peers.certificates import build_authority, build_leaf
from tests.peers.peap import EXTENSIONS, Inner, InnerMSCHAPv2, InnerTLS, PEAPClient, expand, say_it
from tests.unit.protocols.eap.conftest import House

_RESULTS, _INSIDE = range(2)
_PASSWORDS_ONLY, _UNBOUND, _REFUSED, _NARROW = 1, 2, 4, 8
_TLS_13 = "TLSv1.3"
_TUNNEL_KEY = bytes(range(128))
_MAC_KEY = bytes(range(20))
_CLIENT_HELLO = b"\x16\x03\x01\0\1\1"
_BINDING_BYTES, _MAC_BYTES = 60, 20


def build() -> Target:
    """Results of every kind; whole logins with a password and with a certificate inside, good and bad."""
    house = House()
    binding = peap_keys.build_binding(_MAC_KEY, bytes(32), subtype=peap_keys.BINDING_RESPONSE)
    result, unknown = build_result(success=True), b"\0\x09\0\2ab"
    seeds = [
        bytes((_RESULTS,)) + values
        for values in (
            result, build_result(success=False), result + binding, binding + result, result + unknown, unknown + result,
            b"\x80" + unknown[1:] + result, result + result, binding + binding + result, binding[:-1] + result, b"",
        )
    ]  # fmt: skip
    for flags in (0, _PASSWORDS_ONLY, _UNBOUND, _REFUSED, _NARROW):
        for binds in (True, False):
            for inner in _list_inner(house):
                twist = say_it if binds else _leave_header
                client = PEAPClient(house.root.certificate, inner, identity=NAME, binds=binds, twist=twist)
                seeds.append(bytes((_INSIDE, flags)) + _record(house, flags, client))
    words = [b"\x1a\2", b"\x1a\3", b"\2\1\0\x0b\x21", b"\x80\3\0\2\0\1", b"\0\x0c\0\x38\0\0\0\1", b"\3\x1a", b"\1dave"]
    return Target(partial(check, house), [seed for seed in seeds if len(seed) <= 8192], largest_bytes=8192, words=words)


def check(house: House, data: bytes) -> None:
    """Read by the first octet."""
    if len(data) < 2:
        return
    if data[0] % 2 == _RESULTS:
        _check_results(data[1:])
    else:
        _check_inside(house, data[1], split(data[2:]))


def _check_results(values: bytes) -> None:
    try:
        results = decode_results(values)
    except EAPError as error:
        assert len(str(error)) < 200
        return
    assert results.result in (SUCCESS, FAILURE)
    binding = results.binding or b""
    assert binding in values and build_result(success=results.result == SUCCESS)[2:] in values
    assert decode_results(build_result(success=results.result == SUCCESS) + binding) == results
    if peap_keys.is_binding_right(_MAC_KEY, binding):
        assert _is_signed(_MAC_KEY, binding), "a binding counts as right that is not"


def _check_inside(house: House, flags: int, pieces: list[bytes]) -> None:
    """A login that ends well proved its password, was not refused, and was bound where that is demanded."""
    run = _Run(house, flags)
    run.method.start()
    inner_key = b""
    for piece in pieces:
        try:
            progress = run.method.receive(piece)
        except (EAPError, MethodRefusedError, TooManyRoundsError) as error:
            assert len(str(error)) < 300
            return
        if isinstance(progress, Proven):
            # A recorded signature was made over another server's random: no certificate can be proven here.
            inner_key = run.account.verify(_remove_header(run.tunnel.plain), progress.peer)
            run.decide()
        elif isinstance(progress, Finished):
            assert inner_key and not flags & _REFUSED
            _verify_end(progress, inner_key, run.tunnel.plain, unbound=bool(flags & _UNBOUND))
            return
        elif isinstance(progress, Failed):
            assert run.method.failed == progress and len(progress.detail) < 300
            return


def _verify_end(finished: Finished, inner_key: bytes, plain: bytes, *, unbound: bool) -> None:
    results = decode_results(plain[5:])
    assert results.result == SUCCESS and plain[4] == EXTENSIONS
    assert finished.bound == (results.binding is not None)
    if results.binding is None:
        assert unbound, "an unbound login where binding is demanded"
        assert finished.master_session_key == _TUNNEL_KEY[:64]
        return
    keys = expand(_TUNNEL_KEY[:40], b"Inner Methods Compound Keys", inner_key.ljust(32, b"\0"), 60)
    assert _is_signed(keys[40:], results.binding), "a binding counts as right that is not"
    assert finished.master_session_key == expand(keys[:40], b"Session Key Generating Function", b"\0", 64)


def _remove_header(plain: bytes) -> bytes:
    """The data of an inner response, whose header may stand before it."""
    code, _, length = struct.unpack_from("!BBH", plain.ljust(4, b"\0"))
    return plain[5:] if (code, length) == (2, len(plain)) else plain[1:]


def _is_signed(mac_key: bytes, binding: bytes) -> bool:
    signed, mac = binding[:-_MAC_BYTES], binding[-_MAC_BYTES:]
    right = PEAPClient.sign(mac_key, signed) == mac
    return right and len(binding) == _BINDING_BYTES and signed[:8] == b"\0\x0c\0\x38\0\0\0\1"


class _OpenTunnel(Tunnel):
    """Up at once, and what goes through it stays as it is. `plain` is what was said last."""

    __slots__ = ("plain",)

    def __init__(self) -> None:
        self.version = ""
        self.plain = b""

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002
        self.version = _TLS_13
        return b""

    def find_parameters(self) -> TLSParameters:
        return _TLS_13, "none", "none"

    def encrypt(self, data: bytes) -> bytes:
        return data

    def decrypt(self, data: bytes) -> bytes:
        self.plain = data
        return data

    def derive_key(self, eap_type: int) -> bytes:  # noqa: ARG002
        return _TUNNEL_KEY[:64]


class _OpenContext(TunnelContext):
    def __init__(self, tunnel: _OpenTunnel) -> None:
        self._tunnel = tunnel

    def new_tunnel(self) -> Tunnel:
        return self._tunnel


class _Run:
    """The server's side of one login."""

    def __init__(self, house: House, flags: int) -> None:
        self._house, self._flags = house, flags
        self._packet_bytes = 100 if flags & _NARROW else 2_000
        self.account, self.tunnel = Account(), _OpenTunnel()
        types = (Type.MSCHAPV2,) if flags & _PASSWORDS_ONLY else (Type.TLS, Type.MSCHAPV2)
        self.method = PEAP(
            _OpenContext(self.tunnel), Conversation(self._begin, types), identifier=1,
            packet_bytes=self._packet_bytes, new_nonce=bytes,
        )  # fmt: skip

    def decide(self) -> Progress:
        if self._flags & _REFUSED:
            return self.method.refuse("no")
        return self.method.accept(binding_required=not self._flags & _UNBOUND)

    def _begin(self, eap_type: int, _identifier: int) -> Method:
        if eap_type == Type.MSCHAPV2:
            return self.account.new_method()
        return EAPTLS(self._house.context, packet_bytes=bound_inner_packet(self._packet_bytes))


class _OpenEnd:
    """The client's half of the tunnel that encrypts nothing."""

    def __init__(self) -> None:
        self.connection = self
        self._out = _CLIENT_HELLO

    def take(self, message: bytes) -> bytes:
        return message

    def sendall(self, plain: bytes) -> None:
        self._out += plain

    def send(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def derive(self, _eap_type: int) -> bytes:
        return _TUNNEL_KEY


def _list_inner(house: House) -> list[Inner]:
    foreign = build_leaf(build_authority("Elsewhere"), "alice@corp.example")
    return [
        InnerMSCHAPv2(NAME, PASSWORD),
        InnerMSCHAPv2(NAME, "wrong", tries=[PASSWORD]),
        InnerMSCHAPv2(NAME, "wrong", tries=["wrong"] * 3),
        InnerTLS(house.root.certificate, house.alice),
        InnerTLS(house.root.certificate, foreign),
    ]


def _leave_header(what: str, plain: bytes) -> bytes:
    return plain if what == "result" else struct.pack("!BBH", 2, 1, 4 + len(plain)) + plain


def _record(house: House, flags: int, client: PEAPClient) -> bytes:
    client.tls = _OpenEnd()  # type: ignore[assignment]
    run, said = _Run(house, flags), []
    progress: Progress = run.method.start()
    while isinstance(progress, Ask):
        said.append(client.answer(encode_request(1, Type.PEAP, progress.data))[5:])
        try:
            progress = run.method.receive(said[-1])
        except (EAPError, MethodRefusedError):
            break
        if isinstance(progress, Proven):
            progress = run.decide()
    return pack(said)
