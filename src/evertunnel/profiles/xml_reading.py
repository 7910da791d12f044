"""Reading XML of others: what was taken is remembered, so that what nobody took can be reported and kept."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from typing import TypeVar

from evertunnel.profiles.findings import Finding, Level, Place
from evertunnel.profiles.model import Network, PortRange, Unknown
from evertunnel.profiles.xml_tree import Node, render_xml

T = TypeVar("T")

_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


# Documented, and carried along as they are: the model has no place for them.
_CARRIED = frozenset(["PeapExtensionsV2", "GroupSmartCardCerts"])


class XMLReader:
    """Findings, places of fields and unknown elements of one file."""

    def __init__(self, file_format: str) -> None:
        self.findings: list[Finding] = []
        self.places: dict[str, Place] = {}
        self.unknown: list[Unknown] = []
        self._format = file_format
        self._taken: dict[int, set[str]] = {}

    def report(
        self,
        level: Level,
        rule: str,
        field: str,
        node: Node,
        path: str,
        what: str,
        why: str,
        mend: str,
        client: str = "",
    ) -> None:
        """Something is wrong at a node."""
        self.findings.append(Finding(level, rule, field, what, why, mend, client, path, node.line))

    def take(self, node: Node, name: str, path: str, field: str = "") -> Node | None:
        """The child of that name, whatever its case; the spelling Windows documents is advised."""
        self._taken.setdefault(id(node), set()).add(name.lower())
        found = list(node.find_all(name))
        if not found:
            return None
        if len(found) > 1:
            self.report(
                Level.ERROR, "twice", field, found[1], f"{path}/{name}", f"{name} stands {len(found)} times",
                "one of them is ignored, and which is not documented", "remove all but one",
            )  # fmt: skip
        self._spell(found[0], name, path, field)
        if field:
            self.places.setdefault(field, Place(f"{path}/{name}", found[0].line))
        return found[0]

    def take_all(self, node: Node, name: str, path: str, field: str) -> list[tuple[Node, str, str]]:
        """Children of that name, each with its path and field."""
        self._taken.setdefault(id(node), set()).add(name.lower())
        result = []
        for index, child in enumerate(node.find_all(name)):
            self._spell(child, name, path, field)
            self.places[f"{field}[{index}]"] = Place(f"{path}/{name}[{index + 1}]", child.line)
            result.append((child, f"{path}/{name}[{index + 1}]", f"{field}[{index}]"))
        return result

    def note(self, node: Node | None, field: str, path: str) -> None:
        """Where a field stands that is not read through `take`."""
        if node is not None:
            self.places.setdefault(field, Place(f"{path}/{node.name}", node.line))

    def skip(self, node: Node, name: str) -> None:
        """A child that is known and says nothing we need."""
        self._taken.setdefault(id(node), set()).add(name.lower())

    def read_text(self, node: Node, name: str, path: str, field: str, default: str = "") -> str:
        """The text of a child."""
        found = self.take(node, name, path, field)
        return found.text if found is not None else default

    def read_flag(self, node: Node, name: str, path: str, field: str, *, default: bool) -> bool:
        """A boolean; capitals are reported, since they leave a partly configured profile on Windows."""
        found = self.read_maybe_flag(node, name, path, field)
        return default if found is None else found

    def read_maybe_flag(self, node: Node, name: str, path: str, field: str) -> bool | None:
        """A boolean, None when it is not there."""
        found = self.take(node, name, path, field)
        if found is None:
            return None
        value = _FLAGS.get(found.text.lower())
        if value is None:
            self.report(
                Level.ERROR, "boolean", field, found, f"{path}/{name}",
                f"{found.text[:40]!r} is neither true nor false",
                "Windows does not apply the element", "write true or false",
            )  # fmt: skip
        elif found.text not in ("true", "false"):
            self.report(
                Level.ERROR, "boolean-capital", field, found, f"{path}/{name}",
                f"{found.text!r} stands for {str(value).lower()}",
                "a capital letter or a digit leaves the profile configured in part", f"write {str(value).lower()}",
            )  # fmt: skip
        return value

    def read_number(self, node: Node, name: str, path: str, field: str) -> int | None:
        """A whole number that is not negative, None when it is absent or none."""
        text = self.take(node, name, path, field)
        if text is None:
            return None
        if text.text.isascii() and text.text.isdecimal() and len(text.text) <= 10:
            return int(text.text)
        self.report(
            Level.ERROR, "number", field, text, f"{path}/{name}", f"{text.text[:40]!r} is no whole number",
            "Windows does not apply the element", "write digits only",
        )  # fmt: skip
        return None

    def read_list(
        self, node: Node, name: str, path: str, field: str, separators: str = ",", *, level: Level = Level.ERROR
    ) -> tuple[str, ...]:
        """Items between commas; blanks around them are reported."""
        found = self.take(node, name, path, field)
        if found is None or not found.text:
            return ()
        text = found.text
        for separator in separators[1:]:
            text = text.replace(separator, separators[0])
        items = text.split(separators[0])
        if any(item != item.strip() for item in items):
            self.report(
                level, "list-blanks", field, found, f"{path}/{name}", "there are blanks around the commas",
                "Windows takes a blank as part of the next item, or gives the list back without it",
                "write the list without blanks",
            )  # fmt: skip
        return tuple(item.strip() for item in items if item.strip())

    def read_ports(self, node: Node, name: str, path: str, field: str) -> tuple[PortRange, ...]:
        """Ports and ranges of ports."""
        ports = []
        for item in self.read_list(node, name, path, field, level=Level.ADVICE):
            # int() would take signs, blanks and underscores as well.
            if ends := _PORTS.fullmatch(item):
                ports.append(PortRange(int(ends[1]), int(ends[2] or ends[1])))
            else:
                self._report_value(node, name, path, field, item, "a port or two with a dash between")
        return tuple(ports)

    def read_choice(self, node: Node, name: str, path: str, field: str, choices: dict[str, T]) -> T | None:
        """One of several words, whatever its case; None when absent or another."""
        found = self.take(node, name, path, field)
        if found is None:
            return None
        for word, value in choices.items():
            if word.lower() == found.text.lower():
                if word != found.text:
                    self.report(
                        Level.ADVICE, "spelling", field, found, f"{path}/{name}",
                        f"{found.text!r} is documented as {word!r}",
                        "not every Windows build takes another spelling", f"write {word}",
                    )  # fmt: skip
                return value
        self._report_value(node, name, path, field, found.text, "one of " + ", ".join(choices))
        return None

    def read_network(
        self, address: Node | None, prefix: Node | None, path: str, field: str, at: Node
    ) -> Network | None:
        """A network from an address and a prefix length."""
        size = prefix.text if prefix else ""
        text = f"{address.text if address else ''}/{size}"
        try:
            if not (size.isascii() and size.isdecimal()):
                # A mask of four numbers would be understood here, and not by Windows.
                raise ValueError
            return ip_network(text, strict=False)
        except ValueError:
            self.report(
                Level.ERROR, "network", field, at, path, f"{text[:60]!r} is no network",
                "Windows does not add the route", "Address is an IP address, PrefixSize 0 to 32 or 0 to 128",
            )  # fmt: skip
            return None

    def keep_unknown(self, node: Node, path: str, known: Callable[[Node], bool] | None = None) -> None:
        """Report and keep the children nobody took."""
        taken = self._taken.get(id(node), set())
        for child in node.children:
            if child.name.lower() in taken or (known is not None and known(child)):
                continue
            self.unknown.append(Unknown(self._format, path, render_xml(child, indent="")))
            if child.name in _CARRIED:
                continue
            self.report(
                Level.ADVICE, "unknown", "", child, f"{path}/{child.name}", f"the element {child.name!r} is not known",
                "Windows may ignore it or refuse the profile", "remove it unless you know what it does; it is kept",
            )  # fmt: skip

    def _spell(self, node: Node, name: str, path: str, field: str) -> None:
        if node.name != name:
            self.report(
                Level.ERROR, "element-case", field, node, f"{path}/{node.name}",
                f"{node.name!r} is documented as {name!r}",
                "names of elements are compared with their case", f"write {name}",
            )  # fmt: skip

    def _report_value(self, node: Node, name: str, path: str, field: str, value: str, wanted: str) -> None:
        at = node.find(name) or node
        self.report(
            Level.ERROR, "value", field, at, f"{path}/{name}", f"{value[:60]!r} is not {wanted}",
            "Windows does not apply the element", f"write {wanted}",
        )  # fmt: skip
