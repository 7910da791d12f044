"""Passwords of local users: argon2id, and the same effort for users that do not exist."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from evertunnel.errors import InvalidInputError

_MINIMUM_LENGTH = 8
_MAXIMUM_LENGTH = 1024
# RFC 9106 4, second choice: 64 MiB, three passes. About 50 ms a sign-in here.
_HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=2)
# Of random octets nobody kept. Made when first needed, it would tell the first who asks for a user that there is none.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=2$+MrPaAnB2yNnzDf6E/Ni2Q$PCg132TDqbeL0lefNmDAX5RLINiisl6WjjZ4MYosAFs"


def hash_password(password: str) -> str:
    """The string to keep. Raises InvalidInputError for a password too short to be one."""
    verify_password(password)
    return _HASHER.hash(password)


def verify_password(password: str) -> None:
    """Raise InvalidInputError unless a new password may be one."""
    if not _MINIMUM_LENGTH <= len(password) <= _MAXIMUM_LENGTH:
        raise InvalidInputError("a password is 8 to 1,024 characters long")


def check_password(password_hash: str | None, password: str) -> bool:
    """Whether a password is right. Without a stored one it takes as long and is never right."""
    try:
        matches = _HASHER.verify(password_hash or _NOBODY, password[:_MAXIMUM_LENGTH])
    except (VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None and len(password) <= _MAXIMUM_LENGTH
