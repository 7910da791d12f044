"""Keys of a registry with their values, as they stand after the operations of a file."""

from collections.abc import Iterable

from evertunnel.profiles.registry import DeletedKey, DeletedValue, Operation, RegistryValue


class RegistryKey:
    """A key. Values and subkeys are found whatever their case; both keep the order in which they came."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.line: int | None = None
        self.values: dict[str, RegistryValue] = {}
        self.subkeys: dict[str, RegistryKey] = {}

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("\\")[2]

    def find(self, path: str) -> "RegistryKey | None":
        """The key of that path below this one."""
        key: RegistryKey | None = self
        for name in path.lower().split("\\"):
            key = key.subkeys.get(name) if key is not None else None
        return key

    def add(self, path: str) -> "RegistryKey":
        """The key of that path below this one, made where it is missing."""
        key = self
        for name in path.split("\\"):
            below = f"{key.path}\\{name}" if key.path else name
            key = key.subkeys.setdefault(name.lower(), RegistryKey(below))
        return key


def build_registry_tree(operations: Iterable[Operation]) -> RegistryKey:
    """The root above all keys, with what the operations leave behind when they are done in their order."""
    root = RegistryKey()
    for operation in operations:
        if isinstance(operation, DeletedKey):
            parent, _, name = operation.key.rpartition("\\")
            above = root.find(parent) if parent else root
            if above is not None:
                above.subkeys.pop(name.lower(), None)
            continue
        key = root.add(operation.key)
        key.line = key.line or operation.line
        if isinstance(operation, DeletedValue):
            key.values.pop(operation.name.lower(), None)
        else:
            key.values[operation.name.lower()] = operation
    return root
