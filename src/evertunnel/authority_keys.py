"""The authorities' keys as the signer has them: the root's only while it is used, so that it can go and come back."""

from collections.abc import Iterator, Mapping

from evertunnel.errors import UnavailableError
from evertunnel.keystore import Keystore
from evertunnel.model import Authority
from evertunnel.pki.keys import PrivateKey

# Signs a revocation list once a month, and the other authorities when there are new ones; the rest sign all day.
MAY_BE_AWAY = frozenset({Authority.ROOT})


class AuthorityKeys(Mapping[Authority, PrivateKey]):
    """Holds every key that is always needed; one that may be away is read from its file each time."""

    def __init__(self, keystore: Keystore) -> None:
        """Raises UnavailableError when a key that is always needed is not there."""
        self._keystore = keystore
        self._held = {
            authority: keystore.load_key("signer", authority.value)
            for authority in Authority
            if authority not in MAY_BE_AWAY
        }

    def __getitem__(self, authority: Authority) -> PrivateKey:
        """Raises KeyError for one that is away, UnavailableError for one that is damaged."""
        if authority in self._held:
            return self._held[authority]
        if not self._is_here(authority):
            raise KeyError(authority)
        return self._keystore.load_key("signer", authority.value)

    def __iter__(self) -> Iterator[Authority]:
        """Those that are here now."""
        return (authority for authority in Authority if authority in self._held or self._is_here(authority))

    def __len__(self) -> int:
        """How many are here now."""
        return sum(1 for _ in self)

    def _is_here(self, authority: Authority) -> bool:
        try:
            return self._keystore.has_key("signer", authority.value)
        except UnavailableError:
            return False
