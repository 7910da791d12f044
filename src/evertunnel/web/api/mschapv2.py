"""The switch of MS-CHAPv2."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from evertunnel.actions.switch_mschapv2 import switch_mschapv2_off, switch_mschapv2_on
from evertunnel.storage.switches import MSCHAPV2, count_nt_hashes, find_switch
from evertunnel.web.api.context import Actor, Context

router = APIRouter(prefix="/v1/mschapv2", tags=["policies"])


class Switch(BaseModel):
    """Whether clients may log in with MS-CHAPv2; `weakness_accepted` must be said to switch it on."""

    model_config = ConfigDict(extra="forbid")
    on: bool
    weakness_accepted: bool = False


@router.get("")
def show(context: Context) -> dict[str, Any]:
    """Whether it is on, since when, by whom, and how many users have an NT hash."""
    with context.store.read() as connection:
        row = find_switch(connection, MSCHAPV2)
        return {
            "on": row is not None,
            "since": row.switched_on_at if row else None,
            "by": row.switched_on_by if row else None,
            "nt_hashes": count_nt_hashes(connection),
        }


@router.patch("")
def switch(body: Switch, context: Context, actor: Actor, *, confirmed: bool = False) -> dict[str, int]:
    """Switch it. Off erases every NT hash; `erased` is how many."""
    if body.on:
        switch_mschapv2_on(context.store, weakness_accepted=body.weakness_accepted, actor=actor, now=context.clock())
        return {"erased": 0}
    return {"erased": switch_mschapv2_off(context.store, confirmed=confirmed, actor=actor, now=context.clock())}
