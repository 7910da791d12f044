"""The admin application: its routes, and the one map from our errors to HTTP."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from evertunnel import __version__
from evertunnel.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    DomainError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from evertunnel.web.api import (
    attempts,
    audit,
    certificates,
    compliance,
    denials,
    devices,
    facts,
    gateways,
    groups,
    policies,
    profiles,
    replay,
    sessions,
    users,
    what_if,
)
from evertunnel.web.api.context import APIContext

_STATUS: dict[type[DomainError], int] = {
    NotFoundError: 404,
    AlreadyExistsError: 409,
    InvalidInputError: 422,
    AccessDeniedError: 403,
    UnavailableError: 503,
}
_NOUNS = (
    users,
    groups,
    devices,
    facts,
    compliance,
    certificates,
    policies,
    what_if,
    replay,
    gateways,
    profiles,
    sessions,
    attempts,
    denials,
    audit,
)


def build_app(context: APIContext) -> FastAPI:
    """The ASGI application; wrap it in AdministratorsOnly."""
    app = FastAPI(title="Evertunnel admin API", version=__version__)
    app.state.context = context
    for noun in _NOUNS:
        app.include_router(noun.router)

    @app.exception_handler(DomainError)
    def _explain(_request: Request, error: DomainError) -> JSONResponse:
        status = next((code for family, code in _STATUS.items() if isinstance(error, family)), 500)
        return _problem(status, str(error))

    @app.exception_handler(RequestValidationError)
    def _explain_input(_request: Request, error: RequestValidationError) -> JSONResponse:
        first: dict[str, Any] = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        return _problem(422, f"{place}: {first['msg']}")

    return app


def _problem(status: int, title: str) -> JSONResponse:
    """RFC 9457."""
    return JSONResponse({"title": title, "status": status}, status, media_type="application/problem+json")
