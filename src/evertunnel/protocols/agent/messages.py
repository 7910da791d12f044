"""Messages between server and agent, as JSON. Every field is bounded; what is not named here is refused.

The server asks (load, list, terminate, flush) and the agent replies; the agent tells events and asks the gate. Nothing
in a message is a command, a path or a piece of configuration: a gateway is described, and its agent makes strongSwan's
connections from that by itself.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from evertunnel.protocols.agent.frames import FrameError

# Both ends must have the same. What came later is agreed in ALPN, of which an end from before says and hears nothing:
# it goes on without, whichever of the two is the older one.
VERSION = 1
REVISION = "evertunnel-agent-1.1"
_SINCE_REVISION = frozenset({"ike-update"})
# Tunnels in one reply, and numbers in one request: a listing of ten thousand comes in parts.
TUNNELS_AT_ONCE = 400
EVENTS_AT_ONCE = 100

# No text has a NUL: PostgreSQL takes none.
_Short = Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")]
_Text = Annotated[str, Field(max_length=600, pattern=r"^[^\x00]*$")]
_Pem = Annotated[
    str,
    Field(max_length=16_000, pattern=r"^-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n$"),
]
_Host = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9.:-]+$")]
_Network = Annotated[str, Field(max_length=64, pattern=r"^[0-9A-Fa-f.:/]+$")]
_Name = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9.-]+$")]
_Networks = Annotated[list[_Network], Field(max_length=500)]
_Port = Annotated[int, Field(gt=0, lt=65536)]
_Number = Annotated[int, Field(ge=0, lt=2**63)]
_Request = Annotated[bytes, Field(max_length=8192)]


class Message(BaseModel):
    """What all share."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
    )


class Settings(Message):
    """What the gateway gives to clients."""

    device_pool: _Network
    user_pool: _Network
    device_networks: _Networks
    user_networks: _Networks
    dns: _Networks = []
    local_addresses: _Networks = []
    encap: bool = False
    device_lifetime_seconds: Annotated[int, Field(ge=1, lt=2**31)] = 28_800


class Configuration(Message):
    """A gateway, described: everything its agent makes strongSwan's configuration from."""

    name: _Name
    public_name: _Name
    certificate_pem: _Pem
    chain_pem: Annotated[list[_Pem], Field(max_length=4)]
    device_authority_pem: _Pem
    agent_certificate_pem: _Pem
    settings: Settings
    radius_address: _Host
    radius_port: _Port
    accounting_port: _Port
    radius_secret: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]


# From the server.


class Hello(Message):
    """The server's first words to whoever dialled."""

    kind: Literal["hello"] = "hello"
    version: int
    root_pem: _Pem
    time: datetime


class Refused(Message):
    """No. `gone`: the gateway was removed or the agent's certificate taken away; end every tunnel, do not come back."""

    kind: Literal["refused"] = "refused"
    text: _Text
    gone: bool = False


class Enrolled(Message):
    """What a new agent needs."""

    kind: Literal["enrolled"] = "enrolled"
    gateway: _Name
    agent_certificate_pem: _Pem
    gateway_certificate_pem: _Pem
    issuer_pem: _Pem


class Welcome(Message):
    """The agent is known, and its gateway is looked after from now on."""

    kind: Literal["welcome"] = "welcome"
    gateway: _Name


class Load(Message):
    """Be so."""

    kind: Literal["load"] = "load"
    id: _Number
    configuration: Configuration


class List(Message):
    """Which tunnels are there: all, or the one of a number."""

    kind: Literal["list"] = "list"
    id: _Number
    number: _Number | None = None


class Deadline(Message):
    """When a tunnel is to end, however nobody says so again."""

    number: _Number
    spis: _Short
    seconds: Annotated[int, Field(ge=0, lt=2**31)]


class Terminate(Message):
    """End tunnels now, and others later."""

    kind: Literal["terminate"] = "terminate"
    id: _Number
    numbers: Annotated[list[_Number], Field(max_length=TUNNELS_AT_ONCE)] = []
    later: Annotated[list[Deadline], Field(max_length=TUNNELS_AT_ONCE)] = []


class Flush(Message):
    """Forget what is remembered of certificates."""

    kind: Literal["flush"] = "flush"
    id: _Number


class GateAnswer(Message):
    """What the gate said; None: nothing that can be passed on, so the device is refused."""

    kind: Literal["gate-answer"] = "gate-answer"
    id: _Number
    answer_der: _Request | None = None


# From the agent.


class Enrol(Message):
    """A new agent with its code's secret and two requests, each signed by a key that stays there."""

    kind: Literal["enrol"] = "enrol"
    version: int
    secret: Annotated[bytes, Field(max_length=64)]
    agent_request_der: _Request
    gateway_request_der: _Request


