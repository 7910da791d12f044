"""Registry hives, made and read through hivex: a reader of Windows' registry that knows nothing of ours."""

import os
import shutil
import struct
import subprocess
from functools import reduce
from pathlib import Path

TOOL = "hivexregedit"
_NONE = 0xFFFFFFFF
_BLOCK = 4096


def build_empty_hive() -> bytes:
    """The smallest hive that hivex opens for writing: a header, a root key, its security descriptor, free space.

    Layout: the regf format as in hivex's own headers; cells begin with their size, negative when they are in use.
    """
    name = b"root"
    security = struct.pack("<4sIIII", b"sk\0\0", 0x80, 0x80, 1, 20) + struct.pack("<BBHIIII", 1, 0, 0x8000, 0, 0, 0, 0)
    key = struct.pack(
        "<2sHQIIIIIIIIIIIIIIIHH", b"nk", 0x2C, 0, 0, _NONE, 0, 0, _NONE, _NONE, 0, _NONE, 0x80, _NONE, 0, 0, 0, 0, 0,
        len(name), 0,
    )  # fmt: skip
    root = struct.pack("<i", -0x60) + (key + name).ljust(0x5C, b"\0")
    guard = struct.pack("<i", -0x30) + security.ljust(0x2C, b"\0")
    cells = root + guard
    free = _BLOCK - 32 - len(cells)
    block = struct.pack("<4sIIQQI", b"hbin", 0, _BLOCK, 0, 0, 0) + cells + struct.pack("<i", free).ljust(free, b"\0")
    header = struct.pack("<4sIIQIIIIIII", b"regf", 1, 1, 0, 1, 3, 0, 1, 0x20, _BLOCK, 1).ljust(508, b"\0")
    checksum = reduce(lambda sum_, word: sum_ ^ word, struct.unpack("<127I", header))
    assert len(block) == _BLOCK
    return (header + struct.pack("<I", checksum)).ljust(_BLOCK, b"\0") + block


def merge(folder: Path, text: str, prefix: str) -> str:
    """The hive after merging a .reg file, as hivexregedit exports it below `prefix`."""
    assert shutil.which(TOOL), f"{TOOL} is missing: make test installs it (Debian package libwin-hivex-perl)"
    hive, source = folder / "hive", folder / "source.reg"
    hive.write_bytes(build_empty_hive())
    source.write_text(text, encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PERL_UNICODE": ""}
    command = [TOOL, "--merge", "--prefix", prefix, "--encoding", "UTF-16LE", str(hive), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [TOOL, "--export", "--prefix", prefix, str(hive), "\\"], capture_output=True, env=environment, check=True
    )
    # The hive's own root is exported as a key without a name.
    return done.stdout.decode().replace(f"[{prefix}\\]\n", "", 1)


def list_parents(keys: list[str]) -> str:
    """A .reg file that makes the keys above `keys`; hivexregedit does not."""
    parents: dict[str, str] = {}
    for key in keys:
        parts = key.split("\\")
        for count in range(2, len(parts)):
            parents.setdefault("\\".join(parts[:count]).lower(), "\\".join(parts[:count]))
    return "".join(f"[{parent}]\n\n" for parent in parents.values())
