"""Users of processes: looking them up, and becoming one for good."""

import grp
import os
import pwd
from pathlib import Path

from evertunnel.errors import InvalidInputError

_NO_NUMBER = 2**32 - 1
_DIGITS_AT_MOST = 20


def find_user_id(name: str) -> int:
    """The number of a user name; a number stands for itself. Raises InvalidInputError."""
    if (number := _read_number(name)) is not None:
        return number
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise InvalidInputError(
            f"there is no system user {name!r}; `evertunnel init` or `upgrade` as root makes it"
        ) from None


def find_process_user(name: str) -> int:
    """The same for a process that gives up root for it. Raises InvalidInputError for root itself."""
    user_id = find_user_id(name)
    if user_id == 0:
        raise InvalidInputError(f"[processes]: {name!r} is root, and no process of ours may stay root")
    return user_id


def find_user_name(user_id: int) -> str:
    """The name of a user number, or words with the number when it has none."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def find_group_id(name: str) -> int:
    """The number of a group name; a number stands for itself. Raises InvalidInputError."""
    if (number := _read_number(name)) is not None:
        return number
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise InvalidInputError(
            f"there is no system group {name!r}; `evertunnel init` or `upgrade` as root makes it"
        ) from None


def _read_number(name: str) -> int | None:
    if not (name.isascii() and name.isdigit()):
        return None
    # The last of them means "as it is" to the kernel: who becomes that stays root.
    if int(name[:_DIGITS_AT_MOST]) >= _NO_NUMBER:
        raise InvalidInputError(f"{name[:_DIGITS_AT_MOST]!r} is no number of a user or group")
    return int(name)


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
