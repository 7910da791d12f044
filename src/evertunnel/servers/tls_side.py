"""The policy server's side of TLS: it follows its certificate, the authorities it trusts and its ticket keys."""

import time
from collections.abc import Callable, Sequence

from cryptography import x509
from OpenSSL import SSL

from evertunnel.protocols.eap.contexts import EAPContexts
from evertunnel.servers.ticket_keys import TicketKeys

Chain = Sequence[x509.Certificate]
# What to show, whose tickets, and what served before.
Build = Callable[[Chain, SSL.Context | None, EAPContexts | None], EAPContexts]


class TLSSide:
    """Holds the chain in use, so that either change keeps what the others brought.

    For the thread that serves: a Context that has tickets is changed in place, or they would be lost with it.
    `use_chain` alone may be called from any thread.
    """

    def __init__(self, chain: Chain, build: Build, tickets: TicketKeys | None = None) -> None:
        """`build` reads which authorities are trusted at that moment. Without `tickets` no session is resumed."""
        self._chain = self._shown = chain
        self._build = build
        self._tickets = tickets
        self._use: Callable[[EAPContexts], None] | None = None
        self._period = 0
        self.contexts = self._make(time.monotonic(), None)

    def serve(self, use: Callable[[EAPContexts], None]) -> None:
        """Call `use` with each set of contexts from now on."""
        self._use = use

    def use_chain(self, chain: Chain) -> None:
        """Another certificate, from the next turn on."""
        self._chain = chain

    def use_authorities(self) -> None:
        """Other authorities are trusted, at once."""
        self._renew(time.monotonic())

    def take_turn(self, uptime: float) -> None:
        """Once a second: take another certificate or other ticket keys if it is time. `uptime` as in TicketKeys."""
        if self._chain is not self._shown or (self._tickets and self._tickets.find_period(uptime) != self._period):
            self._renew(uptime)

    def _renew(self, uptime: float) -> None:
        self.contexts = self._make(uptime, self.contexts)
        if self._use is not None:
            self._use(self.contexts)

    def _make(self, uptime: float, before: EAPContexts | None) -> EAPContexts:
        shown, self._shown = self._shown, self._chain
        if self._tickets is None:
            return self._build(self._shown, None, before)
        if list(shown[1:]) != list(self._shown[1:]):
            self._tickets.replace(uptime)
        self._period = self._tickets.find_period(uptime)
        return self._build(self._shown, self._tickets.find_context(uptime), before)
