"""The gate of the device tunnel: an OCSP address that only gateways know, asked before a device may come up.

A filter, not the decision: it says `good` for a device we would grant now, `unknown` for everything else. Never
`revoked` for policy, because charon remembers that and would not ask again. It writes nothing, for whoever asks has
proven nothing yet. An answer counts for three seconds (docs/decisions/0003).
"""

import hmac
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from evertunnel.actions.decide import Decider
from evertunnel.errors import UnavailableError
from evertunnel.model import Authority, CertificateKind, CertificateStatus, Gateway, TunnelKind
from evertunnel.pki.revocation import CertificateState, Revocation
from evertunnel.storage.store import Store, Watch
from evertunnel.web.bodies import read_body
from evertunnel.web.ocsp_signer import OCSPSigner

_THIS_UPDATE_BACK = timedelta(seconds=2)
_NEXT_UPDATE_AHEAD = timedelta(seconds=3)
_MAXIMUM_REQUEST_BYTES = 4096


class Gate:
    """Answers for one installation's gateways."""

    def __init__(
        self,
        store: Store,
        signer: OCSPSigner,
        unseal_path: Callable[[Gateway, bytes], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._signer = signer
        self._unseal_path = unseal_path
        self._clock = clock
        self._decider = Decider()
        self._watch: Watch | None = None
        self._behind = self._paths_due = True
        self._paths: list[tuple[Gateway, str]] = []
        self._lock = threading.Lock()

    def build_app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=[Route("/{path}", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await read_body(request, _MAXIMUM_REQUEST_BYTES)
        if body is None:
            return Response(status_code=413)
        try:
            answer = await run_in_threadpool(self.answer, request.path_params["path"], body)
        except UnavailableError:
            return Response(status_code=503)  # charon refuses the device: it takes nothing but `good`
        if answer is None:
            return Response(status_code=404)
        return Response(answer, media_type="application/ocsp-response")

    def answer(self, path: str, request_der: bytes) -> bytes | None:
        """The OCSP answer for a gateway's path; None when no gateway has it. Raises UnavailableError."""
        with self._lock:
            self._follow()
            gateway = self._find_gateway(path)
            if gateway is None:
                return None
            now = self._clock()
            return self._signer.responder().answer(
                request_der,
                lambda serial: self._find_state(gateway, serial, now),
                this_update=now - _THIS_UPDATE_BACK,
                next_update=now + _NEXT_UPDATE_AHEAD,
            )

    def _find_state(self, gateway: Gateway, serial: int, now: datetime) -> CertificateState:
        certificate = self._decider.find_certificate(Authority.DEVICE, serial)
        if certificate is None or certificate.kind is not CertificateKind.DEVICE:
            return CertificateState(known=False)
        if certificate.status is CertificateStatus.REVOKED:
            return CertificateState(known=True, revocation=Revocation(serial, now, "unspecified"))
        facts = self._decider.gather_facts(at=now, tunnel=TunnelKind.DEVICE, gateway=gateway, certificate=certificate)
        return CertificateState(known=self._decider.decide_tunnel(facts).granted)

    def _find_gateway(self, path: str) -> Gateway | None:
        found = None
        for gateway, secret in self._paths:
            if hmac.compare_digest(secret.encode(), path.encode()) and gateway.enabled:
                found = gateway
        return found

    def _follow(self) -> None:
        """One pragma a request; the database itself is read only when somebody committed."""
        if self._watch is None:
            self._watch = Watch(self._store)
        # Stays behind until it was followed: what a failed read missed is not announced a second time.
        self._behind = self._watch.changed() or self._behind
        if not self._behind:
            return
        with self._store.read() as connection:
            changes = self._decider.refresh(connection)
        self._paths_due = self._paths_due or bool(changes.kinds)
        if self._paths_due:
            self._paths = [
                (gateway, self._unseal_path(gateway, sealed.gate_path))
                for gateway, sealed in self._decider.list_gateways()
            ]
            self._paths_due = False
        self._behind = False
