"""The admin application: its routes, and the one map from our errors to HTTP."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from evertunnel import __version__
from evertunnel.access.documents import PolicyProblemsError
from evertunnel.access.policy_test_results import PolicyTestsError
from evertunnel.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ConfirmationNeededError,
    DomainError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from evertunnel.web.api import (
    access_authorities,
    access_policies,
    attempts,
    audit,
    certificates,
    compliance,
    denials,
    devices,
    facts,
    gateways,
    groups,
    mschapv2,
    policies,
    policy_history,
    policy_objects,
    policy_tests,
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
    ConfirmationNeededError: 409,
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
    access_authorities,
    policies,
    mschapv2,
    what_if,
    replay,
    access_policies,
    policy_history,
    policy_objects,
    policy_tests,
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
        problems = error.problems if isinstance(error, PolicyProblemsError) else ()
        return _problem(status, str(error), problems, error.mend if isinstance(error, PolicyTestsError) else "")

    @app.exception_handler(RequestValidationError)
    def _explain_input(_request: Request, error: RequestValidationError) -> JSONResponse:
        first: dict[str, Any] = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        return _problem(422, f"{place}: {first['msg'].removeprefix('Value error, ')}")

    @app.exception_handler(UnicodeEncodeError)
    def _explain_text(_request: Request, _error: UnicodeEncodeError) -> JSONResponse:
        # JSON's escapes can write what no file, database or answer can hold.
        return _problem(422, "a text in the request holds half of a surrogate pair, which is no character")

    return app


def _problem(status: int, title: str, problems: Sequence[tuple[str, str]] = (), mend: str = "") -> JSONResponse:
    """RFC 9457. Where more than one thing is wrong, `problems` has all of them, and `mend` what helps against all."""
    content: dict[str, Any] = {"title": _show(title), "status": status}
    if len(problems) > 1:
        content["problems"] = [{"place": _show(place), "problem": _show(problem)} for place, problem in problems]
        if mend:
            content["mend"] = mend
    return JSONResponse(content, status, media_type="application/problem+json")


def _show(text: str) -> str:
    """A text of the request as an answer can carry it."""
    return text.encode(errors="replace").decode()
