"""Authentication strengths: sets of combinations of methods, satisfied if all methods of any one were passed.

Entra's three are built in, by their ids (reference: 1.5). A combination may ask more of a certificate or a security
key: who issued it, under which policy, of which make. What the method does not say of itself is not met.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.sign_in import MethodUse
from evertunnel.access.documents import (
    PolicyError,
    is_set,
    list_unknown,
    quote,
    read_object,
    read_text,
    read_texts,
)

METHODS = (
    "windowsHelloForBusiness",
    "fido2",
    "x509CertificateMultiFactor",
    "x509CertificateSingleFactor",
    "deviceBasedPush",
    "temporaryAccessPassOneTime",
    "temporaryAccessPassMultiUse",
    "password",
    "microsoftAuthenticatorPush",
    "softwareOath",
    "hardwareOath",
    "sms",
    "voice",
    "federatedMultiFactor",
    "federatedSingleFactor",
    "email",
    "qrCodePin",
)
COMBINATIONS_AT_MOST = 200
_FIELDS = (
    "id",
    "displayName",
    "description",
    "policyType",
    "requirementsSatisfied",
    "allowedCombinations",
    "combinationConfigurations",
    "createdDateTime",
    "modifiedDateTime",
)
_NOT_HEX = re.compile(r"[^0-9a-f]")
_HEX = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f :-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class CertificateLimits:
    """What a certificate must say: one of the issuers' key identifiers, one of the policies; empty is any."""

    issuer_skis: frozenset[str]
    policy_oids: frozenset[str]

    def hold(self, use: MethodUse) -> bool:
        """Whether it says so."""
        return (not self.issuer_skis or _strip(use.issuer_ski) in self.issuer_skis) and (
            not self.policy_oids or not self.policy_oids.isdisjoint(use.policy_oids)
        )


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Makes of security keys that are allowed."""

    aaguids: frozenset[str]

    def hold(self, use: MethodUse) -> bool:
        """Whether it is one of them."""
        return _strip(use.aaguid) in self.aaguids


@dataclass(frozen=True, slots=True)
class Combination:
    """Methods that together are enough, and what they must say of themselves besides."""

    methods: frozenset[str]
    limits: tuple[tuple[str, CertificateLimits | KeyLimits], ...] = ()

    def is_met(self, uses: Sequence[MethodUse]) -> bool:
        """Whether each of its methods was passed, within its limits."""
        return all(
            any(
                use.name == method and all(limit.hold(use) for name, limit in self.limits if name == method)
                for use in uses
            )
            for method in self.methods
        )


@dataclass(frozen=True, slots=True)
class AuthenticationStrength:
    """A compiled strength. `unevaluable` says what of it we cannot judge; combinations it concerns are left out."""

    id: str
    name: str
    combinations: tuple[Combination, ...]
    unevaluable: tuple[tuple[str, str], ...] = ()

    def is_met(self, uses: Sequence[MethodUse]) -> bool:
        """Whether the methods passed are enough."""
        names = {use.name for use in uses}
        for combination in self.combinations:
            # Without limits the names say it all.
            if combination.methods <= names and (not combination.limits or combination.is_met(uses)):
                return True
        return False


_PHISHING_RESISTANT = ("windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor")
_WITH_FEDERATION = ("microsoftAuthenticatorPush", "softwareOath", "hardwareOath", "sms", "voice")
_WITH_PASSWORD = (*_WITH_FEDERATION, "x509CertificateSingleFactor", "x509CertificateMultiFactor")
_MULTIFACTOR = (
    *_PHISHING_RESISTANT,
    "deviceBasedPush",
    "temporaryAccessPassOneTime",
    "temporaryAccessPassMultiUse",
    *(f"password,{second}" for second in _WITH_PASSWORD),
    "federatedMultiFactor",
    *(f"federatedSingleFactor,{second}" for second in _WITH_FEDERATION),
)


def _build(number: int, name: str, combinations: Sequence[str]) -> AuthenticationStrength:
    built = tuple(Combination(frozenset(combination.split(","))) for combination in combinations)
    return AuthenticationStrength(f"00000000-0000-0000-0000-{number:012}", name, built)


MULTIFACTOR = _build(2, "Multifactor authentication", _MULTIFACTOR)
BUILT_IN: Mapping[str, AuthenticationStrength] = {
    strength.id: strength
    for strength in (
        MULTIFACTOR,
        _build(3, "Passwordless MFA", (*_PHISHING_RESISTANT, "deviceBasedPush")),
        _build(4, "Phishing-resistant MFA", _PHISHING_RESISTANT),
    )
}


def compile_strength(document: Any, path: str = "$") -> AuthenticationStrength:
    """Read an authenticationStrengthPolicy as Graph writes it. Raises PolicyError with the JSON path."""
    strength = read_object(document, path)
    place = f"{path}.allowedCombinations"
    texts = read_texts(strength.get("allowedCombinations"), place)
    if not 0 < len(texts) <= COMBINATIONS_AT_MOST:
        raise PolicyError(place, f"must be a list of 1 to {COMBINATIONS_AT_MOST} combinations")
    name = read_text(strength.get("displayName"), f"{path}.displayName")
    unknown = list_unknown(strength, path, _FIELDS)
    unevaluable = [(field, "is a field we do not know: the strength is never met") for field in unknown]
    limits = _read_limits(strength.get("combinationConfigurations"), f"{path}.combinationConfigurations", unevaluable)
    combinations = []
    for index, text in enumerate(texts):
        methods = frozenset(read_text(word.strip(), f"{place}[{index}]", choices=METHODS) for word in text.split(","))
        own = [limit for applies_to, limit in limits if not applies_to or methods in applies_to]
        # None is a limit we cannot judge: nothing is within it.
        if None not in own and not unknown:
            combinations.append(Combination(methods, tuple(limit for limit in own if limit is not None)))
    strength_id = read_text(strength.get("id") or name, f"{path}.id")
    return AuthenticationStrength(strength_id, name, tuple(combinations), tuple(unevaluable))


_Limit = tuple[str, CertificateLimits | KeyLimits] | None


def _read_limits(
    value: Any, path: str, unevaluable: list[tuple[str, str]]
) -> list[tuple[frozenset[frozenset[str]], _Limit]]:
    """Each configuration: the combinations it is for (none: all), and for which method it asks what."""
    if not is_set(value):
        return []
    if not isinstance(value, list) or len(value) > COMBINATIONS_AT_MOST:
        raise PolicyError(path, f"must be a list of at most {COMBINATIONS_AT_MOST}")
    found: list[tuple[frozenset[frozenset[str]], _Limit]] = []
    for index, item in enumerate(value):
        place = f"{path}[{index}]"
        configuration = read_object(item, place)
        texts = read_texts(configuration.get("appliesToCombinations"), f"{place}.appliesToCombinations")
        applies_to = frozenset(frozenset(word.strip() for word in text.split(",")) for text in texts)
        kind = read_text(configuration.get("@odata.type"), f"{place}.@odata.type").rpartition(".")[2]
        limits, known = _read_limit(configuration, kind, place)
        unknown = list_unknown(configuration, place, ("id", "appliesToCombinations", *known))
        if not limits or unknown:
            reason = f"{quote(kind)} or a field of it is not known: what it is for is never met"
            unevaluable.append((unknown[0] if unknown else place, reason))
            found.append((applies_to, None))
            continue
        found += [(applies_to, limit) for limit in limits]
    return found


def _read_limit(configuration: Mapping[str, Any], kind: str, path: str) -> tuple[list[_Limit], tuple[str, ...]]:
    def read(name: str) -> frozenset[str]:
        texts = read_texts(configuration.get(name), f"{path}.{name}")
        for index, text in enumerate(texts):
            # Stripped to nothing it would be met by whatever says nothing of itself.
            if not _HEX.fullmatch(text):
                raise PolicyError(f"{path}.{name}[{index}]", f"{quote(text)} is not hexadecimal")
        return frozenset(_strip(text) for text in texts)

    if kind == "x509CertificateCombinationConfiguration":
        oids = frozenset(read_texts(configuration.get("allowedPolicyOIDs"), f"{path}.allowedPolicyOIDs"))
        certificate = CertificateLimits(read("allowedIssuerSkis"), oids)
        methods = ("x509CertificateMultiFactor", "x509CertificateSingleFactor")
        return [(method, certificate) for method in methods], ("allowedIssuerSkis", "allowedPolicyOIDs")
    if kind == "fido2CombinationConfiguration":
        return [("fido2", KeyLimits(read("allowedAAGUIDs")))], ("allowedAAGUIDs",)
    return [], ()


def _strip(text: str) -> str:
    """Hexadecimal in any of its spellings."""
    return _NOT_HEX.sub("", text.lower())
