"""What is to be imported: documents of Graph out of files, each with its place for errors."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from evertunnel.access.documents import PolicyError, PolicyProblemsError

PROBLEMS_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file that was read as JSON. `name` is for errors, empty where there is but one."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Problems:
    """What is wrong so far, as pairs of place and problem: an import says all of it at once, up to a bound."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, error: PolicyError) -> None:
        """Note an error of the document at a place. Raises PolicyProblemsError where there are too many to go on."""
        if len(self.found) >= PROBLEMS_AT_MOST:
            more = (place, f"this and perhaps more is wrong besides: {PROBLEMS_AT_MOST} problems are listed")
            raise PolicyProblemsError([*self.found, more])
        self.found.append((place + error.path.removeprefix("$"), error.problem))

    def verify_none(self) -> None:
        """Raise PolicyProblemsError if there is any."""
        if self.found:
            raise PolicyProblemsError(self.found)


def list_documents(files: Sequence[PolicyFile], problems: Problems) -> list[tuple[str, Any]]:
    """Every document with its place. A file is one of them, an array, or a Graph answer with `value`."""
    found: list[tuple[str, Any]] = []
    for file in files:
        prefix = f"{file.name}: " if file.name else ""
        data = file.data
        if isinstance(data, list):
            found += [(f"{prefix}$[{index}]", document) for index, document in enumerate(data)]
        elif isinstance(data, Mapping) and isinstance(data.get("value"), list):
            if data.get("@odata.nextLink"):
                # The policy that blocks may be on the page that is missing.
                place = f"{prefix}$.@odata.nextLink"
                problems.found.append((place, "the export goes on: fetch every page and import them together"))
            found += [(f"{prefix}$.value[{index}]", document) for index, document in enumerate(data["value"])]
        else:
            found.append((f"{prefix}$", data))
    return found


def verify_plain(document: Any) -> None:
    """Raise PolicyError for what Python's JSON reader lets through and JSON itself, or the audit, cannot hold."""
    try:
        json.dumps(document, allow_nan=False)
        orjson.dumps(document)
    except (TypeError, ValueError, RecursionError) as error:
        raise PolicyError("$", f"cannot be kept: {error}") from error
