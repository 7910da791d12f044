"""The installation's configuration file, evertunnel.toml: the only reader of it. One clear line a mistake."""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from evertunnel.errors import InvalidInputError

FILE_NAME = "evertunnel.toml"


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
    public_http: Endpoint = "0.0.0.0:80"
    public_https: Endpoint = "0.0.0.0:443"
    gate: Endpoint = "127.0.0.1:8118"


class Processes(_Section):
    """The system user of each process: a name or a number. Used only when started as root."""

    group: str = "evertunnel"
    signer: str = "evertunnel-signer"
    radius: str = "evertunnel-radius"
    web_public: str = "evertunnel-public"
    web_admin: str = "evertunnel-admin"
    gateway: str = "evertunnel-gateway"
    gate: str = "evertunnel-gate"


class Administrators(_Section):
    """Who may use the admin socket, besides root and the owner of the state folder: user names or numbers."""

    users: list[str] = Field(default_factory=list)


class Config(_Section):
    """The whole file."""

    installation: Installation
    database_url: str = ""
    listen: Listen = Listen()
    processes: Processes = Processes()
    administrators: Administrators = Administrators()


def load_config(state_folder: Path) -> Config:
    """Read evertunnel.toml of a state folder. Raises InvalidInputError with file, place and problem."""
    path = state_folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInputError(f"{path} does not exist: run `evertunnel --state {state_folder} init` first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidInputError(f"{path}: {place}: {first['msg']}") from error


def split_endpoint(text: str) -> tuple[str, int]:
    """address:port, the address numeric; IPv6 in brackets. Raises ValueError."""
    address, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not address:port, such as 127.0.0.1:1812")
    address = address.removeprefix("[").removesuffix("]")
    ipaddress.ip_address(address)
    return address, int(port)
