"""Reading policy documents: every problem is named with its place, and nothing unknown is let through silently."""

from collections.abc import Mapping, Sequence
from typing import Any

from evertunnel.errors import InvalidInputError


class PolicyError(InvalidInputError):
    """A policy document is wrong or uses what cannot be evaluated. `path` is a JSON path such as $.conditions.users."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def read_object(value: Any, path: str) -> Mapping[str, Any]:
    """A JSON object, or PolicyError."""
    if not isinstance(value, Mapping):
        raise PolicyError(path, "must be an object")
    return value


def read_text(value: Any, path: str, *, choices: Sequence[str] = ()) -> str:
    """A string, one of `choices` if given, or PolicyError."""
    if not isinstance(value, str) or not value:
        raise PolicyError(path, "must be a text that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PolicyError(path, "holds half of a surrogate pair, which is no character") from None
    if choices and value not in choices:
        raise PolicyError(path, f"{value!r} is not one of {', '.join(choices)}")
    return value


def read_texts(value: Any, path: str) -> tuple[str, ...]:
    """A list of strings; null is empty. PolicyError else."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise PolicyError(path, "must be a list")
    return tuple(read_text(item, f"{path}[{index}]") for index, item in enumerate(value))


def refuse_unknown(document: Mapping[str, Any], path: str, known: Sequence[str], mend: str = "") -> None:
    """Raise PolicyError for the first key that is not known: a typing error must not weaken a policy."""
    for key in document:
        if key not in known:
            raise PolicyError(f"{path}.{key}", mend or f"is not known here; known are {', '.join(known)}")
