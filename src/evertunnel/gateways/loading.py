"""Tells a strongSwan what it has to know, and notices when it no longer knows it.

Whoever runs `swanctl --load-all`, which is what `systemctl reload strongswan` does, makes it forget every connection,
pool, authority and key that stands in no file: ours never do.
"""

from collections.abc import Callable
from typing import Any

from evertunnel.gateways.strongswan import GatewayModel, build_authorities, build_connections, build_pools
from evertunnel.vici_connection import ViciConnection

LoadModel = Callable[[], tuple[GatewayModel, str]]


class Loader:
    """One gateway's. Shares its caller's VICI connection, and so its thread."""

    def __init__(self, connection: ViciConnection, load_model: LoadModel) -> None:
        self._vici = connection
        self._load_model = load_model
        self._names: dict[str, frozenset[str]] = {}
        self._subject = ""
        self._loaded: dict[str, dict[str, Any]] = {}

    def load(self) -> GatewayModel:
        """Tell it everything; returns what it was told. Raises DomainError."""
        self._vici.verify_there()  # twice a second while it is away: keys and certificates need not be read for that
        model, key_pem = self._load_model()
        self._vici.load_certificate(model.certificate_pem, authority=False)
        for pem in (*model.chain_pem, model.device_authority_pem):
            self._vici.load_certificate(pem, authority=True)
        key_id = self._vici.load_key(key_pem)
        authorities, pools, connections = build_authorities(model), build_pools(model), build_connections(model)
        for name, authority in authorities.items():
            self._vici.load_authority(name, authority)
        for name, pool in pools.items():
            self._vici.load_pool(name, pool)
        for name, connection in connections.items():
            self._vici.load_connection(name, connection)
        self._subject = f"CN={model.public_name}"
        self._names = {
            "connection": frozenset(connections),
            "pool": frozenset(pools),
            "authority": frozenset(authorities),
            "key": frozenset({key_id}),
        }
        self._loaded = self._read()
        return model

    def list_lost(self) -> list[str]:
        """What it forgot, or holds otherwise than it was told, in words. Empty before the first load."""
        if not self._loaded:
            return []
        found = self._read()
        return sorted(
            f"{kind} {name}"
            for kind, entries in self._loaded.items()
            for name, entry in entries.items()
            if found[kind].get(name) != entry
        )

    def _read(self) -> dict[str, dict[str, Any]]:
        """What it says of ours, right after loading and at every look: the same, or somebody else was at it."""
        listed = self._vici.list_loaded()
        held = {kind: {name: listed[kind].get(name) for name in names} for kind, names in self._names.items()}
        return held | {"certificate": {self._subject: self._vici.find_own_certificate(self._subject)}}
