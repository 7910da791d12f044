"""What anybody who looks after a strongSwan needs of it, whether it is on this machine or its agent is in between."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from evertunnel.gateways.strongswan import GatewayModel
from evertunnel.vici_connection import Section


class Control(Protocol):
    """Questions and orders. For one thread; every call raises UnavailableError when there is no good answer."""

    def list_tunnels(self, unique_id: int | None = None, *, children: bool = True) -> Iterable[Section]:
        """All IKE_SAs, half-open ones included, or the one of a number. Quicker without their children."""

    def terminate(self, unique_id: int) -> None:
        """End an IKE_SA now. One that is gone already is fine."""

    def terminate_each(self, unique_ids: Sequence[int]) -> None:
        """The same for many."""

    def flush_certificates(self) -> None:
        """Forget what is remembered of certificates."""


class Listener(Protocol):
    """For another thread."""

    def listen(self, *, timeout_seconds: float) -> Iterator[tuple[str, Section] | None]:
        """Events as they come; None whenever that time passed without one. Ends only by raising UnavailableError."""


class Loading(Protocol):
    """Tells it what it has to know."""

    def load(self) -> GatewayModel:
        """Tell it everything; returns what it was told. Raises DomainError."""

    def list_lost(self) -> list[str]:
        """What it forgot since, in words, if somebody here must tell it again."""


@dataclass(frozen=True, slots=True)
class Strongswan:
    """One of them. `end_later` has it end a tunnel by itself; None: nobody is there who could."""

    control: Control
    listener: Listener
    loader: Loading
    end_later: Callable[[int, str, int], None] | None = None
