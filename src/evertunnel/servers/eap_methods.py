"""Which EAP methods a login is offered, and what each of them is made with."""

import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import takewhile

import structlog

from evertunnel.actions.decide import Decider
from evertunnel.actions.nt_hashes import NewPassword, find_objection, mark_password, prepare_password
from evertunnel.errors import UnavailableError
from evertunnel.model import Gateway, LoginMethod
from evertunnel.protocols.eap.contexts import EAPContexts
from evertunnel.protocols.eap.conversation import Conversation
from evertunnel.protocols.eap.methods.mschapv2 import EAPMSCHAPv2, StoredPassword
from evertunnel.protocols.eap.methods.peap import PEAP, bound_inner_packet
from evertunnel.protocols.eap.methods.progress import Method
from evertunnel.protocols.eap.methods.tls import EAPTLS
from evertunnel.protocols.eap.mschapv2_keys import CHALLENGE_BYTES, NT_HASH_BYTES
from evertunnel.protocols.eap.packet import Type
from evertunnel.rate_limit import RateLimits, name_source
from evertunnel.servers.logins import Login
from evertunnel.storage.switches import nt_hash_context

# Passwords looked at for each name from each source at a gateway. A name alone is never counted: whoever knows it
# could lock its owner out.
_TRIES_PER_MINUTE = 10
_TRIES_AT_LEAST = 3

_OUTER_TYPES = {
    LoginMethod.EAP_TLS: Type.TLS,
    LoginMethod.PEAP_EAP_TLS: Type.PEAP,
    LoginMethod.PEAP_EAP_MSCHAPV2: Type.PEAP,
    LoginMethod.EAP_MSCHAPV2: Type.MSCHAPV2,
}
_INNER_TYPES = {LoginMethod.PEAP_EAP_TLS: Type.TLS, LoginMethod.PEAP_EAP_MSCHAPV2: Type.MSCHAPV2}

log = structlog.get_logger()


class EAPMethods:
    """Begins conversations. `uptime` is that of the packet being looked at, which its owner keeps up to date."""

    def __init__(
        self, decider: Decider, contexts: EAPContexts, unseal: Callable[..., bytes], seal: Callable[..., bytes]
    ) -> None:
        """`unseal` and `seal` are those of a keystore, for NT hashes."""
        self._decider = decider
        self._unseal, self._seal = unseal, seal
        self._tries = RateLimits(per_second=_TRIES_PER_MINUTE / 60, burst=_TRIES_PER_MINUTE)
        # Of nobody: opened and tried as somebody's is, so that it takes as long.
        self._nobody = seal(secrets.token_bytes(NT_HASH_BYTES), context=nt_hash_context(""))
        self.contexts = contexts
        self.uptime = 0.0

    def share_with(self, awake: int) -> None:
        """Count as one of `awake` workers that do."""
        share = max(_TRIES_AT_LEAST, _TRIES_PER_MINUTE // awake)
        self._tries.change(per_second=share / 60, burst=share)

    def begin(self, gateway: Gateway, client_address: str, packet_bytes: int) -> Conversation:
        """A conversation with one client; `packet_bytes` bounds the data of one request."""
        allowed = self._decider.list_login_methods(gateway)
        offer = _Offer(self, self.contexts, gateway, client_address, packet_bytes, allowed)
        return Conversation(offer.begin, offer.types)

    def find_password(self, gateway: Gateway, client_address: str, name: str) -> StoredPassword:
        """What is kept of somebody who calls himself that; the same steps for whom nothing is kept."""
        found = self._decider.find_nt_hash(name)
        user_id, sealed, expired = found or ("", self._nobody, False)
        # By user where there is one: he has several names.
        key = gateway.id, name_source(client_address), user_id or name.strip().casefold()
        may_try = self._tries.allows(key, self.uptime)
        try:
            nt_hash = self._unseal(sealed, context=nt_hash_context(user_id))
        except UnavailableError as error:
            log.error("an NT hash does not open", user=user_id, error=str(error))
            return StoredPassword("", secrets.token_bytes(NT_HASH_BYTES))
        if not may_try:
            return StoredPassword("", secrets.token_bytes(NT_HASH_BYTES), limited=True)
        return StoredPassword(user_id, nt_hash, expired, mark=mark_password(sealed, expired=expired))

    def prepare_password(self, user_id: str, password: str, *, replaces: bytes) -> NewPassword:
        """What to store of a password that a user chose, over the one with that mark. Raises UnavailableError."""

        def seal(secret: bytes, context: str) -> bytes:
            return self._seal(secret, context=context)

        return prepare_password(user_id, password, seal, replaces=replaces)


class _Offer:
    """What one client may choose from, and what begins it. Ten thousand that wait are to be small."""

    __slots__ = ("_address", "_contexts", "_gateway", "_inner_types", "_methods", "_packet_bytes", "types")

    def __init__(
        self,
        methods: EAPMethods,
        contexts: EAPContexts,
        gateway: Gateway,
        client_address: str,
        packet_bytes: int,
        allowed: Sequence[LoginMethod],
    ) -> None:
        self._methods = methods
        self._contexts = contexts
        self._gateway = gateway
        self._address = client_address
        self._packet_bytes = packet_bytes
        self.types, self._inner_types = _list_types(tuple(allowed))

    def begin(self, eap_type: int, identifier: int) -> Method:
        match eap_type:
            case Type.PEAP:
                return PEAP(
                    self._contexts.tunnel,
                    Conversation(self._begin_inner, self._inner_types),
                    identifier=identifier,
                    packet_bytes=self._packet_bytes,
                    new_nonce=secrets.token_bytes,
                )
            case Type.MSCHAPV2:
                return self._begin_mschapv2()
        return EAPTLS(self._contexts.tls, packet_bytes=self._packet_bytes)

    def _begin_inner(self, eap_type: int, _identifier: int) -> Method:
        if eap_type == Type.MSCHAPV2:
            return self._begin_mschapv2()
        return EAPTLS(self._contexts.inner, packet_bytes=bound_inner_packet(self._packet_bytes))

    def _begin_mschapv2(self) -> Method:
        return EAPMSCHAPv2(
            lambda name: self._methods.find_password(self._gateway, self._address, name),
            find_objection,
            lambda: secrets.token_bytes(CHALLENGE_BYTES),
        )


@lru_cache(maxsize=64)
def _list_types(allowed: tuple[LoginMethod, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """EAP types outside a tunnel and inside, in the order of methods."""
    outer = dict.fromkeys(_OUTER_TYPES[method] for method in allowed)
    return tuple(outer), tuple(_INNER_TYPES[method] for method in allowed if method in _INNER_TYPES)


def note_method(login: Login, uptime: float) -> None:
    """Add what is new of another method than EAP-TLS to a login's ladder."""
    told = login.conversation.describe()
    if told == login.told:
        return
    # When another method begins, what is around it is the same and was told.
    known = takewhile(lambda pair: pair[0] == pair[1], zip(told, login.told, strict=False))
    for words in told[len(list(known)) :]:
        login.note(words, uptime)
    login.told = told
