"""The file of a backup: a tar of a manifest, the configuration, the database, and perhaps the keys under a passphrase.

Any tar reads it. We read it block by block and take nothing but plain members with the names, in the order and of the
sizes that its manifest gives: no long names, links or extensions, whose headers may be as large as whoever made them
likes.
"""

import hashlib
import tarfile
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, BinaryIO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evertunnel.errors import InvalidInputError

MANIFEST: Final = "manifest.json"
CONFIG: Final = "evertunnel.toml"
DATABASE: Final = "evertunnel.db"
KEYS: Final = "keys.sealed"
_SMALL_BYTES = 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_BLOCK = tarfile.BLOCKSIZE
_HASH = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Sink = Callable[[bytes], object]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Part):
    """One file."""

    name: Literal["evertunnel.toml", "evertunnel.db"]
    size: Annotated[int, Field(ge=0)]
    sha256: _HASH


class KeySeal(_Part):
    """How the key that opens the keys comes from the passphrase; one way only, so that nobody can ask for another."""

    derivation: Literal["scrypt"] = "scrypt"
    n: Literal[131072] = 131072
    r: Literal[8] = 8
    p: Literal[1] = 1
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class Manifest(_Part):
    """What is in it, and of what. `head` is the hash of the last of so many batches of records."""

    format: Literal["evertunnel backup"] = "evertunnel backup"
    format_version: Literal[1] = 1
    version: str
    database_schema: Annotated[str, Field(pattern=r"^[0-9]{4}$")]
    made_at: datetime
    organisation: str
    public_name: str
    batches: Annotated[int, Field(ge=0)]
    head: _HASH
    files: tuple[Member, Member]
    keys: KeySeal | None = None

    def encode(self) -> bytes:
        """As it stands in the archive, and as the keys are sealed to it."""
        return self.model_dump_json(indent=2).encode() + b"\n"


class ArchiveReader:
    """Reads one backup, from its beginning, as often as asked."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def verify(self, sinks: dict[str, Sink]) -> Manifest:
        """Read all of it and hold it against its manifest; contents go to the sinks of their names.

        Raises InvalidInputError in one line; the sinks may then have got something.
        """
        self._file.seek(0)
        if self._read_header() != (MANIFEST, size := self._size):
            raise InvalidInputError(f"{self._name} is no backup of evertunnel")
        if size > _SMALL_BYTES:
            raise self._changed(f"{MANIFEST} is too large")
        text = bytearray()
        self._copy(size, text.extend)
        manifest = self._parse(bytes(text))
        if [member.name for member in manifest.files] != [CONFIG, DATABASE]:
            raise self._changed("its manifest names other files")
        for member in manifest.files:
            if self._read_header() != (member.name, member.size):
                raise self._changed(f"{member.name} is missing or of another size")
            if member.name == CONFIG and member.size > _SMALL_BYTES:
                raise self._changed(f"{CONFIG} is too large")
            if self._copy(member.size, sinks.get(member.name)) != member.sha256:
                raise self._changed(f"{member.name} has another hash than its manifest says")
        if manifest.keys is not None:
            name, size = self._read_header()
            if name != KEYS or size > _SMALL_BYTES:
                raise self._changed(f"{KEYS} is missing or too large")
            self._copy(size, sinks.get(KEYS))
        if self._read_header() != ("", 0):
            raise self._changed("there is more in it than its manifest names")
        return manifest

    def _parse(self, text: bytes) -> Manifest:
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            if place in ("format", "format_version"):
                raise InvalidInputError(f"{self._name} is a backup of a format this version does not know") from error
            raise self._changed(f"its manifest cannot be read ({place or 'no JSON'})") from error
        if manifest.encode() != text:
            raise self._changed("its manifest is written in another way")
        return manifest

    def _read_header(self) -> tuple[str, int]:
        """Name and size of the next member; no name at the end."""
        block = self._file.read(_BLOCK)
        self._size = 0
        if len(block) != _BLOCK:
            raise (
                self._cut_off()
                if self._file.tell() > _BLOCK
                else InvalidInputError(f"{self._name} is no backup of evertunnel")
            )
        if not any(block):
            return "", 0
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, ValueError):
            if self._file.tell() == _BLOCK:
                raise InvalidInputError(f"{self._name} is no backup of evertunnel") from None
            raise self._changed("a header in it is damaged") from None
        if header.type != tarfile.REGTYPE or header.size < 0:
            raise self._changed("something in it is no plain file")
        self._size = header.size
        return header.name, header.size

    def _copy(self, size: int, sink: Sink | None) -> str:
        """Read a member's content; returns its SHA-256."""
        digest, left = hashlib.sha256(), size
        while left:
            chunk = self._file.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise self._cut_off()
            digest.update(chunk)
            if sink is not None:
                sink(chunk)
            left -= len(chunk)
        padding = -size % _BLOCK
        if len(self._file.read(padding)) != padding:
            raise self._cut_off()
        return digest.hexdigest()

    def _cut_off(self) -> InvalidInputError:
        return InvalidInputError(f"{self._name} is cut off: its end is missing")

    def _changed(self, problem: str) -> InvalidInputError:
        return InvalidInputError(f"{self._name} was damaged or changed: {problem}")


def write_member(file: BinaryIO, name: str, content: BinaryIO, size: int, *, made_at: datetime) -> None:
    """Append a member. Raises OSError."""
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, int(made_at.timestamp())
    file.write(header.tobuf(tarfile.GNU_FORMAT, "ascii", "strict"))
    written = 0
    while chunk := content.read(_CHUNK_BYTES):
        file.write(chunk)
        written += len(chunk)
    assert written == size
    file.write(bytes(-size % _BLOCK))


def write_end(file: BinaryIO) -> None:
    """Two empty blocks: a tar that ends without them was cut off."""
    file.write(bytes(2 * _BLOCK))
