"""`evertunnel init`: a state folder, keys, database, authorities and first certificates, all or nothing."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from evertunnel import clock
from evertunnel.accounts import Owners, build_processes, find_owners
from evertunnel.actions.create_installation import NewInstallation, create_installation
from evertunnel.config import FILE_NAME, Processes, split_endpoint
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.keystore import Keystore
from evertunnel.model import Authority
from evertunnel.pki.issuance import PublicAddresses
from evertunnel.pki.keys import KEY_TYPES, generate_key
from evertunnel.pki.names import verify_dns_name
from evertunnel.privileges import find_user_name
from evertunnel.signer import LocalSigner
from evertunnel.state_folder import StateFolder
from evertunnel.storage.databases import verify_url
from evertunnel.storage.schema import remove_schema, upgrade_schema, verify_empty
from evertunnel.storage.store import Store

# Plain HTTP, a host and perhaps a port or path, in ASCII: as it goes into certificates (RFC 5280 4.2.1.13).
_PUBLIC_URL = re.compile(r"http://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")
# Which key each of our TLS servers has.
_SERVER_KEYS = {"radius": "policy-server", "web-public": "https"}


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What the administrator chose. `user_base` makes numbered users instead of named ones (the lab).

    Without `database_url` the database is a file of SQLite in the state folder.
    """

    organisation: str
    public_name: str
    public_url: str
    key_type: str = "p256"
    listen: dict[str, str] | None = None
    user_base: int | None = None
    database_url: str = ""


def initialise(folder: StateFolder, options: InitOptions) -> None:
    """Make an installation. Raises InvalidInputError, UnavailableError; what was made half is removed again."""
    _verify_options(options)
    folder.verify_empty()
    if options.database_url:
        _verify_database(options.database_url)
    if os.geteuid() == 0:
        folder.verify_reachable()
    existed = folder.path.exists()
    processes = build_processes(options.user_base)
    owners = find_owners(processes, optional={"agents", "radsec"} & set(options.listen or {}))
    try:
        folder.create(group=owners.group, gateway_owner=owners.users["gateway"])
        _fill(folder, options, owners)
        # Last: without it nothing serves what a command that was killed left half made.
        _write_config(folder.path / FILE_NAME, options, processes)
    except BaseException as error:
        folder.remove(keep=existed)
        if isinstance(error, OSError):
            raise UnavailableError(f"cannot make the installation: {error.filename}: {error.strerror}") from error
        raise


def _verify_database(url: str) -> None:
    """Raise InvalidInputError unless it can be reached and is empty."""
    verify_url(url)
    store = Store(url)
    try:
        verify_empty(store)
    except UnavailableError as error:
        raise InvalidInputError(f"--database-url: {error}") from error
    finally:
        store.close()


def _verify_options(options: InitOptions) -> None:
    """Raise InvalidInputError for the first option that would make certificates or a file that nobody can use."""
    verify_dns_name(options.public_name)
    if not options.organisation.strip() or not options.organisation.isprintable():
        raise InvalidInputError("--organisation: give a printable name")
    if not _PUBLIC_URL.fullmatch(options.public_url):
        # Certificates carry it; clients ask about revocation before they have any other trust (RFC 5280 8).
        raise InvalidInputError(
            f"--public-url: {options.public_url!r} is not an address such as http://vpn.example.com"
        )
    if options.key_type not in KEY_TYPES:
        raise InvalidInputError(f"--key-type: {options.key_type!r} is not one of {', '.join(KEY_TYPES)}")
    for name, endpoint in (options.listen or {}).items():
        try:
            split_endpoint(endpoint)
        except ValueError as error:
            raise InvalidInputError(f"--listen-{name.removeprefix('public_')}: {error}") from None
    if options.user_base is not None and not 0 < options.user_base < 2**31:
        raise InvalidInputError("--user-base: give a number of a user")


def _fill(folder: StateFolder, options: InitOptions, owners: Owners) -> None:
    keystore: Keystore = folder.keystore
    keystore.create(owners=owners.users, group=owners.group)
    authority_keys = {authority.value: generate_key(options.key_type) for authority in Authority}
    server_key_type = "p256" if options.key_type in ("p256", "p384") else "rsa3072"
    server_keys = {process: generate_key(server_key_type) for process in _SERVER_KEYS}
    for authority, key in authority_keys.items():
        keystore.store_key("signer", authority, key)
    for process, name in _SERVER_KEYS.items():
        keystore.store_key(process, name, server_keys[process])
    addresses = PublicAddresses(options.public_url.rstrip("/"))
    previous_mask = os.umask(0o007)
    store = Store(options.database_url or folder.database_url)
    try:
        upgrade_schema(store)
        wanted = NewInstallation(options.organisation, options.public_name, addresses, authority_keys, server_keys)
        granted = create_installation(
            store,
            wanted,
            new_serial=x509.random_serial_number,
            actor=find_user_name(os.getuid()),
            now=clock.now(),
        )
        signer = LocalSigner(store, authority_keys, addresses, clock.now)
        for certificate_id in granted.values():
            signer.sign(certificate_id)
        signer.publish_revocations()
    except BaseException:
        if options.database_url:
            remove_schema(store)  # it was empty, and nobody else is told about it yet
        raise
    finally:
        store.close()
        os.umask(previous_mask)
    folder.give_database(group=owners.group)


def _write_config(path: Path, options: InitOptions, processes: Processes) -> None:
    """TOML by hand: every value is a string, and JSON's strings are TOML's."""
    lines = [
        "# Evertunnel. Restart `evertunnel serve` after a change.",
        "",
        *([f"database_url = {_quote(options.database_url)}", ""] if options.database_url else []),
        "[installation]",
        f"organisation = {_quote(options.organisation)}",
        f"public_name = {_quote(options.public_name)}",
        "# Where the world asks about revocation; written into certificates.",
        f"public_url = {_quote(options.public_url)}",
        "",
        "[listen]",
        *(f"{name} = {_quote(value)}" for name, value in (options.listen or {}).items()),
        "",
        "[processes]",
        "# The system user of each process when started as root.",
        *(f"{name} = {_quote(value)}" for name, value in processes.model_dump().items()),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(0o644)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
