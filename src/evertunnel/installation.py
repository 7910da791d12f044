"""One state folder with its configuration: what every process is built from, and what must hold before any starts."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from evertunnel.config import Config, load_config
from evertunnel.countries import CountryDatabase
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.pki.issuance import PublicAddresses
from evertunnel.privileges import find_group_id, find_process_user, find_user_id
from evertunnel.state_folder import StateFolder
from evertunnel.storage.databases import verify_url
from evertunnel.storage.schema_version import verify_schema
from evertunnel.storage.store import Store

PROCESSES = ("signer", "radius", "web-public", "web-admin", "gateway", "gate")
# Only where gateways on other hosts are waited for.
AGENTS = "agents"
# Only where gateways may ask over TLS.
RADSEC = "radsec"


class Installation:
    """What `init` made in a folder."""

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder
        self.config: Config = load_config(folder.path)
        self.database_url = self.config.database_url or folder.database_url
        verify_url(self.database_url)
        self.keystore = folder.keystore
        self.addresses = PublicAddresses(self.config.installation.public_url.rstrip("/"))

    @property
    def processes(self) -> tuple[str, ...]:
        """Those that run here."""
        return (*PROCESSES, *self.config.listen.optional_processes)

    def open_countries(self) -> CountryDatabase | None:
        """What tells the country of an address, if there is one; after the fork."""
        path = self.config.country_database
        return CountryDatabase(self.folder.path / path) if path else None

    def find_geography(self) -> dict[str, Any]:
        """What tells countries and places of addresses, as arguments; the file is read into memory once a process."""
        countries = self.open_countries()
        return {} if countries is None else {"find_country": countries.find_country, "find_place": countries.find_place}

    def open_store(self) -> Store:
        """A connection to the database; after the fork."""
        return Store(self.database_url)

    def find_users(self) -> dict[str, int]:
        """The user id of each process. Without root everything runs as whoever started it."""
        if os.geteuid() != 0:
            return dict.fromkeys(self.processes, os.geteuid())
        processes = self.config.processes
        return {name: find_process_user(getattr(processes, name.replace("-", "_"))) for name in self.processes}

    def find_administrators(self) -> frozenset[int]:
        """User ids that may use the admin socket. Raises InvalidInputError for a name nobody has."""
        owner = self.folder.path.stat().st_uid
        return frozenset({0, owner, *(find_user_id(user) for user in self.config.administrators.users)})

    def verify_database(self) -> None:
        """Raise InvalidInputError without a database of this version: children would say so once a second, for ever."""
        path = self.database_url.removeprefix("sqlite:///")
        if path != self.database_url and not Path(path).is_file():
            raise InvalidInputError(f"the database {path} does not exist")
        try:
            store = self.open_store()
        except (UnavailableError, SQLAlchemyError, ImportError, OSError) as error:
            raise InvalidInputError(f"the database {path} cannot be used: {error}") from error
        try:
            verify_schema(store)
        finally:
            store.close()

    def find_group(self) -> int:
        """The group all processes share."""
        return find_group_id(self.config.processes.group) if os.geteuid() == 0 else os.getegid()
