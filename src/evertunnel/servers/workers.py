"""Which of the RADIUS workers answers a packet. Pure; the same for all workers, and for repetitions of a packet."""

import os
from dataclasses import dataclass

from evertunnel.protocols.eap.open_conversations import STATE_BYTES


@dataclass(frozen=True, slots=True)
class Place:
    """One worker among `count`, from 0."""

    number: int = 0
    count: int = 1

    def find_owner(self, authenticator: bytes, state: bytes | None, *, awake: int) -> int | None:
        """The worker that answers a checked packet; None when its State is none of ours.

        A conversation belongs to whoever began it: its State begins with that worker's number.
        """
        if state is None:
            return self.find_first_owner(authenticator, awake=awake)
        return state[0] if state and state[0] < self.count else None

    def find_first_owner(self, authenticator: bytes, *, awake: int) -> int:
        """The worker of a packet that continues nothing, among those `awake`.

        The Authenticator is random, so they spread evenly whatever port they come from, and the same in a repetition
        (RFC 5080 2.2.2), which has to find the answer that was given. One that comes after others woke or went to
        sleep begins afresh: two challenges, of which the gateway takes the first.
        """
        return authenticator[0] % awake

    def new_state(self) -> bytes:
        """A State of this worker. Known to nobody but the gateway, and 120 bits of it cannot be guessed."""
        return bytes((self.number,)) + os.urandom(STATE_BYTES - 1)


ALONE = Place()
