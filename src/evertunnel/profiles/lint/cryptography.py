"""Rules about the cryptography suite."""

from collections.abc import Iterator

from evertunnel.profiles.findings import Finding, advice, error
from evertunnel.profiles.model import Profile, Protocol
from evertunnel.profiles.profile_xml import SUITE_ELEMENTS
from evertunnel.profiles.suites import KNOWN, WEAK

_GCM = ("GCMAES128", "GCMAES192", "GCMAES256")


def lint_suite(profile: Profile) -> Iterator[Finding]:
    """Values and their combinations."""
    suite = profile.cryptography
    ikev2 = bool({Protocol.IKEV2, Protocol.AUTOMATIC} & set(profile.protocols))
    if suite is None:
        if ikev2:
            yield error(
                "default-proposals", "cryptography", "there is no cryptography suite",
                "Windows then offers 3DES, SHA-1 and 1024-bit Diffie-Hellman first, which no careful gateway accepts "
                "(error 13868)", "set a suite, such as GCMAES256 with ECP384",
            )  # fmt: skip
        return
    if not {Protocol.IKEV2, Protocol.L2TP, Protocol.AUTOMATIC} & set(profile.protocols):
        yield advice(
            "suite-unused",
            "cryptography",
            "a suite is set, but no protocol uses it",
            "SSTP and PPTP ignore it",
            "remove it",
        )
    missing = [SUITE_ELEMENTS[field] for field in KNOWN if not getattr(suite, field)]
    if missing:
        yield error(
            "suite-incomplete", "cryptography", f"{', '.join(missing)} is missing",
            "a suite counts only with all six; else the client offers its weak defaults", "give all six or none",
        )  # fmt: skip
    for field, known in KNOWN.items():
        value = getattr(suite, field)
        if not value:
            continue
        if value not in known:
            close = next((word for word in known if word.lower() == value.lower()), None)
            yield error(
                "suite-value", f"cryptography.{field}", f"{value[:40]!r} is no value of {SUITE_ELEMENTS[field]}",
                "Windows refuses the suite, or the profile",
                f"write {close}" if close else f"use one of {', '.join(known)}",
            )  # fmt: skip
        elif value in WEAK:
            yield error(
                "weak-suite", f"cryptography.{field}", f"{value} is weak",
                "it can be broken, or was never meant to last",
                "use AES-GCM, SHA256 or SHA384, Group14, ECP256 or ECP384",
            )  # fmt: skip
    gcm = {suite.authentication_transform, suite.cipher_transform} & set(_GCM)
    if gcm and suite.authentication_transform != suite.cipher_transform:
        yield error(
            "gcm-pair", "cryptography.cipher_transform",
            f"{suite.cipher_transform} goes with {suite.authentication_transform}",
            "AES-GCM is cipher and integrity in one: both must name the same", f"write {min(gcm)} in both",
        )  # fmt: skip
    if suite.dh_group == "None":
        yield error(
            "no-dh-group", "cryptography.dh_group", "the IKE group is None", "IKEv2 has no exchange without one",
            "use ECP384, ECP256 or Group14",
        )  # fmt: skip
    if suite.pfs_group == "None":
        yield advice(
            "no-pfs", "cryptography.pfs_group", "there is no perfect forward secrecy",
            "keys of rekeyed tunnels follow from the first", "set ECP384, ECP256 or PFS2048; the server must offer it",
        )  # fmt: skip
    if suite.encryption.startswith("AES_GCM"):
        yield advice(
            "gcm-ike", "cryptography.encryption", f"IKE is encrypted with {suite.encryption}",
            "older clients do not know it", "expect it", "Windows 10 before 1803",
        )  # fmt: skip


RULES = (lint_suite,)
