"""Our own form of a profile: JSON with every field, for keeping, editing and giving to other programs."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.findings import Place, Reading
from evertunnel.profiles.model import Profile
from evertunnel.profiles.verify import verify_profile

FORMAT = "evertunnel"
_MARK = "evertunnel_profile"


@dataclass(config=ConfigDict(extra="forbid"), frozen=True)
class _Envelope:
    evertunnel_profile: int
    profile: Profile


_ENVELOPE = TypeAdapter(_Envelope)


def is_document(value: Any) -> bool:
    """Whether parsed JSON is a profile of ours."""
    return isinstance(value, Mapping) and _MARK in value


def encode_document(profile: Profile) -> dict[str, Any]:
    """Every field, defaults too, so that a reader sees what can be set."""
    encoded: dict[str, Any] = _ENVELOPE.dump_python(_Envelope(1, profile), mode="json")
    return encoded


def decode_document(value: Mapping[str, Any]) -> Reading:
    """The profile. Raises InvalidInputError with the JSON path of the first thing that is wrong."""
    if value.get(_MARK) != 1:
        raise InvalidInputError(
            f"$.{_MARK}: {str(value.get(_MARK))[:20]!r} is no version that is known here; known is 1"
        )
    _verify_networks(value)
    try:
        envelope = _ENVELOPE.validate_python(dict(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # A key is as long as whoever wrote the file made it.
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in first["loc"][:10])
        raise InvalidInputError(f"${path}: {first['msg'][:300]}") from None
    verify_profile(envelope.profile)
    return Reading(FORMAT, envelope.profile, (), {"name": Place("$.profile.name")})


def _verify_networks(value: Mapping[str, Any]) -> None:
    """A number, or false, would be taken for the address of that number."""
    profile = value.get("profile")
    routes = profile.get("routes") if isinstance(profile, Mapping) else None
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        network = route.get("network") if isinstance(route, Mapping) else None
        if network is not None and not isinstance(network, str):
            raise InvalidInputError(f"$.profile.routes[{index}].network: must be a text such as 10.0.0.0/8")
