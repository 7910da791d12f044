"""CRLs and OCSP over plain HTTP (RFC 5280 4.2.1.13, RFC 6960 A.1). They state revocation only, never policy."""

import base64
import binascii
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from evertunnel.errors import UnavailableError
from evertunnel.model import Authority, CertificateStatus
from evertunnel.pki.revocation import MALFORMED, TRY_LATER, UNAUTHORIZED, CertificateState, Revocation
from evertunnel.storage import authorities, certificates
from evertunnel.storage.store import Store
from evertunnel.web.bodies import read_body
from evertunnel.web.ocsp_signer import OCSPSigner

_ANSWER_LIFETIME = timedelta(hours=1)
_BACKDATE = timedelta(minutes=5)
_MAXIMUM_REQUEST_BYTES = 4096


class RevocationPages:
    """The two kinds of page. Device certificates have no OCSP page: an answer that is good for longer than the gate's
    could be carried to a gateway (SECURITY.md)."""

    def __init__(self, store: Store, signer: OCSPSigner, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock

    def build_app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/crl/{name}.crl", self._revocation_list),
                Route("/ocsp/{name}", self._respond, methods=["POST"]),
                Route("/ocsp/{name}/{request:path}", self._respond, methods=["GET"]),
            ]
        )

    def _revocation_list(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not authorities.is_authority_name(name):
            return Response(status_code=404)
        try:
            with self._store.read() as connection:
                row = authorities.find_revocation_list(connection, name)
        except UnavailableError:
            return Response(status_code=503)
        if row is None:
            return Response(status_code=503)
        return Response(
            row.der,
            media_type="application/pkix-crl",
            headers={
                "Last-Modified": format_datetime(row.this_update, usegmt=True),
                "Cache-Control": "no-cache",
            },
        )

    async def _respond(self, request: Request) -> Response:
        if request.method == "GET":
            body = _decode_path(request.path_params["request"])
        else:
            body = await read_body(request, _MAXIMUM_REQUEST_BYTES)
        answer = await run_in_threadpool(self._answer, request.path_params["name"], body)
        return Response(answer, media_type="application/ocsp-response", headers={"Cache-Control": "no-cache"})

    def _answer(self, name: str, request_der: bytes | None) -> bytes:
        if request_der is None:
            return MALFORMED
        if name != Authority.ISSUING.value:
            return UNAUTHORIZED
        now = self._clock()
        try:
            return self._signer.responder().answer(
                request_der,
                self._find_state,
                this_update=now - _BACKDATE,
                next_update=now + _ANSWER_LIFETIME,
            )
        except UnavailableError:
            return TRY_LATER

    def _find_state(self, serial: int) -> CertificateState:
        with self._store.read() as connection:
            row = certificates.find_by_serial(connection, Authority.ISSUING, serial)
        if row is None or row.certificate_der is None:
            return CertificateState(known=False)
        if row.status in (CertificateStatus.ON_HOLD.value, CertificateStatus.REVOKED.value):
            return CertificateState(True, Revocation(serial, row.revoked_at, row.revocation_reason or "unspecified"))
        return CertificateState(known=True)


def _decode_path(text: str) -> bytes | None:
    """A request in a path (RFC 6960 A.1): base64, already unquoted; some clients double slashes or lose padding."""
    text = text.replace(" ", "+")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
