"""Enrol this host's agent: verify the server by the code, make both keys here, fetch their certificates."""

import contextlib
import hashlib
import socket
from collections.abc import Iterator
from ssl import SSLContext

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways.agent.folder import AgentFolder, is_for_key, make_key_and_request
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.agent_tls import build_agent_context, build_blind_context
from evertunnel.gateways.tls_pipe import PipeClosedError, TLSPipe
from evertunnel.pki.kinds import AGENT_SERVER_NAME
from evertunnel.protocols.agent.code import EnrolmentCode, decode_code
from evertunnel.protocols.agent.frames import FrameError
from evertunnel.protocols.agent.messages import (
    VERSION,
    Enrol,
    Enrolled,
    FromServer,
    Hello,
    Refused,
    decode_from_server,
)

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 20.0


def read_code(text: str) -> EnrolmentCode:
    """Raises InvalidInputError."""
    try:
        return decode_code(text)
    except ValueError as error:
        raise InvalidInputError(str(error)) from None


def enrol(folder: AgentFolder, code: EnrolmentCode) -> str:
    """Returns the name of the gateway. Raises InvalidInputError: what became of the code; UnavailableError.

    The secret leaves only towards whoever has a chain to the root that the code names: first the root is fetched and
    held against the code, then everything begins anew with that root as the only one trusted.
    """
    with dial(code.address, code.port, build_blind_context()) as (_, hello):
        root_pem = hello.root_pem
    root_der = _decode_certificate(root_pem).public_bytes(Encoding.DER)
    if hashlib.sha256(root_der).digest() != code.root_fingerprint:
        raise InvalidInputError(
            f"who answers at {code.address} port {code.port} is not the server that made this code: its root has "
            "another fingerprint; somebody may be in between, nothing was sent"
        )
    agent_key_pem, agent_request = make_key_and_request(code.gateway)
    gateway_key_pem, gateway_request = make_key_and_request(code.gateway)
    with dial(code.address, code.port, build_agent_context(root_pem=root_pem)) as (channel, _):
        channel.send(
            Enrol(
                version=VERSION,
                secret=code.secret,
                agent_request_der=agent_request,
                gateway_request_der=gateway_request,
            )
        )
        answer = channel.receive(_ANSWER_SECONDS)
    match answer:
        case Refused():
            raise InvalidInputError(answer.text)
        case Enrolled() if answer.gateway == code.gateway:
            pass
        case _:
            raise UnavailableError("the server's answer cannot be understood")
    if not (
        is_for_key(answer.agent_certificate_pem, agent_key_pem)
        and is_for_key(answer.gateway_certificate_pem, gateway_key_pem)
    ):
        raise UnavailableError("the server sent certificates for other keys than those made here")
    folder.store_identity(answer, (agent_key_pem, gateway_key_pem), root_pem, address=code.address, port=code.port)
    return answer.gateway


@contextlib.contextmanager
def dial(address: str, port: int, context: SSLContext) -> Iterator[tuple[Channel[FromServer], Hello]]:
    """A connection to the server and its first words. Raises UnavailableError, also for what happens within."""
    try:
        connection = socket.create_connection((address, port), timeout=_CONNECT_SECONDS)
    except OSError as error:
        why = error.strerror or str(error)
        raise UnavailableError(f"the server at {address} port {port} cannot be reached: {why}") from error
    pipe = TLSPipe(connection, context, server_side=False, server_name=AGENT_SERVER_NAME)
    try:
        pipe.shake_hands(_CONNECT_SECONDS)
        channel = Channel(pipe, decode_from_server)
        hello = channel.receive(_CONNECT_SECONDS)
        match hello:
            case Hello(version=version) if version == VERSION:
                yield channel, hello
            case Hello(version=version):
                raise UnavailableError(f"the server speaks version {version} with agents and this one {VERSION}")
            case _:
                raise UnavailableError(f"who answers at {address} port {port} is not our server")
    except (PipeClosedError, FrameError) as error:
        raise UnavailableError(f"the server at {address} port {port}: {error}") from error
    finally:
        pipe.dispose()


def _decode_certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise UnavailableError("the server's root cannot be read") from error