class Begin(Message):
    """An agent that proved its certificate in TLS."""

    kind: Literal["begin"] = "begin"
    version: int
    time: datetime


class Child(Message):
    """A CHILD_SA, as far as anybody here reads it."""

    spi_in: _Short = Field("", alias="spi-in")
    spi_out: _Short = Field("", alias="spi-out")
    bytes_in: _Short = Field("0", alias="bytes-in", pattern=r"^[0-9]{1,20}$")
    bytes_out: _Short = Field("0", alias="bytes-out", pattern=r"^[0-9]{1,20}$")
    state: _Short = ""


class Children(Message):
    """A child, or two while one takes the other's place."""

    old: Child
    new: Child | None = None


class TunnelSection(Message):
    """An IKE_SA of one of our connections, as far as anybody here reads it."""

    name: _Short = ""
    uniqueid: _Short = Field("0", pattern=r"^[0-9]{1,18}$")
    state: _Short = ""
    initiator_spi: _Short = Field("", alias="initiator-spi")
    responder_spi: _Short = Field("", alias="responder-spi")
    remote_host: _Short = Field("", alias="remote-host")
    remote_id: _Text = Field("", alias="remote-id")
    remote_eap_id: _Text = Field("", alias="remote-eap-id")
    remote_vips: Annotated[list[_Short], Field(max_length=16)] = Field([], alias="remote-vips")
    child_sas: Annotated[dict[_Short, Child | Children], Field(max_length=64)] = Field({}, alias="child-sas")


class Event(Message):
    """Something strongSwan reported. `old` is there for an `ike-rekey`; `line` for a `log`, and then no tunnel."""

    name: Literal["ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey", "log"]
    up: bool = False
    tunnel: TunnelSection | None = None
    old: TunnelSection | None = None
    group: _Short = ""
    number: Annotated[str, Field(pattern=r"^[0-9]{0,18}$")] = ""
    line: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] = ""


class Events(Message):
    """What happened, in its order. `lost` says that there was more than was kept; `fresh` that strongSwan is."""

    kind: Literal["events"] = "events"
    events: Annotated[list[Event], Field(max_length=EVENTS_AT_ONCE)] = []
    lost: bool = False
    away: _Text = ""
    fresh: bool = False


def without_revision(events: Events) -> Events:
    """The same without what a server from before the revision hangs up over. A look at the gateway shows it, later."""
    kept = [event for event in events.events if event.name not in _SINCE_REVISION]
    return events if len(kept) == len(events.events) else events.model_copy(update={"events": kept})


class Reply(Message):
    """To something the server asked. `more` says that another part of it follows."""

    kind: Literal["reply"] = "reply"
    id: _Number
    error: _Text = ""
    away: bool = False
    tunnels: Annotated[list[TunnelSection], Field(max_length=TUNNELS_AT_ONCE)] = []
    more: bool = False


class GateQuestion(Message):
    """An OCSP request that strongSwan made; the server knows which gateway it is from."""

    kind: Literal["gate-question"] = "gate-question"
    id: _Number
    request_der: _Request


class Beat(Message):
    """Nothing; a connection that is dead shows so."""

    kind: Literal["beat"] = "beat"


FromServer = Hello | Refused | Enrolled | Welcome | Load | List | Terminate | Flush | GateAnswer | Beat
FromAgent = Enrol | Begin | Events | Reply | GateQuestion | Beat
Asked = Load | List | Terminate | Flush

_Kind = TypeVar("_Kind")

_FROM_SERVER: TypeAdapter[FromServer] = TypeAdapter(Annotated[FromServer, Field(discriminator="kind")])
_FROM_AGENT: TypeAdapter[FromAgent] = TypeAdapter(Annotated[FromAgent, Field(discriminator="kind")])


def encode_message(message: Message) -> bytes:
    """JSON."""
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()


def decode_from_server(data: bytes) -> FromServer:
    """Raises FrameError for anything but a message of the server."""
    return _decode(_FROM_SERVER, data)


def decode_from_agent(data: bytes) -> FromAgent:
    """Raises FrameError for anything but a message of an agent."""
    return _decode(_FROM_AGENT, data)


def _decode(adapter: TypeAdapter[_Kind], data: bytes) -> _Kind:
    try:
        return adapter.validate_json(data)
    except (ValidationError, RecursionError) as error:
        raise FrameError(f"a message cannot be understood: {_explain(error)}") from None


def _explain(error: Exception) -> str:
    """Where and what, in one line, without what was sent: it may hold secrets, and be hostile."""
    if not isinstance(error, ValidationError):
        return "it is nested too deep"
    first: Any = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(re.sub(r"[^A-Za-z0-9_-]", "?", str(part))[:40] for part in first["loc"][:6])
    return f"{place or 'the whole'}: {re.sub(r'[^ -~]', '?', first['type'])[:60]}"
