"""Cutting a profile down to what a format can say, with a line for everything that was left out."""

from dataclasses import replace
from typing import Any

from evertunnel.profiles.model import Profile


class Cut:
    """A profile on its way into a format."""

    def __init__(self, profile: Profile, file_format: str) -> None:
        # Versions are said beside the profile; what other formats did not understand means nothing here.
        kept = tuple(unknown for unknown in profile.unknown if unknown.format == file_format)
        self.profile = replace(profile, unknown=kept, version=0)
        self.losses: list[str] = []
        if others := sorted({unknown.format for unknown in profile.unknown} - {file_format}):
            self.losses.append(f"what was not understood when the profile was read ({', '.join(others)})")

    def drop(self, field: str, value: Any, loss: str) -> None:
        """Give a field another value; if that changes it, say what is lost."""
        if getattr(self.profile, field) != value:
            self.profile = replace(self.profile, **{field: value})
            self.losses.append(loss)

    def change(self, field: str, value: Any) -> None:
        """Give a field another value that means the same to the client, or that no client sees."""
        self.profile = replace(self.profile, **{field: value})
