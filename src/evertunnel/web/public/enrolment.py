"""What devices ask over HTTPS, each time a nonce and then one request signed by the device over it.

A short-lived certificate takes a sign-in besides; a report of posture does not.
"""

import base64
import binascii
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from evertunnel.actions.check_code import Unseal
from evertunnel.actions.decide import Decider, FindCountry, FindPlace
from evertunnel.actions.issue_certificate import Signer
from evertunnel.actions.issue_short_lived import ShortLivedRequest, issue_short_lived
from evertunnel.actions.report_posture import PostureReport, report_posture
from evertunnel.errors import AccessDeniedError, CodeNeededError, InvalidInputError, UnavailableError
from evertunnel.rate_limit import RateLimit, RateLimits
from evertunnel.storage.store import Store
from evertunnel.web.bodies import BoundedBodies

_NONCE_BYTES = 32
_NONCE_SECONDS = 60.0
_NONCES_AT_MOST = 10_000
_NONCE_REFUSED = "The nonce is not one of ours, or was used, or is older than a minute."
_MAXIMUM_TEXT = 24_000
# Anybody may ask, and each refusal is a row: of those who prove no device no more than this a second are recorded.
_STRANGERS_PER_SECOND = 20
# Posture that changed is a row of the audit: a device says so once in two seconds, and a few times in a row.
_REPORTS_PER_SECOND, _REPORTS_IN_A_ROW = 0.5, 5
_MAXIMUM_BODY_BYTES = 128 * 1024  # three such texts, a name, a password, and JSON around them


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None


def _check_base64(text: str) -> str:
    _decode(text)
    return text


Base64 = Annotated[str, Field(max_length=_MAXIMUM_TEXT), AfterValidator(_check_base64)]


class NonceAnswer(BaseModel):
    """A nonce to sign, good for one request within a minute."""

    nonce: str


class CertificateRequest(BaseModel):
    """What a client sends; bytes in base64 of DER. Status 401 asks for the same once more with a code."""

    model_config = ConfigDict(extra="forbid")

    user: str = Field(max_length=256)
    password: str = Field(max_length=1024)
    csr: Base64
    device_certificate: Base64
    device_signature: Base64
    nonce: Base64
    code: str = Field(default="", max_length=32)


class CertificateAnswer(BaseModel):
    """The certificate and the authorities above it below the root; base64 of DER."""

    certificate: str
    chain: list[str]


class ReportRequest(BaseModel):
    """A device's report; bytes in base64, `posture` of JSON exactly as it was signed."""

    model_config = ConfigDict(extra="forbid")

    posture: Base64
    device_certificate: Base64
    device_signature: Base64
    nonce: Base64


class Nonces:
    """Nonces given out and not yet used. In memory: a restart costs a client one more question."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def give(self) -> bytes:
        """A fresh one."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        with self._lock:
            while len(self._open) >= _NONCES_AT_MOST:
                self._open.popitem(last=False)
            self._open[nonce] = time.monotonic()
        return nonce

    def take(self, nonce: bytes) -> bool:
        """Use one up. False: never given, used before, or too old."""
        return self.take_aged(nonce) is not None

    def take_aged(self, nonce: bytes) -> float | None:
        """The same; returns how many seconds ago it was given."""
        with self._lock:
            given = self._open.pop(nonce, None)
        age = None if given is None else time.monotonic() - given
        return age if age is not None and age <= _NONCE_SECONDS else None


def build_app(
    store: Store,
    signer: Signer,
    unseal: Unseal,
    clock: Callable[[], datetime],
    find_country: FindCountry | None = None,
    find_place: FindPlace | None = None,
) -> ASGIApp:
    """The ASGI application. `unseal` opens what sign-ins are checked with."""
    app = FastAPI(title="Evertunnel enrolment", openapi_url=None)

    @app.exception_handler(RequestValidationError)
    def explain_input(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Never with what was sent, as the default is: it has a password in it.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body") or "the request"
        return JSONResponse({"detail": f"{place}: {first['msg']}"}, 422)

    nonces = Nonces()
    decider = Decider(find_country, find_place)
    strangers = RateLimit(per_second=_STRANGERS_PER_SECOND)
    reports = RateLimits(per_second=_REPORTS_PER_SECOND, burst=_REPORTS_IN_A_ROW)
    one_at_a_time = threading.Lock()  # the decider is not shared between threads; argon2 wants memory

    @app.post("/v1/nonces")
    def give_nonce() -> NonceAnswer:
        return NonceAnswer(nonce=base64.b64encode(nonces.give()).decode())

    @app.post("/v1/short-lived-certificates")
    def issue(body: CertificateRequest, request: Request) -> CertificateAnswer:
        nonce = _decode(body.nonce)
        if not nonces.take(nonce):
            raise HTTPException(409, _NONCE_REFUSED)
        wanted = ShortLivedRequest(
            user_name=body.user,
            password=body.password,
            csr_der=_decode(body.csr),
            device_certificate_der=_decode(body.device_certificate),
            device_signature=_decode(body.device_signature),
            nonce=nonce,
            client_address=request.client.host if request.client else "",
            code=body.code,
        )
        try:
            with one_at_a_time:
                issued = issue_short_lived(
                    store,
                    signer,
                    decider,
                    wanted,
                    unseal=unseal,
                    now=clock(),
                    records_strangers=lambda: strangers.allows(time.monotonic()),
                )
        except CodeNeededError as error:
            raise HTTPException(401, error.public) from error
        except AccessDeniedError as error:
            reference = f" Reference {error.attempt_id}." if error.attempt_id else ""
            raise HTTPException(403, error.public + reference) from error
        except InvalidInputError as error:
            raise HTTPException(422, str(error)) from error
        except UnavailableError as error:
            raise HTTPException(503, "Not now; try again later.") from error
        return CertificateAnswer(
            certificate=base64.b64encode(issued.certificate_der).decode(),
            chain=[base64.b64encode(der).decode() for der in issued.chain_der],
        )

    @app.post("/v1/posture-reports", status_code=204)
    def report(body: ReportRequest) -> None:
        nonce = _decode(body.nonce)
        age = nonces.take_aged(nonce)
        if age is None:
            raise HTTPException(409, _NONCE_REFUSED)
        now = clock()
        said = PostureReport(
            posture_json=_decode(body.posture),
            device_certificate_der=_decode(body.device_certificate),
            device_signature=_decode(body.device_signature),
            nonce=nonce,
            nonce_given_at=now - timedelta(seconds=age),
        )
        try:
            with one_at_a_time:
                report_posture(
                    store,
                    decider,
                    said,
                    now=now,
                    allows=lambda device_id: reports.allows(device_id, time.monotonic()),
                )
        except AccessDeniedError as error:
            raise HTTPException(403, error.public) from error
        except InvalidInputError as error:
            raise HTTPException(422, str(error)) from error
        except UnavailableError as error:
            raise HTTPException(503, "Not now; try again later.") from error

    return BoundedBodies(app, _MAXIMUM_BODY_BYTES)
