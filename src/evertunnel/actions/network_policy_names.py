"""Whom conditions of network policies name: ids where they are stored, so that renaming changes no policy."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from evertunnel.access.documents import PolicyError, quote, read_object, read_texts
from evertunnel.actions.policy_files import Problems
from evertunnel.model import SubjectKind
from evertunnel.storage import gateways, people
from evertunnel.storage.tables import AnyRow

_KINDS = {
    "users": SubjectKind.USER.value,
    "groups": SubjectKind.GROUP.value,
    "user_groups": SubjectKind.GROUP.value,
    "device_groups": SubjectKind.GROUP.value,
    "devices": SubjectKind.DEVICE.value,
    "gateways": "gateway",
}


class Names:
    """Finds users, groups, devices and gateways for one transaction, each once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._found: dict[tuple[str, str], AnyRow | None] = {}

    def resolve(self, document: Any, problems: Problems, place: str = "$") -> dict[str, Any]:
        """The document with every name or id in its conditions replaced by the id. What nobody has is a problem.

        Raises PolicyError for a document in which no names can be looked for.
        """
        document = read_object(document, "$")
        conditions = dict(read_object(document.get("conditions", {}), "$.conditions"))
        for key, kind in _KINDS.items():
            if key not in conditions:
                continue
            path = f"$.conditions.{key}"
            ids = []
            for index, text in enumerate(read_texts(conditions[key], path)):
                row = self._find(kind, text)
                if row is None:
                    mend = f"add it (evertunnel {kind} add), or write the name it has here"
                    problems.add(place, PolicyError(f"{path}[{index}]", f"there is no {kind} {quote(text)}: {mend}"))
                    continue
                ids.append(row.id)
            conditions[key] = ids
        return {**document, "conditions": conditions} if conditions else dict(document)

    def name(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document of a stored policy with names for ids, where the name leads back to that id."""
        conditions = dict(document.get("conditions", {}))
        for key, kind in _KINDS.items():
            if key in conditions:
                conditions[key] = [self._name(kind, subject_id) for subject_id in conditions[key]]
        return {**document, "conditions": conditions} if conditions else dict(document)

    def _name(self, kind: str, subject_id: str) -> str:
        row = self._find(kind, subject_id)
        if row is None or row.id != subject_id:  # gone; another may be called as its id was
            return subject_id
        named = self._find(kind, row.name)
        return str(row.name) if named is not None and named.id == subject_id else subject_id

    def _find(self, kind: str, text: str) -> AnyRow | None:
        if not text.isprintable():  # nobody is called so, and a database refuses to look for some of it
            return None
        if (kind, text) not in self._found:
            self._found[kind, text] = (
                gateways.find_gateway(self._connection, text)
                if kind == "gateway"
                else people.find_subject(self._connection, SubjectKind(kind), text)
            )
        return self._found[kind, text]


def resolve_names(connection: Connection, document: Mapping[str, Any]) -> dict[str, Any]:
    """One document. Raises PolicyProblemsError with every name that nobody has, PolicyError."""
    problems = Problems()
    resolved = Names(connection).resolve(document, problems)
    problems.verify_none()
    return resolved
