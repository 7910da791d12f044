"""VICI, strongSwan's control protocol: five verbs (load, list, terminate, flush, events) and nothing else.

The only module that touches the `vici` package, which has no types. Values come as bytes and leave here as text.
"""

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import vici
from vici.protocol import Message, Packet

from evertunnel.errors import UnavailableError
from evertunnel.protocols.vici import decode_message

_TIMEOUT_SECONDS = 5.0
# It takes no time, and stands before every cut: who waits for one learns soon that nobody answers.
_FLUSH_TIMEOUT_SECONDS = 1.0
_READ_BYTES = 1 << 18
# A strongSwan that is too old for it does not say when a client moves; the next look shows it.
_MOVED = "ike-update"
EVENTS = (_MOVED, "ike-updown", "ike-rekey", "child-updown", "child-rekey", "log")

Section = dict[str, Any]


class ViciConnection:
    """One connection; for one thread. Every call raises UnavailableError when strongSwan is away, slow or refuses."""

    def __init__(self, socket_path: str) -> None:
        self.path = socket_path
        self._session: Any = None

    def close(self) -> None:
        """Hang up."""
        session, self._session = self._session, None
        if session is not None:
            session.transport.socket.close()

    def verify_there(self) -> None:
        """Raise AwayError when nobody is at the socket."""
        self._connect()

    def load_certificate(self, pem: str, *, authority: bool) -> None:
        """Give it a certificate."""
        self._call("load_cert", {"type": "X509", "flag": "CA" if authority else "NONE", "data": pem})

    def load_key(self, pem: str) -> str:
        """Give it a private key; returns the name to take it back by."""
        return str(self._call("load_key", {"type": "any", "data": pem})["id"])

    def unload_key(self, key_id: str) -> None:
        """Take a private key back."""
        self._call("unload_key", {"id": key_id})

    def load_connection(self, name: str, connection: Mapping[str, Any]) -> None:
        """Add or replace a connection."""
        self._call("load_conn", {name: connection})

    def load_pool(self, name: str, pool: Mapping[str, Any]) -> None:
        """Add or replace an address pool."""
        self._call("load_pool", {name: pool})

    def load_authority(self, name: str, authority: Mapping[str, Any]) -> None:
        """Add or replace what is known of an authority."""
        self._call("load_authority", {name: authority})

    def list_tunnels(self, unique_id: int | None = None, *, children: bool = True) -> Iterable[Section]:
        """All IKE_SAs, half-open ones included, or the one of a number. Each has its connection's name as `name`.

        Without `children` an entry is read up to them, which is half of it: strongSwan says them last.

        Waits for those that are being worked on: the key `noblock`, whatever its value, would leave them out.
        """
        filters = {} if unique_id is None else {"ike-id": str(unique_id)}
        entries = self._stream("list-sas", "list-sa", filters, until="" if children else "child-sas")
        return ({"name": name, **section} for entry in entries for name, section in entry.items())

    def list_loaded(self) -> dict[str, dict[str, Section]]:
        """What it holds of what it was told, by kind (connection, pool, authority, key) and name."""
        connections = {name: section for entry in self._collect("list_conns", {}) for name, section in entry.items()}
        authorities = {
            name: section for entry in self._collect("list_authorities", {}) for name, section in entry.items()
        }
        # Leases come and go; the rest of a pool stays as it was loaded.
        pools = {
            name: {key: pool[key] for key in ("base", "size")} for name, pool in self._call("get_pools", {}).items()
        }
        keys: dict[str, Section] = {key_id: {} for key_id in self._call("get_keys").get("keys", [])}
        return {"connection": connections, "pool": pools, "authority": authorities, "key": keys}

    def find_own_certificate(self, subject: str) -> bool:
        """Whether it holds a certificate of this subject together with its private key."""
        return any(entry.get("has_privkey") == "yes" for entry in self._collect("list_certs", {"subject": subject}))

    def list_connections(self) -> list[str]:
        """Names of loaded connections."""
        return [name for entry in self._collect("list_conns", {}) for name in entry]

    def terminate(self, unique_id: int, *, farewell_ms: int = 0) -> None:
        """End an IKE_SA now, or after the peer had `farewell_ms` to agree. One that is gone already is fine.

        One that is ended at once amid another exchange goes without a word: its peer keeps it until it looks for life.
        """
        timeout = str(farewell_ms) if farewell_ms else "-1"
        try:
            self._collect(
                "terminate",
                {"ike-id": str(unique_id), "force": "yes", "timeout": timeout, "loglevel": "-1"},
                answer_within=farewell_ms / 1000 + _TIMEOUT_SECONDS,
            )
        except _RefusedError as error:
            if "no matching" in str(error):
                return
            if not farewell_ms:
                raise
            self.terminate(unique_id)  # the peer said nothing

    def terminate_each(self, unique_ids: Sequence[int]) -> None:
        """The same for many."""
        for unique_id in unique_ids:
            self.terminate(unique_id)

    def initiate(self, connection: str, *, timeout_ms: int) -> None:
        """Bring the child `net` of a connection up and wait for it. Raises UnavailableError when it does not come."""
        self._collect(
            "initiate",
            {"ike": connection, "child": "net", "timeout": str(timeout_ms), "loglevel": "-1"},
            answer_within=timeout_ms / 1000 + _TIMEOUT_SECONDS,
        )

    def unload_connection(self, name: str) -> None:
        """Forget a connection."""
        self._call("unload_conn", {"name": name})

    def reload_settings(self) -> None:
        """Have it read strongswan.conf again, and its plugins what they take from there."""
        self._call("reload_settings")

    def flush_certificates(self) -> None:
        """Forget cached certificates, OCSP answers and CRLs."""
        self._call("flush_certs", {}, answer_within=_FLUSH_TIMEOUT_SECONDS)

    def read_statistics(self) -> Section:
        """Uptime, numbers of threads and of IKE_SAs."""
        found = self._call("stats")
        assert isinstance(found, dict)
        return found

    def listen(self, *, timeout_seconds: float) -> Iterator[tuple[str, Section] | None]:
        """Events as they come; None whenever `timeout_seconds` passed without one. Ends only by raising."""
        session = self._connect()
        try:
            try:
                yield from _listen(session, EVENTS, timeout_seconds)
            except vici.exception.EventUnknownException:
                # Asked for first, so nothing else was registered yet.
                yield from _listen(session, EVENTS[1:], timeout_seconds)
        except Exception as error:  # the package raises many types when the peer goes away
            self.close()
            raise AwayError(f"strongSwan at {self.path} hung up: {error}") from error

    def _call(self, command: str, *arguments: Any, answer_within: float = _TIMEOUT_SECONDS) -> Any:
        session = self._connect()
        session.transport.socket.settimeout(answer_within)
        try:
            return _decode(getattr(session, command)(*arguments))
        except vici.exception.CommandException as error:
            raise _RefusedError(f"strongSwan refused {command}: {error}") from error
        except Exception as error:  # a broken connection shows itself in many ways; none may be used again
            self.close()
            raise AwayError(f"strongSwan at {self.path} does not answer: {error}") from error

    def _collect(self, command: str, argument: Any, *, answer_within: float = _TIMEOUT_SECONDS) -> list[Any]:
        session = self._connect()
        session.transport.socket.settimeout(answer_within)
        try:
            return [_decode(entry) for entry in getattr(session, command)(argument)]
        except vici.exception.CommandException as error:
            raise _RefusedError(f"strongSwan refused {command}: {error}") from error
        except Exception as error:
            self.close()
            raise AwayError(f"strongSwan at {self.path} does not answer: {error}") from error

    def _stream(self, command: str, event: str, argument: Mapping[str, str], *, until: str) -> Iterator[Section]:
        """As `_collect`, for answers that may be very long: all of it is read, and then decoded one by one.

        Each is decoded up to the section `until`, if that is named.
        """
        transport = self._connect().transport
        transport.socket.settimeout(_TIMEOUT_SECONDS)
        try:
            transport.send(Packet.register_event(event))
            transport.receive()
            transport.send(Packet.request(command, Message.serialize(argument)))
            payloads = []
            with transport.socket.makefile("rb", buffering=_READ_BYTES) as answers:
                while (payload := _read_payload(answers))[0] == Packet.EVENT:
                    payloads.append(payload)
            if payload[0] != Packet.CMD_RESPONSE:
                raise _RefusedError(f"strongSwan does not know {command}")
            transport.send(Packet.unregister_event(event))
            transport.receive()
        except Exception as error:
            self.close()
            raise AwayError(f"strongSwan at {self.path} does not answer: {error}") from error
        return (decode_message(payload, 2 + payload[1], until=until) for payload in payloads)

    def _connect(self) -> Any:
        if self._session is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(_TIMEOUT_SECONDS)
            try:
                connection.connect(self.path)
            except BlockingIOError as error:  # a Unix socket does not wait: nobody takes those who queue before it
                connection.close()
                raise AwayError(f"strongSwan at {self.path} does not answer: its queue is full") from error
            except OSError as error:
                connection.close()
                raise AwayError(f"strongSwan at {self.path} cannot be reached: {error.strerror}") from error
            self._session = vici.Session(connection)
        return self._session


class AwayError(UnavailableError):
    """strongSwan gave no answer at all."""


class _RefusedError(UnavailableError):
    """strongSwan answered, and the answer was no."""


def _listen(session: Any, events: Sequence[str], timeout_seconds: float) -> Iterator[tuple[str, Section] | None]:
    for name, message in session.listen(events, timeout=timeout_seconds):
        yield None if name is None else (_text(name), _decode(message))


def _read_payload(answers: BinaryIO) -> bytes:
    head = answers.read(4)
    payload = answers.read(int.from_bytes(head)) if len(head) == 4 else b""
    if not payload:
        raise EOFError("it hung up")
    return payload


def _decode(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_text(key): _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return _text(value) if isinstance(value, (bytes, str)) else value


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
