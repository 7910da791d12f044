"""Short-lived certificates over HTTPS: a nonce, then one request signed by the device and with a sign-in."""

import base64
import binascii
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from evertunnel.actions.check_code import Unseal
from evertunnel.actions.decide import Decider, FindCountry
from evertunnel.actions.issue_certificate import Signer
from evertunnel.actions.issue_short_lived import ShortLivedRequest, issue_short_lived
from evertunnel.errors import AccessDeniedError, CodeNeededError, InvalidInputError, UnavailableError
from evertunnel.rate_limit import RateLimit
from evertunnel.storage.store import Store
from evertunnel.web.bodies import BoundedBodies

_NONCE_BYTES = 32
_NONCE_SECONDS = 60.0
_NONCES_AT_MOST = 10_000
_MAXIMUM_TEXT = 24_000
# Anybody may ask, and each refusal is a row: of those who prove no device no more than this a second are recorded.
_STRANGERS_PER_SECOND = 20
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
        with self._lock:
            given = self._open.pop(nonce, None)
        return given is not None and time.monotonic() - given <= _NONCE_SECONDS


def build_app(
    store: Store,
    signer: Signer,
    unseal: Unseal,
    clock: Callable[[], datetime],
    find_country: FindCountry | None = None,
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
    decider = Decider(find_country)
    strangers = RateLimit(per_second=_STRANGERS_PER_SECOND)
    one_at_a_time = threading.Lock()  # the decider is not shared between threads; argon2 wants memory

    @app.post("/v1/nonces")
    def give_nonce() -> NonceAnswer:
        return NonceAnswer(nonce=base64.b64encode(nonces.give()).decode())

    @app.post("/v1/short-lived-certificates")
    def issue(body: CertificateRequest, request: Request) -> CertificateAnswer:
        nonce = _decode(body.nonce)
        if not nonces.take(nonce):
            raise HTTPException(409, "The nonce is not one of ours, or was used, or is older than a minute.")
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

    return BoundedBodies(app, _MAXIMUM_BODY_BYTES)
