"""Whether a gateway answers: told where it is asked for, stored and logged when it changes."""

from collections.abc import Callable
from datetime import datetime

import structlog

from evertunnel.model import Gateway, GatewayState
from evertunnel.storage import gateways
from evertunnel.storage.store import Store

log = structlog.get_logger()


class Presence:
    """One gateway's. Its two threads tell what they met; the one that writes to the database stores it.

    Two connections are asked, and it answers when both do: the one for events tells when it hung up, the other when it
    is there and says nothing.
    """

    def __init__(self, store: Store, gateway: Gateway, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._heard = False
        self._error = ""
        self._stored: tuple[GatewayState, str] = (GatewayState.UNKNOWN, "")

    def hear(self) -> None:
        """It sends us events."""
        self._heard, self._error = True, ""

    def hear_answer(self) -> None:
        """It answered a question; without events that does not count."""
        if self._heard:
            self._error = ""

    def miss(self, error: str) -> None:
        """It gave no answer, or hung up."""
        self._heard, self._error = self._heard and "hung up" not in error, error

    def store_change(self) -> None:
        """Store and log what changed. Raises UnavailableError; then it is still to be stored."""
        error = self._error
        if not error and not self._heard:
            return
        state = GatewayState.AWAY if error else GatewayState.CONNECTED
        if (state, error) == self._stored:
            return
        with self._store.write(self._clock()) as tx:
            gateways.set_state(tx, self._gateway.id, state, error)
        if state is not self._stored[0]:
            if error:
                log.warning("gateway is away", gateway=self._gateway.name, error=error)
            else:
                log.info("gateway answers", gateway=self._gateway.name)
        self._stored = state, error
