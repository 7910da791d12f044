"""What every admin route needs: the store, the signer, who is asking, and the time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from evertunnel.actions.create_access_authority import AuthorityMaker
from evertunnel.actions.decide import FindCountry, FindPlace
from evertunnel.actions.issue_certificate import Signer
from evertunnel.storage.store import Store


@dataclass(frozen=True, slots=True)
class APIContext:
    """Made once by app.py."""

    store: Store
    signer: Signer
    seal: Callable[[bytes, str], bytes]
    seal_sign_in: Callable[[bytes, str], bytes]  # for what sign-ins are checked with
    unseal_sign_in: Callable[[bytes, str], bytes]
    organisation: str
    clock: Callable[[], datetime]
    list_keys: Callable[[], Sequence[str]]
    maker: AuthorityMaker
    agents_port: int | None = None  # where agents of gateways on other hosts are waited for
    find_country: FindCountry | None = None
    find_place: FindPlace | None = None
    cut_at_most_percent: int = 20  # of the live sessions a change of policies may end without being confirmed


def _get_context(request: Request) -> APIContext:
    context = request.app.state.context
    assert isinstance(context, APIContext)
    return context


def _get_actor(request: Request) -> str:
    return str(request.state.actor)


Context = Annotated[APIContext, Depends(_get_context)]
Actor = Annotated[str, Depends(_get_actor)]
