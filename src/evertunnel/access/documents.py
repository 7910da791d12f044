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


class PolicyProblemsError(PolicyError):
    """Everything that is wrong with what was to be imported: `problems` are pairs of place and problem.

    A place is a JSON path, after the name of its file where there are files. It reads as the first of them.
    """

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(*problems[0])
        self.problems = tuple(problems)
        if len(problems) > 1:
            self.args = (f"{len(problems)} problems; the first: {self.args[0]}",)


_QUOTED_AT_MOST = 80


def quote(text: str) -> str:
    """A text of the document for an error: cut where it would make the error long."""
    return repr(cut_text(text))


def cut_text(text: str) -> str:
    """The beginning of a text or key of the document: whoever wrote it made it as long as he liked."""
    return text if len(text) <= _QUOTED_AT_MOST else f"{text[:_QUOTED_AT_MOST]}..."


def is_set(value: Any) -> bool:
    """Whether a field says anything. Graph writes every field it has, the unset ones as null, false or empty."""
    return not (value is None or value is False or value in ([], {}, ""))


def list_unknown(document: Mapping[str, Any], path: str, known: Sequence[str]) -> list[str]:
    """The paths of what is set and not known; OData annotations say nothing of their own."""
    return [
        f"{path}.{key}" for key, value in document.items() if key not in known and "@odata" not in key and is_set(value)
    ]


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
        if value == "unknownFutureValue":
            raise PolicyError(path, "hides a newer word: export with the header Prefer: include-unknown-enum-members")
        raise PolicyError(path, f"{quote(value)} is not one of {', '.join(choices)}")
    return value


def read_flag(value: Any, path: str, *, default: bool) -> bool:
    """True or false; null is the default. PolicyError else."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise PolicyError(path, "must be true or false")
    return value


def read_flags(value: Any, path: str, choices: Sequence[str]) -> frozenset[str]:
    """Words of a flags enumeration, which Graph writes as one text with commas; null is none. PolicyError else."""
    if value is None:
        return frozenset()
    words = [word.strip() for word in read_text(value, path).split(",")]
    return frozenset(read_text(word, path, choices=choices) for word in words)


def read_texts(value: Any, path: str, *, choices: Sequence[str] = ()) -> tuple[str, ...]:
    """A list of strings, each one of `choices` if given; null is empty. PolicyError else."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise PolicyError(path, "must be a list")
    return tuple(read_text(item, f"{path}[{index}]", choices=choices) for index, item in enumerate(value))


def refuse_unknown(document: Mapping[str, Any], path: str, known: Sequence[str], mend: str = "") -> None:
    """Raise PolicyError for the first key that is not known: a typing error must not weaken a policy."""
    for key in document:
        if key not in known:
            raise PolicyError(f"{path}.{cut_text(key)}", mend or f"is not known here; known are {', '.join(known)}")
