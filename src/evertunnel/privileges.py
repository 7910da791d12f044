"""Users of processes: looking them up, and becoming one for good."""

import grp
import os
import pwd
from pathlib import Path

from evertunnel.errors import InvalidInputError


def find_user_id(name: str) -> int:
    """The number of a user name; a number stands for itself. Raises InvalidInputError."""
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise InvalidInputError(
            f"there is no system user {name!r}; `evertunnel init` or `upgrade` as root makes it"
        ) from None


def find_user_name(user_id: int) -> str:
    """The name of a user number, or words with the number when it has none."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def find_group_id(name: str) -> int:
    """The number of a group name; a number stands for itself. Raises InvalidInputError."""
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise InvalidInputError(
            f"there is no system group {name!r}; `evertunnel init` or `upgrade` as root makes it"
        ) from None


def give(path: Path, *, user_id: int, group_id: int, mode: int) -> None:
    """As root: hand over a file or folder in a place where its owner could put a link instead. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, user_id, group_id)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def become(user_id: int, group_id: int) -> None:
    """Give up root for a user, with no way back. Does nothing when not root: then there is nothing to give up."""
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(group_id, group_id, group_id)
    os.setresuid(user_id, user_id, user_id)
    os.umask(0o007)
