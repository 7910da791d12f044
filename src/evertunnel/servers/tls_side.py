"""The policy server's side of TLS, made anew when its certificate or the authorities it trusts change."""

import threading
from collections.abc import Callable, Sequence

from cryptography import x509

from evertunnel.protocols.eap.contexts import EAPContexts

Chain = Sequence[x509.Certificate]


class TLSSide:
    """Holds the chain in use, so that either change keeps what the other one brought. Safe between threads."""

    def __init__(self, chain: Chain, build: Callable[[Chain], EAPContexts]) -> None:
        """`build` reads which authorities are trusted at that moment."""
        self._chain = chain
        self._build = build
        self._lock = threading.Lock()
        self._use: Callable[[EAPContexts], None] | None = None
        self.contexts = build(chain)

    def serve(self, use: Callable[[EAPContexts], None]) -> None:
        """Call `use` with each set of contexts from now on."""
        self._use = use

    def use_chain(self, chain: Chain) -> None:
        """Another certificate."""
        with self._lock:
            self._chain = chain
            self._renew()

    def use_authorities(self) -> None:
        """Other authorities are trusted."""
        with self._lock:
            self._renew()

    def _renew(self) -> None:
        self.contexts = self._build(self._chain)
        if self._use is not None:
            self._use(self.contexts)
