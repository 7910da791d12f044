"""The system users of our processes: which they are, and making those that are missing."""

import grp
import os
import pwd
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from evertunnel.config import Processes
from evertunnel.errors import InvalidInputError
from evertunnel.privileges import find_group_id, find_process_user

# The processes that own a folder of keys.
KEY_OWNERS = ("signer", "radius", "web-public", "web-admin", "gateway", "gate")


@dataclass(frozen=True, slots=True)
class Owners:
    """User ids by process, and the group all share."""

    users: dict[str, int]
    group: int


def find_owners(processes: Processes, *, optional: Collection[str]) -> Owners:
    """As root the processes' users, which are made when they are missing; else whoever runs this.

    `optional` names the processes that do not run everywhere and do here. Raises InvalidInputError.
    """
    names = (*KEY_OWNERS, *optional)
    if os.geteuid() != 0:
        return Owners(dict.fromkeys(names, os.geteuid()), os.getegid())
    accounts = {name: getattr(processes, name.replace("-", "_")) for name in names}
    for account in accounts.values():
        ensure_account(account, processes.group)
    users = {name: find_process_user(account) for name, account in accounts.items()}
    return Owners(users, find_group_id(processes.group))


def build_processes(user_base: int | None) -> Processes:
    """Users by name, or numbered from `user_base` on (the lab)."""
    if user_base is None:
        return Processes()
    names = ("group", "signer", "radius", "web_public", "web_admin", "gateway", "gate", "agents", "radsec")
    return Processes(**{name: str(user_base + offset) for offset, name in enumerate(names)})


def ensure_account(name: str, group: str) -> None:
    """A system account without a shell or home, and its group, if they are missing. Raises InvalidInputError."""
    try:
        if not group.isdigit():  # a number stands for itself
            grp.getgrnam(group)
    except KeyError:
        _run("groupadd", "--system", group)
    try:
        if not name.isdigit():
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
