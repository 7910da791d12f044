"""Run a command with what a unit file leaves it: the kernel's own means, without systemd as the first process.

python -m tests.interop.sandbox UNIT GROUP COMMAND... sets the capability bounding set, no new privileges, the filter of
system calls (libseccomp), no writable and executable memory, and the umask; not namespaces and read-only mounts.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 24, 38, 65
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM)
CAPABILITIES = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7,
    "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13,
}  # fmt: skip


def read_unit(path: Path) -> dict[str, list[str]]:
    """Every setting with its words; those given twice are joined."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).extend(value.split())
    return found


def expand(words: list[str]) -> set[str]:
    """The system calls of names and groups, as systemd has them."""
    found: set[str] = set()
    for word in words:
        if not word.startswith("@"):
            found.add(word)
            continue
        listed = subprocess.run(
            ["systemd-analyze", "syscall-filter", word, "--no-pager"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        found |= expand([line.strip() for line in listed[1:] if line.strip() and not line.strip().startswith("#")])
    return found


def find_allowed_calls(unit: dict[str, list[str]]) -> set[str]:
    """An allow list, and after it what is taken out again (~)."""
    words = unit["SystemCallFilter"]
    cut = next(number for number, word in enumerate(words) if word.startswith("~"))
    return expand(words[:cut]) - expand([words[cut].removeprefix("~"), *words[cut + 1 :]])


def confine(unit: dict[str, list[str]]) -> None:
    """This process and all it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    kept = {CAPABILITIES[name] for name in unit["CapabilityBoundingSet"]}
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    calls = sorted(find_allowed_calls(unit))
    for number in range(last + 1):
        if number not in kept:
            assert libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == 0
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    os.umask(int(unit.get("UMask", ["0022"])[0], 8))
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_load.argtypes = (ctypes.c_void_p,)
    seccomp.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    )  # fmt: skip
    rules = seccomp.seccomp_init(_REFUSE)
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            assert seccomp.seccomp_rule_add_array(rules, _ALLOW, number, 0, None) == 0, name
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        assert libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0) == 0, "this kernel cannot refuse writable and executable memory"
    assert seccomp.seccomp_load(rules) == 0


if __name__ == "__main__":
    settings = read_unit(Path(sys.argv[1]))
    os.setgroups([int(sys.argv[2])])
    confine(settings)
    os.execvp(sys.argv[3], sys.argv[3:])
