"""Both ends of the signer's Unix socket: one line of JSON naming a row, one line of JSON with the certificate.

The kernel says which user calls (SO_PEERCRED); what that user may ask for is fixed here.
"""

import base64
import json
import socket
import socketserver
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from evertunnel.errors import DomainError, InvalidInputError, NotFoundError, UnavailableError
from evertunnel.model import Authority, CertificateKind
from evertunnel.signer import EVERYTHING, Allowed, LocalSigner

_MAXIMUM_LINE_BYTES = 64 * 1024
_TIMEOUT_SECONDS = 10.0
# An RSA key on a slow machine.
_MAKE_TIMEOUT_SECONDS = 120.0
_PEER_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

# What each process may ask for. A process that is not here may ask for nothing.
ALLOWED: dict[str, Allowed] = {
    "web-admin": frozenset(
        pair for pair in EVERYTHING if pair[0] in (CertificateKind.USER, CertificateKind.DEVICE, CertificateKind.RADSEC)
    ),
    "web-public": frozenset(
        {
            (CertificateKind.SHORT_LIVED, Authority.ACCESS),
            (CertificateKind.OCSP_SIGNER, Authority.ISSUING),
        }
    ),
    "gate": frozenset({(CertificateKind.OCSP_SIGNER, Authority.DEVICE)}),
    "gateway": frozenset({(CertificateKind.GATEWAY, Authority.ISSUING)}),
    "radsec": frozenset({(CertificateKind.RADSEC_SERVER, Authority.ISSUING)}),
    "agents": frozenset(
        (kind, Authority.ISSUING)
        for kind in (CertificateKind.GATEWAY, CertificateKind.AGENT, CertificateKind.AGENT_SERVER)
    ),
}

# And what only to renew a certificate that was signed before, with the same key and names.
RENEWED: dict[str, Allowed] = dict.fromkeys(
    ("radius", "web-public"), frozenset({(CertificateKind.POLICY_SERVER, Authority.ISSUING)})
)

# And who may have an access authority made that is wanted. It signs nothing before it is activated.
MAKERS = frozenset({"web-admin", "everything"})

_ERRORS: dict[str, type[DomainError]] = {
    "not found": NotFoundError,
    "invalid": InvalidInputError,
    "unavailable": UnavailableError,
}

log = structlog.get_logger()


class SignerClient:
    """Asks the signer process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sign(self, certificate_id: str) -> bytes:
        """The DER certificate of a granted row. Raises what the signer raised, or UnavailableError."""
        match self._ask({"sign": certificate_id}):
            case {"certificate": str(text)} if text.isascii():
                return base64.b64decode(text)
            case {"kind": str(kind), "error": str(problem)}:
                raise _ERRORS.get(kind, UnavailableError)(problem)
        raise UnavailableError("the signer's answer cannot be understood")

    def make_authority(self, name: str) -> None:
        """Have an access authority made that is wanted. Raises what the signer raised, or UnavailableError."""
        match self._ask({"make": name}):
            case {"made": str(made)} if made == name:
                return
            case {"kind": str(kind), "error": str(problem)}:
                raise _ERRORS.get(kind, UnavailableError)(problem)
        raise UnavailableError("the signer's answer cannot be understood")

    def list_keys(self) -> list[str]:
        """The names of the authorities whose keys the signer has. Raises UnavailableError."""
        match self._ask({"keys": "list"}):
            case {"keys": [*names]}:
                return [str(name) for name in names]
        raise UnavailableError("the signer's answer cannot be understood")

    def _ask(self, request: dict[str, str]) -> Any:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_MAKE_TIMEOUT_SECONDS if "make" in request else _TIMEOUT_SECONDS)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    return json.loads(answers.readline(_MAXIMUM_LINE_BYTES))
        except (OSError, ValueError) as error:
            raise UnavailableError(f"the signer cannot be reached: {error}") from error


def _make_none(name: str) -> None:
    raise UnavailableError(f"no authority is made here: {name[:80]!r}")


class SignerServer(socketserver.ThreadingUnixStreamServer):
    """Answers on a socket that is bound already."""

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        signer: LocalSigner,
        users: Mapping[int, str],
        make_authority: Callable[[str], None] = _make_none,
    ) -> None:
        """`users` maps user ids to process names."""
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.signer = signer
        self.users = users
        self.make_authority = make_authority

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A caller that went away before its answer; the default prints a traceback to standard error."""
        log.warning("a caller went away", error=repr(sys.exception()))


class _Handler(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT_SECONDS
    server: SignerServer

    def handle(self) -> None:
        credentials = self.request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        _, user_id, _ = _PEER_CREDENTIALS.unpack(credentials)
        process = self.server.users.get(user_id, "")
        self.wfile.write(json.dumps(self._answer(process, user_id)).encode() + b"\n")

    def _answer(self, process: str, user_id: int) -> dict[str, Any]:
        try:
            request = json.loads(self.rfile.readline(_MAXIMUM_LINE_BYTES))
            if request == {"keys": "list"}:  # no secret: which of them are here is told to every process of ours
                return {"keys": [str(name) for name in self.server.signer.list_keys()]}
            if isinstance(wanted := request.get("make"), str):
                return self._make(process, wanted)
            certificate_id = str(request["sign"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {"kind": "invalid", "error": "the request is not a line of JSON with the key sign"}
        try:
            allowed = EVERYTHING if process == "everything" else ALLOWED.get(process, frozenset())
            der = self.server.signer.sign_for(certificate_id, allowed, renewed=RENEWED.get(process, frozenset()))
        except DomainError as error:
            log.warning("refused to sign", certificate=certificate_id, user_id=user_id, error=str(error))
            kind = next((name for name, family in _ERRORS.items() if isinstance(error, family)), "unavailable")
            return {"kind": kind, "error": str(error)}
        except Exception:  # a bug of ours over one row ends that request; who asked is told no more than that
            log.exception("signing failed", certificate=certificate_id)
            return {"kind": "unavailable", "error": "the signer failed; its log says why"}
        return {"certificate": base64.b64encode(der).decode()}

    def _make(self, process: str, name: str) -> dict[str, Any]:
        try:
            if process not in MAKERS:
                raise InvalidInputError("this process may not ask for authorities")
            self.server.make_authority(name)
        except DomainError as error:
            log.warning("refused to make an authority", authority=name[:80], process=process, error=str(error))
            kind = next((name for name, family in _ERRORS.items() if isinstance(error, family)), "unavailable")
            return {"kind": kind, "error": str(error)}
        except Exception:
            log.exception("making an authority failed", authority=name[:80])
            return {"kind": "unavailable", "error": "the signer failed; its log says why"}
        return {"made": name}
