"""The authorities' keys as the signer has them: the root's only while it is used, so that it can go and come back.

By name: that of the kind, and of the later access authorities their own.
"""

from collections.abc import Iterator, Mapping

from evertunnel.errors import UnavailableError
from evertunnel.keystore import Keystore
from evertunnel.model import Authority
from evertunnel.pki.keys import PrivateKey

# Signs a revocation list once a month, and the other authorities when there are new ones; the rest sign all day.
MAY_BE_AWAY = frozenset({Authority.ROOT})
_LATER_ACCESS = f"{Authority.ACCESS.value}-"


class AuthorityKeys(Mapping[str, PrivateKey]):
    """Holds every key that is always needed; one that may be away is read from its file each time."""

    def __init__(self, keystore: Keystore) -> None:
        """Raises UnavailableError when a key that is always needed is not there."""
        self._keystore = keystore
        self._held: dict[str, PrivateKey] = {
            authority.value: keystore.load_key("signer", authority.value)
            for authority in Authority
            if authority not in MAY_BE_AWAY
        }

    def __getitem__(self, name: str) -> PrivateKey:
        """Raises KeyError for one that is away, UnavailableError for one that is damaged."""
        name = str(name)
        if name in self._held:
            return self._held[name]
        if not self._is_here(name):
            raise KeyError(name)
        key = self._keystore.load_key("signer", name)
        if name.startswith(_LATER_ACCESS):  # made while this runs, and used all day
            self._held[name] = key
        return key

    def __iter__(self) -> Iterator[str]:
        """Those that are here now."""
        kinds = [authority.value for authority in Authority]
        later = [name for name in self._list_files() if name.startswith(_LATER_ACCESS)]
        return (name for name in (*kinds, *later) if name in self._held or self._is_here(name))

    def __len__(self) -> int:
        """How many are here now."""
        return sum(1 for _ in self)

    def keep(self, name: str, key: PrivateKey) -> None:
        """Keep the key of a new authority, in the place of one that no authority came of. Raises UnavailableError."""
        self._keystore.replace_key("signer", name, key)
        self._held[name] = key

    def _list_files(self) -> list[str]:
        try:
            return self._keystore.list_keys("signer")
        except UnavailableError:
            return []

    def _is_here(self, name: str) -> bool:
        try:
            return self._keystore.has_key("signer", name)
        except UnavailableError:
            return False
