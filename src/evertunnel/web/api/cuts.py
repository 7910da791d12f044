"""Changes of policies that ask first when they would end many sessions."""

from collections.abc import Callable
from typing import TypeVar

from evertunnel.actions.count_cuts import Cuts, count_cuts, verify_cuts
from evertunnel.actions.decide import Decider
from evertunnel.storage.store import Store
from evertunnel.web.api.context import APIContext

_Result = TypeVar("_Result")


def make_change(context: APIContext, change: Callable[[Store], _Result], *, confirmed: bool) -> _Result:
    """Make it, unless it would end more live sessions than nobody is asked about. Raises ConfirmationNeededError."""
    if not confirmed:
        verify_cuts(
            context.store,
            change,
            _build_decider(context),
            at_most_percent=context.cut_at_most_percent,
            now=context.clock(),
        )
    return change(context.store)


def try_change(context: APIContext, change: Callable[[Store], object]) -> Cuts:
    """Make it, undo it, and say what it would end. What it raises is raised."""
    return count_cuts(context.store, change, _build_decider(context), now=context.clock())


def _build_decider(context: APIContext) -> Decider:
    """One that knows countries and places: the change may be the first that asks for them."""
    return Decider(context.find_country, context.find_place, always=True)
