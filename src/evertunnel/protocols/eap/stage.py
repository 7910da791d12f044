"""How far a conversation came: who has to make room for whom, and what it weighs."""

from enum import IntEnum


class Stage(IntEnum):
    """From nothing to the last answer. What a stranger reaches for the price of a packet is worth little."""

    NOTHING = 0  # no ClientHello yet, or it failed and the peer is only still being told
    CLIENT_HELLO = 1  # the peer sends its ClientHello, or takes our answer to it
    ANSWERING = 2  # it took our whole answer and sends its own
    ENDING = 3  # the key is proven and the decision was yes: one empty answer is missing

    @property
    def is_heavy(self) -> bool:
        """Whether a TLS connection, or a message of any length, is kept for it."""
        return self in (Stage.CLIENT_HELLO, Stage.ANSWERING)
