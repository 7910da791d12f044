"""The admin application with an administrator calling it, in this process."""

from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from evertunnel.actions.decide import FindCountry
from evertunnel.web.api.app import build_app
from evertunnel.web.api.context import APIContext
from evertunnel.web.api.peers import AdministratorsOnly
from tests.installation import Installation

ADMINISTRATOR = 61_999


class CalledBy:
    """Says of every caller which user it is, as PeerProtocol does with the kernel's word."""

    def __init__(self, app: ASGIApp, user_id: int | None) -> None:
        self._app = app
        self._user_id = user_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._user_id is not None:
            scope["state"] = {"user_id": self._user_id}
        await self._app(scope, receive, send)


def build_client(
    installation: Installation, user_id: int | None = ADMINISTRATOR, *, find_country: FindCountry | None = None
) -> TestClient:
    """A client of the whole admin application."""
    context = APIContext(
        installation.store,
        installation.signer,
        lambda secret, context: installation.keystore.seal(secret, context=context),
        installation.seal_sign_in,
        installation.unseal_sign_in,
        "Example",
        installation.clock,
        installation.signer.list_keys,
        find_country=find_country,
    )
    app = AdministratorsOnly(build_app(context), frozenset({ADMINISTRATOR}))
    return TestClient(CalledBy(app, user_id), raise_server_exceptions=False)
