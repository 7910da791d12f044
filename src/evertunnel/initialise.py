"""`evertunnel init`: a state folder, keys, database, authorities and first certificates, all or nothing."""

import grp
import json
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from evertunnel import clock
from evertunnel.actions.create_installation import NewInstallation, create_installation
from evertunnel.config import FILE_NAME, Processes
from evertunnel.errors import InvalidInputError
from evertunnel.keystore import Keystore
from evertunnel.model import Authority
from evertunnel.pki.issuance import PublicAddresses
from evertunnel.pki.keys import generate_key
from evertunnel.pki.names import verify_dns_name
from evertunnel.privileges import find_group_id, find_user_id
from evertunnel.signer import LocalSigner
from evertunnel.state_folder import StateFolder
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.store import Store

# The processes that own a folder of keys.
_KEY_OWNERS = ("signer", "radius", "web-public", "gateway")
# Which key each of our TLS servers has.
_SERVER_KEYS = {"radius": "policy-server", "web-public": "https"}


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What the administrator chose. `user_base` makes numbered users instead of named ones (the lab)."""

    organisation: str
    public_name: str
    public_url: str
    key_type: str = "p256"
    listen: dict[str, str] | None = None
    user_base: int | None = None


def initialise(folder: StateFolder, options: InitOptions, *, actor: str) -> None:
    """Make an installation. Raises InvalidInputError; a folder made half is removed again."""
    verify_dns_name(options.public_name)
    if not options.organisation.strip() or not options.organisation.isprintable():
        raise InvalidInputError("--organisation: give a printable name")
    existed = folder.path.exists()
    processes = _build_processes(options.user_base)
    as_root = os.geteuid() == 0
    if as_root and options.user_base is None:
        _ensure_accounts(processes)
    users = {
        name: find_user_id(getattr(processes, name.replace("-", "_"))) if as_root else os.geteuid()
        for name in (*_KEY_OWNERS, "web-admin", "gate")
    }
    group = find_group_id(processes.group) if as_root else os.getegid()
    folder.create(group=group, gateway_owner=users["gateway"])
    try:
        _write_config(folder.path / FILE_NAME, options, processes)
        _fill(folder, options, users, group, actor)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        if existed:
            folder.path.mkdir(exist_ok=True)
        raise


def _fill(folder: StateFolder, options: InitOptions, users: dict[str, int], group: int, actor: str) -> None:
    keystore: Keystore = folder.keystore
    keystore.create(owners={name: users[name] for name in _KEY_OWNERS}, group=group)
    authority_keys = {authority: generate_key(options.key_type) for authority in Authority}
    server_key_type = "p256" if options.key_type in ("p256", "p384") else "rsa3072"
    server_keys = {process: generate_key(server_key_type) for process in _SERVER_KEYS}
    for authority, key in authority_keys.items():
        keystore.store_key("signer", authority.value, key)
    for process, name in _SERVER_KEYS.items():
        keystore.store_key(process, name, server_keys[process])
    addresses = PublicAddresses(options.public_url.rstrip("/"))
    previous_mask = os.umask(0o007)
    store = Store(folder.database_url)
    try:
        upgrade_schema(store)
        wanted = NewInstallation(options.organisation, options.public_name, addresses, authority_keys, server_keys)
        granted = create_installation(store, wanted, new_serial=x509.random_serial_number, actor=actor, now=clock.now())
        signer = LocalSigner(store, authority_keys, addresses, clock.now)
        for certificate_id in granted.values():
            signer.sign(certificate_id)
        signer.publish_revocations()
    finally:
        store.close()
        os.umask(previous_mask)
    for path in (folder.path / "data").iterdir():
        os.chown(path, -1, group)
        path.chmod(0o660)


def _build_processes(user_base: int | None) -> Processes:
    if user_base is None:
        return Processes()
    names = ("group", "signer", "radius", "web_public", "web_admin", "gateway", "gate")
    return Processes(**{name: str(user_base + offset) for offset, name in enumerate(names)})


def _ensure_accounts(processes: Processes) -> None:
    """System accounts without a shell or home, one a process; the group they share."""
    group = processes.group
    try:
        grp.getgrnam(group)
    except KeyError:
        _run("groupadd", "--system", group)
    for field in ("signer", "radius", "web_public", "web_admin", "gateway", "gate"):
        name = getattr(processes, field)
        try:
            pwd.getpwnam(name)
        except KeyError:
            _run(
                "useradd", "--system", "--gid", group, "--no-create-home", "--home-dir", "/nonexistent",
                "--shell", "/usr/sbin/nologin", name,
            )  # fmt: skip


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise InvalidInputError(f"{' '.join(command)} failed: {detail.strip()}") from error


def _write_config(path: Path, options: InitOptions, processes: Processes) -> None:
    """TOML by hand: every value is a string, and JSON's strings are TOML's."""
    lines = [
        "# Evertunnel. Restart `evertunnel serve` after a change.",
        "",
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
