"""What this Linux machine is like, as far as it can be told without guessing. What cannot be told is left out.

Reads /proc, /sys and /etc, and asks nft for the ruleset, which only root may see.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

_ROOT = Path("/")
_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# Those that run as a process of their own on Linux; the kernel shows fifteen characters of a name.
_ANTIVIRUS = frozenset(
    {"clamd", "wdavdaemon", "falcon-sensor", "falcon-sensor-b", "savd", "ds_am", "s1-agent", "esetd"}
)
_NFT_SECONDS = 5.0
_DEPTH_AT_MOST = 16
_LONGEST_TEXT = 256

Ruleset = Callable[[], str | None]


def collect_posture(root: Path = _ROOT, *, read_ruleset: Ruleset | None = None) -> dict[str, str | bool]:
    """Posture by fact name. The screen lock belongs to a desktop and its user: it is never known here."""
    release = _read_release(root)
    found: dict[str, str | bool | None] = {
        "operatingSystem": "Linux",
        "operatingSystemVersion": release.get("VERSION_ID"),
        "linux_distribution": release.get("ID"),
        "manufacturer": _read_line(root / "sys/class/dmi/id/sys_vendor"),
        "model": _read_line(root / "sys/class/dmi/id/product_name"),
        "disk_encryption": find_disk_encryption(root),
        "firewall": find_firewall(root, (read_ruleset or _read_ruleset)()),
        "secure_boot": find_secure_boot(root),
        "antivirus": find_antivirus(root),
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def find_disk_encryption(root: Path) -> bool | None:
    """Whether everything below the root file system is dm-crypt (LUKS). None: it lies on something we cannot follow."""
    for line in _read_text(root / "proc/self/mountinfo").splitlines():
        fields = line.split()
        if len(fields) < 10 or "-" not in fields or fields[4] != "/":
            continue
        kind, source = fields[fields.index("-") + 1 : fields.index("-") + 3]
        devices = _find_block_devices(root, fields[2], kind, source)
        answers = [_is_encrypted(device) for device in devices]
        if not answers or None in answers:
            return None
        return all(answers)
    return None


def find_firewall(root: Path, ruleset_json: str | None) -> bool | None:
    """Whether what comes in is refused unless a rule lets it in. Without the ruleset, ufw's word that it is on."""
    if ruleset_json is not None:
        return _refuses_input(ruleset_json)
    for line in _read_text(root / "etc/ufw/ufw.conf").splitlines():
        if line.strip().lower().replace('"', "") == "enabled=yes":
            return True
    return None


def find_secure_boot(root: Path) -> bool | None:
    """The firmware's word. A machine that did not start by UEFI has no secure boot."""
    try:
        # Four bytes of attributes, then the value.
        value = (root / _SECURE_BOOT).read_bytes()
    except OSError:
        return None if (root / "sys/firmware/efi").is_dir() or not (root / "sys/firmware").is_dir() else False
    return value[4:] == b"\x01" if len(value) == 5 else None


def find_antivirus(root: Path) -> bool | None:
    """True if one of those we know runs. There are others: not to find one says nothing."""
    for path in (root / "proc").glob("[0-9]*/comm"):
        if _read_line(path) in _ANTIVIRUS:
            return True
    return None


def _find_block_devices(root: Path, number: str, kind: str, source: str) -> list[Path]:
    """Folders in /sys of the devices a file system lies on."""
    device = root / "sys/dev/block" / number
    if kind != "btrfs":
        return [device] if device.exists() else []
    # Btrfs has a number of its own, and may lie on several devices.
    name = _resolve(root, source).name
    for folder in (root / "sys/fs/btrfs").glob("*/devices"):
        names = sorted(entry.name for entry in folder.iterdir())
        if name in names:
            return [root / "sys/class/block" / each for each in names]
    return []


def _resolve(root: Path, source: str) -> Path:
    """/dev/mapper/x is a link to /dev/dm-0."""
    path = root / source.lstrip("/")
    return path.resolve() if path.is_symlink() else path


def _is_encrypted(device: Path, depth: int = 0) -> bool | None:
    """A device is encrypted if it is a dm-crypt one, or lies on such ones only."""
    if depth > _DEPTH_AT_MOST or not device.exists():
        return None
    if _read_line(device / "dm/uuid").startswith("CRYPT-"):
        return True
    below = device / "slaves"
    answers = [_is_encrypted(slave, depth + 1) for slave in below.iterdir()] if below.is_dir() else []
    if None in answers:
        return None
    return bool(answers) and all(answers)


def _refuses_input(ruleset_json: str) -> bool | None:
    try:
        entries = json.loads(ruleset_json)["nftables"]
        chains = [entry["chain"] for entry in entries if "chain" in entry]
        rules = [entry["rule"] for entry in entries if "rule" in entry]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    for chain in chains:
        if chain.get("hook") != "input" or chain.get("type") != "filter":
            continue
        if chain.get("family") not in ("inet", "ip"):  # a table for IPv6 alone leaves IPv4 open
            continue
        if chain.get("policy") == "drop":
            return True
        own = [rule for rule in rules if all(rule.get(key) == chain.get(key) for key in ("family", "table"))]
        last = [rule for rule in own if rule.get("chain") == chain.get("name")][-1:]
        if any(_refuses_everything(rule.get("expr")) for rule in last):
            return True
    return False


def _refuses_everything(expressions: object) -> bool:
    """A rule of a verdict alone, a counter or log line aside."""
    if not isinstance(expressions, list):
        return False
    words = [word for each in expressions if isinstance(each, dict) for word in each]
    return bool({"drop", "reject"} & set(words)) and set(words) <= {"drop", "reject", "counter", "log"}


def _read_ruleset() -> str | None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if nft is None:
        return None
    try:
        done = subprocess.run(
            [nft, "-j", "list", "ruleset"], capture_output=True, text=True, timeout=_NFT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    # Older ones succeed without the right to look, and show nothing.
    return done.stdout if done.returncode == 0 and '"chain"' in done.stdout else None


def _read_release(root: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in _read_text(root / "etc/os-release").splitlines())
    return {name: value.strip().strip("\"'")[:_LONGEST_TEXT] for name, _, value in pairs}


def _read_line(path: Path) -> str:
    return _read_text(path).strip()[:_LONGEST_TEXT]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
