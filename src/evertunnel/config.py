"""The installation's configuration file, evertunnel.toml: the only reader of it. One clear line a mistake."""

import ipaddress
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.model import RADIUS_WORKERS_AT_MOST

FILE_NAME = "evertunnel.toml"
# pydantic's words are for programmers.
_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is not a setting; is it a typing error, or in the wrong section?",
    "string_type": 'must be a text in quotes, such as "x"',
    "int_type": "must be a whole number, without quotes",
    "greater_than_equal": "must be 1 at least",
    "list_type": 'must be a list of texts, such as ["x", "y"]',
    "model_type": "must be a section, such as [listen]",
}
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


def _verify_endpoint(text: str) -> str:
    split_endpoint(text)
    return text


Endpoint = Annotated[str, AfterValidator(_verify_endpoint)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Installation(_Section):
    """What the installation is called inside certificates, and where the world finds it."""

    organisation: str
    public_name: str
    public_url: str


class Listen(_Section):
    """Where the processes listen, as address:port."""

    radius: Endpoint = "127.0.0.1:1812"
    accounting: Endpoint | None = None
    public_http: Endpoint = "0.0.0.0:80"
    public_https: Endpoint = "0.0.0.0:443"
    gate: Endpoint = "127.0.0.1:8118"
    agents: Endpoint | None = None
    radsec: Endpoint | None = None

    @property
    def optional_processes(self) -> tuple[str, ...]:
        """Those that run only where they are given something to listen on."""
        return tuple(name for name in ("agents", "radsec") if getattr(self, name) is not None)

    @property
    def accounting_endpoint(self) -> str:
        """Unless it is set, the port after that of `radius`, as 1813 comes after 1812."""
        host, _, port = self.radius.rpartition(":")
        return self.accounting or f"{host}:{int(port) + 1}"

    @model_validator(mode="after")
    def _verify_accounting(self) -> Self:
        address, _ = split_endpoint(self.accounting_endpoint)
        if address != split_endpoint(self.radius)[0]:
            raise ValueError("accounting must have the address of radius: gateways ask both at one")
        return self


class Processes(_Section):
    """The system user of each process: a name or a number. Used only when started as root."""

    group: str = "evertunnel"
    signer: str = "evertunnel-signer"
    radius: str = "evertunnel-radius"
    web_public: str = "evertunnel-public"
    web_admin: str = "evertunnel-admin"
    gateway: str = "evertunnel-gateway"
    gate: str = "evertunnel-gate"
    agents: str = "evertunnel-agents"
    radsec: str = "evertunnel-radsec"


class Administrators(_Section):
    """Who may use the admin socket, besides root and the owner of the state folder: user names or numbers."""

    users: list[str] = Field(default_factory=list)


class Keys(_Section):
    """Where the key that seals secrets in the database is: set by `evertunnel keys seal-with`."""

    sealing: Literal["file", "credential", "passphrase"] = "file"


class Config(_Section):
    """The whole file. Without `radius_workers` there are as many as cores that may be used.

    New logins go to one of them while it has time left, or always to `all`. With `radius_resumption` a client may go on
    with its TLS session of EAP-TLS within the hour, if it would be let in anew.
    Of one address, `radius_failures_per_minute` logins a gateway may fail before any proof. `country_database` is a
    MaxMind-format file; a relative path begins at the state folder. A change of policies that would end more
    than `cut_at_most_percent` of the live sessions asks first.
    """

    installation: Installation
    database_url: str = ""
    radius_workers: Annotated[int, Field(strict=True, ge=1, le=RADIUS_WORKERS_AT_MOST)] | None = None
    radius_workers_awake: Literal["needed", "all"] = "needed"
    radius_resumption: bool = True
    radius_failures_per_minute: Annotated[int, Field(strict=True, ge=1)] = 60
    country_database: str = ""
    cut_at_most_percent: Annotated[int, Field(strict=True, ge=0, le=100)] = 20
    listen: Listen = Field(default_factory=Listen)
    processes: Processes = Processes()
    administrators: Administrators = Administrators()
    keys: Keys = Keys()


def load_config(state_folder: Path) -> Config:
    """Read evertunnel.toml of a state folder. Raises InvalidInputError with file, place and problem."""
    path = state_folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInputError(f"{path} does not exist: run `evertunnel --state {state_folder} init` first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    return parse_config(text, str(path))


def parse_config(text: str, path: str) -> Config:
    """The configuration in a text; `path` says where it is from. Raises InvalidInputError."""
    try:
        return Config.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        problem = _PROBLEMS.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise InvalidInputError(f"{path}: {place}: {problem}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, a number too long for Python, brackets in brackets
        raise InvalidInputError(f"{path}: {error}") from error


def store_database_url(state_folder: Path, url: str) -> None:
    """Name another database in the file; everything else in it stays, comments included. Raises UnavailableError."""
    path = state_folder / FILE_NAME
    line = f"database_url = {json.dumps(url)}\n"
    try:
        text = path.read_text(encoding="utf-8")
        head, section, rest = f"\n{text}".partition("\n[")  # settings of no section stand before the first one
        head, count = re.subn(r"(?m)^\s*database_url\s*=.*\n?", lambda _match: line, head + "\n", count=1)
        head = head if count else f"{head.rstrip()}\n\n{line}"
        temporary = path.with_name(FILE_NAME + ".new")
        temporary.write_text((head + section + rest).lstrip("\n"), encoding="utf-8")
        shutil.copystat(path, temporary)
        temporary.replace(path)
    except OSError as error:
        raise UnavailableError(f"the state was copied, but {path} cannot be written ({error}): add {line}") from error


def split_endpoint(text: str) -> tuple[str, int]:
    """address:port, the address numeric; IPv6 in brackets. Raises ValueError."""
    address, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not address:port, such as 127.0.0.1:1812 or [::1]:1812")
    bracketed = address.startswith("[") and address.endswith("]")
    try:
        parsed = ipaddress.ip_address(address[1:-1] if bracketed else address)
    except ValueError:
        raise ValueError(f"{text!r} does not begin with a numeric address, such as 127.0.0.1:1812") from None
    if bracketed != (parsed.version == 6):
        raise ValueError(f"{text!r}: an IPv6 address, and no other, stands in brackets, such as [::1]:1812")
    return str(parsed), int(port)
