"""What a Linux machine says of itself, from trees of /sys and /proc as they are on real ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from evertunnel.actions.report_posture import read_posture
from evertunnel.connector.posture import (
    collect_posture,
    find_antivirus,
    find_disk_encryption,
    find_firewall,
    find_secure_boot,
)

SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def write(root: Path, path: str, content: str | bytes = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def mount(root: Path, number: str, kind: str, source: str) -> None:
    lines = [
        "22 60 0:21 / /proc rw,nosuid shared:12 - proc proc rw",
        f"60 1 {number} / / rw,relatime shared:1 - {kind} {source} rw",
    ]
    write(root, "proc/self/mountinfo", "\n".join(lines) + "\n")


def add_device(root: Path, name: str, number: str, *, uuid: str = "", below: tuple[str, ...] = ()) -> None:
    """A block device as /sys shows it: by name and by number, its slaves as links."""
    device = root / "sys/class/block" / name
    device.mkdir(parents=True)
    if uuid:
        write(device, "dm/uuid", uuid + "\n")
    (device / "slaves").mkdir()
    for each in below:
        (device / "slaves" / each).symlink_to(root / "sys/class/block" / each)
    by_number = root / "sys/dev/block"
    by_number.mkdir(parents=True, exist_ok=True)
    (by_number / number).symlink_to(device)


def test_a_root_on_luks_is_encrypted(tmp_path: Path) -> None:
    mount(tmp_path, "253:0", "ext4", "/dev/mapper/root")
    add_device(tmp_path, "sda3", "8:3")
    add_device(tmp_path, "dm-0", "253:0", uuid="CRYPT-LUKS2-abc-root", below=("sda3",))
    assert find_disk_encryption(tmp_path) is True


def test_volumes_on_luks_are_and_volumes_half_on_it_are_not(tmp_path: Path) -> None:
    mount(tmp_path, "253:2", "xfs", "/dev/mapper/vg-root")
    add_device(tmp_path, "sda3", "8:3")
    add_device(tmp_path, "sdb1", "8:17")
    add_device(tmp_path, "dm-0", "253:0", uuid="CRYPT-LUKS2-abc-pv", below=("sda3",))
    add_device(tmp_path, "dm-2", "253:2", uuid="LVM-xyz", below=("dm-0",))
    assert find_disk_encryption(tmp_path) is True
    (tmp_path / "sys/class/block/dm-2/slaves/sdb1").symlink_to(tmp_path / "sys/class/block/sdb1")
    assert find_disk_encryption(tmp_path) is False


def test_a_plain_partition_is_not(tmp_path: Path) -> None:
    mount(tmp_path, "8:2", "ext4", "/dev/sda2")
    add_device(tmp_path, "sda2", "8:2")
    assert find_disk_encryption(tmp_path) is False


def test_all_devices_of_a_btrfs_count(tmp_path: Path) -> None:
    mount(tmp_path, "0:33", "btrfs", "/dev/mapper/root")
    add_device(tmp_path, "dm-0", "253:0", uuid="CRYPT-LUKS2-abc-root")
    add_device(tmp_path, "sdb1", "8:17")
    write(tmp_path, "dev/dm-0")
    (tmp_path / "dev/mapper").mkdir()
    (tmp_path / "dev/mapper/root").symlink_to("../dm-0")
    devices = tmp_path / "sys/fs/btrfs/uuid/devices"
    devices.mkdir(parents=True)
    (devices / "dm-0").symlink_to(tmp_path / "sys/class/block/dm-0")
    assert find_disk_encryption(tmp_path) is True
    (devices / "sdb1").symlink_to(tmp_path / "sys/class/block/sdb1")
    assert find_disk_encryption(tmp_path) is False


@pytest.mark.parametrize("kind", ["overlay", "zfs", "nfs4", "tmpfs", "btrfs"])
def test_what_cannot_be_followed_is_unknown(tmp_path: Path, kind: str) -> None:
    assert find_disk_encryption(tmp_path) is None
    mount(tmp_path, "0:30", kind, "pool/root")
    assert find_disk_encryption(tmp_path) is None


def test_a_ring_of_devices_ends(tmp_path: Path) -> None:
    mount(tmp_path, "253:0", "ext4", "/dev/mapper/root")
    add_device(tmp_path, "dm-0", "253:0", below=("dm-0",))
    assert find_disk_encryption(tmp_path) is None


def ruleset(policy: str | None = "accept", *rules: list[Any], family: str = "inet", hook: str = "input") -> str:
    chain = {"family": family, "table": "filter", "name": "input", "handle": 1, "type": "filter", "hook": hook,
             "prio": 0, "policy": policy}  # fmt: skip
    own = [{"rule": {"family": family, "table": "filter", "chain": "input", "expr": expr}} for expr in rules]
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, {"chain": chain}, *own]})


MATCH = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}


@pytest.mark.parametrize(
    ("text", "on"),
    [
        (ruleset("drop"), True),
        (ruleset("accept"), False),
        (ruleset("accept", [MATCH, {"accept": None}], [{"counter": {}}, {"reject": None}]), True),
        (ruleset("accept", [{"reject": None}], [MATCH, {"accept": None}]), False),
        (ruleset("accept", [MATCH, {"drop": None}]), False),
        (ruleset("drop", family="ip6"), False),
        (ruleset("drop", hook="forward"), False),
        ('{"nftables": []}', False),
        ("nonsense", None),
        ("[]", None),
    ],
)
def test_the_firewall_by_its_rules(tmp_path: Path, text: str, on: bool | None) -> None:
    write(tmp_path, "etc/ufw/ufw.conf", "ENABLED=yes\n")
    assert find_firewall(tmp_path, text) is on


@pytest.mark.parametrize(("line", "on"), [("ENABLED=yes", True), ("ENABLED=no", None), ("#ENABLED=yes", None)])
def test_without_the_rules_ufw_is_believed_when_it_is_on(tmp_path: Path, line: str, on: bool | None) -> None:
    assert find_firewall(tmp_path, None) is None
    write(tmp_path, "etc/ufw/ufw.conf", f"# ufw\n{line}\nLOGLEVEL=low\n")
    assert find_firewall(tmp_path, None) is on


def test_secure_boot_by_the_firmware(tmp_path: Path) -> None:
    assert find_secure_boot(tmp_path) is None
    (tmp_path / "sys/firmware").mkdir(parents=True)
    assert find_secure_boot(tmp_path) is False
    write(tmp_path, SECURE_BOOT, b"\x06\0\0\0\x01")
    assert find_secure_boot(tmp_path) is True
    write(tmp_path, SECURE_BOOT, b"\x06\0\0\0\0")
    assert find_secure_boot(tmp_path) is False
    write(tmp_path, SECURE_BOOT, b"\x06\0")
    assert find_secure_boot(tmp_path) is None


def test_an_antivirus_that_runs_is_found_and_none_found_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, "proc/1/comm", "systemd\n")
    assert find_antivirus(tmp_path) is None
    write(tmp_path, "proc/812/comm", "clamd\n")
    assert find_antivirus(tmp_path) is True


def test_what_is_collected_is_what_the_server_takes(tmp_path: Path) -> None:
    write(tmp_path, "etc/os-release", 'ID=ubuntu\nVERSION_ID="24.04"\nNAME="Ubuntu"\n')
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "LENOVO\n")
    found = collect_posture(tmp_path, read_ruleset=lambda: ruleset("drop"))
    assert found == {
        "operatingSystem": "Linux", "operatingSystemVersion": "24.04", "linux_distribution": "ubuntu",
        "manufacturer": "LENOVO", "firewall": True,
    }  # fmt: skip
    assert read_posture(json.dumps(found).encode())["firewall"] == "true"


def test_this_machine_can_be_asked() -> None:
    found = collect_posture()
    assert found["operatingSystem"] == "Linux"
    assert read_posture(json.dumps(found).encode())
