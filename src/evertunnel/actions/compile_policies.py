"""Compile policies as they are stored, and what was compiled before not again: thousands of ranges take long."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection

from evertunnel.access.conditional.locations import NamedLocation
from evertunnel.access.conditional.policies import AccessPolicy
from evertunnel.access.conditional.strengths import AuthenticationStrength
from evertunnel.access.decision import Policies
from evertunnel.access.documents import PolicyError
from evertunnel.access.network_policies import NetworkPolicy, compile_network_policy
from evertunnel.actions.policy_names import compile_location, compile_stored_policy, compile_stored_strength
from evertunnel.storage import snapshot
from evertunnel.storage.snapshot import Snapshot

_Object = TypeVar("_Object")
_Known = dict[str, tuple[Any, _Object]]


class PolicyCompiler:
    """Reads policies in any transaction. What is equal to what it compiled last is that very object again."""

    def __init__(self) -> None:
        self._locations: _Known[NamedLocation] = {}
        self._strengths: _Known[AuthenticationStrength] = {}
        self._network: _Known[NetworkPolicy] = {}
        self._access: _Known[AccessPolicy] = {}

    def read(self, connection: Connection) -> Policies:
        """All policies. None while one of them cannot be read, as for every decision: no policies at all mean no."""
        known = Snapshot()
        snapshot.load_policies(connection, known)
        try:
            return self.compile(known)
        except PolicyError:
            self._access = {}  # compiled with locations and strengths that may be others by now
            return Policies()

    def compile(self, known: Snapshot) -> Policies:
        """Those of a snapshot, which need not be those of the database. Raises PolicyError."""
        before = (self._locations, self._strengths)
        self._locations = _compile_all(self._locations, known.locations, compile_location)
        self._strengths = _compile_all(self._strengths, known.strengths, compile_stored_strength)
        if (self._locations, self._strengths) != before:
            self._access = {}
        locations = {key: compiled for key, (_document, compiled) in self._locations.items()}
        strengths = {key: compiled for key, (_document, compiled) in self._strengths.items()}

        def compile_access(_name: str, stored: tuple[Any, Mapping[str, str]]) -> AccessPolicy:
            return compile_stored_policy(*stored, locations, strengths)

        access = {name: (document, resolved) for name, document, resolved in known.access}
        self._network = _compile_all(self._network, dict(known.network), compile_network_policy)
        self._access = _compile_all(self._access, access, compile_access)
        return Policies(
            [compiled for _document, compiled in self._network.values()],
            [compiled for _stored, compiled in self._access.values()],
        )


def _compile_all(
    before: _Known[_Object], documents: Mapping[str, Any], compile_one: Callable[[str, Any], _Object]
) -> _Known[_Object]:
    """In the order of the documents. Raises PolicyError."""
    compiled: _Known[_Object] = {}
    for key, document in documents.items():
        known = before.get(key)
        same = known is not None and known[0] == document
        try:
            compiled[key] = known if same and known is not None else (document, compile_one(key, document))
        except PolicyError as error:
            raise PolicyError(error.path, f"{error.problem} (of what is stored, {key!r})") from error
    return compiled
