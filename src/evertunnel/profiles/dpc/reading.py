"""Reading DPC's settings as DPC does: policies win value by value, a list of policies hides the other one whole."""

from collections.abc import Iterable

from evertunnel.profiles.findings import Finding, Level, Place
from evertunnel.profiles.model import Unknown
from evertunnel.profiles.registry import RegistryType, RegistryValue, encode_entry
from evertunnel.profiles.registry_tree import RegistryKey

_IGNORED = "DPC drops it with a warning"


class DPCReader:
    """One key of DPC in its two places, policies first; what was taken is remembered, so that the rest can be kept."""

    def __init__(self, path: str, keys: Iterable[RegistryKey | None], findings: list[Finding]) -> None:
        self.path = path
        self.findings = findings
        self.places: dict[str, Place] = {}
        self._keys = [key for key in keys if key is not None]
        self._taken: set[str] = set()

    def report(
        self, level: Level, rule: str, field: str, name: str, what: str, why: str, mend: str, *, line: int | None = None
    ) -> None:
        """Something is wrong with a value or list."""
        path = f"{self.path}\\{name}" if name else self.path
        if line is None and self._keys:
            line = self._keys[0].line
        self.findings.append(Finding(level, rule, field, what, why, mend, "", path, line))

    def take(self, name: str, field: str = "") -> RegistryValue | None:
        """The value of that name that counts."""
        self._taken.add(name.lower())
        for key in self._keys:
            if value := key.values.get(name.lower()):
                if field:
                    self.places.setdefault(field, Place(f"{value.key}\\{value.name}", value.line))
                return value
        return None

    def take_key(self, name: str) -> RegistryKey | None:
        """The subkey of that name that counts."""
        self._taken.add(name.lower())
        return next((key.subkeys[name.lower()] for key in self._keys if name.lower() in key.subkeys), None)

    def read_text(self, name: str, field: str = "") -> str:
        """A text without NUL characters, "" when it is absent."""
        value = self.take(name, field)
        if value is None:
            return ""
        if isinstance(value.data, tuple):
            return "\n".join(value.data).replace("\0", "")
        if isinstance(value.data, str):
            return value.data.replace("\0", "")
        self._report_type(value, field, "a text", "DPC then refuses the profile")
        return ""

    def read_flag(self, name: str, field: str = "") -> bool | None:
        """1 is true and every other number false; None when it is absent."""
        value = self.take(name, field)
        if value is None:
            return None
        if value.type not in (RegistryType.DWORD, RegistryType.QWORD):
            self._report_type(value, field, "a REG_DWORD", "DPC takes it as absent")
            return None
        if value.data not in (0, 1):
            self.report(
                Level.ERROR, "dpc-flag", field, name, f"{value.data!r} is neither 0 nor 1", "DPC takes it for 0",
                "write 0 or 1", line=value.line,
            )  # fmt: skip
        return value.data == 1

    def read_number(self, name: str, field: str = "") -> int | None:
        """A number, also one written as text; None when it is absent."""
        value = self.take(name, field)
        if value is None:
            return None
        data = value.data
        if isinstance(data, str) and value.type == RegistryType.SZ:
            digits = data.strip().removeprefix("-")
            if digits.isascii() and digits.isdecimal() and len(digits) <= 10:
                return int(data)
        if not isinstance(data, int):
            self._report_type(value, field, "a number", "DPC takes it as absent, or refuses the profile")
            return None
        if data >= 2**31:
            self.report(
                Level.ERROR, "dpc-number", field, name, f"{data} is more than 2147483647",
                "DPC reads it with a sign and refuses the profile", "write a smaller number", line=value.line,
            )  # fmt: skip
        return data

    def read_table(self, name: str, field: str) -> list[RegistryValue]:
        """The texts in a subkey; the name counts in a table, the data in a list. `<EMPTY>` is no text."""
        key = self.take_key(name)
        if key is None:
            return []
        self.places.setdefault(field, Place(key.path, key.line))
        for below in key.subkeys.values():
            self.report(
                Level.ADVICE, "unknown", "", f"{name}\\{below.name}", "a key inside of a list",
                "DPC does not look there", "remove it", line=below.line,
            )  # fmt: skip
        rows = []
        for value in key.values.values():
            if value.type == RegistryType.SZ and isinstance(value.data, str):
                rows.append(value)
            else:
                self._report_type(value, field, "a REG_SZ", "DPC takes only REG_SZ from lists", name)
        return rows

    def drop(self, rule: str, field: str, name: str, value: RegistryValue, text: str, wanted: str) -> None:
        """An item of a list that DPC does not take."""
        self.report(
            Level.ERROR,
            rule,
            field,
            name,
            f"{text[:80]!r} is not {wanted}",
            _IGNORED,
            f"write {wanted}",
            line=value.line,
        )

    def keep_unknown(self, known: Iterable[str], stood: str = "", *, values_only: bool = False) -> list[Unknown]:
        """Report and keep what nobody took; of `known` names it is said that a profile has no place for them."""
        kept: dict[tuple[str, str], Unknown] = {}
        named = {name.lower() for name in known}
        for key in self._keys:
            for value in key.values.values():
                if value.name.lower() not in self._taken:
                    self._keep(kept, stood, value, value.name.lower() in named)
            for name, below in key.subkeys.items():
                if name not in self._taken and not values_only:
                    self._keep_key(kept, below, below.name, name in named)
        return list(kept.values())

    def report_unknown(self) -> None:
        """Report the values nobody took, which nothing keeps."""
        for key in self._keys:
            for value in key.values.values():
                if value.name.lower() not in self._taken:
                    self.report(
                        Level.ADVICE, "unknown", "", value.name, f"the value {value.name[:60]!r} is not read",
                        "DPC 5.2 does not know it", "nothing; it is not kept", line=value.line,
                    )  # fmt: skip

    def _keep_key(self, kept: dict[tuple[str, str], Unknown], key: RegistryKey, path: str, known: bool) -> None:
        for value in key.values.values():
            self._keep(kept, path, value, known)
        for below in key.subkeys.values():
            self._keep_key(kept, below, f"{path}\\{below.name}", known)

    def _keep(self, kept: dict[tuple[str, str], Unknown], path: str, value: RegistryValue, known: bool) -> None:
        if (path.lower(), value.name.lower()) in kept:
            return
        # Kept as an entry of a .reg file: type and data, whatever they are.
        kept[path.lower(), value.name.lower()] = Unknown("dpc", path, encode_entry(value))
        why = (
            "a profile has no place for it, and other clients will not have it" if known else "DPC 5.2 does not know it"
        )
        self.findings.append(
            Finding(
                Level.ADVICE,
                "unknown",
                "",
                f"the value {value.name[:60]!r} is not read",
                why,
                "nothing; it is kept for DPC",
                "",
                f"{value.key}\\{value.name}",
                value.line,
            )
        )

    def _report_type(self, value: RegistryValue, field: str, wanted: str, why: str, below: str = "") -> None:
        name = f"{below}\\{value.name}" if below else value.name
        self.report(
            Level.ERROR,
            "dpc-type",
            field,
            name,
            f"the value is not {wanted}",
            why,
            f"make it {wanted}",
            line=value.line,
        )
