"""The security identifier in certificates of users: what Windows writes, read by a reader that is not ours."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.errors import InvalidInputError
from evertunnel.model import CertificateKind
from evertunnel.pki import oids
from evertunnel.pki.issuance import Grant, build_certificate
from evertunnel.pki.lint import LintError, verify_certificate
from evertunnel.pki.security_identifiers import build_sid_extension, verify_sid
from tests.unit.pki.samples import ADDRESSES, make_authorities, make_grant

# Of 45 characters: the layout of this length is written out in the reference.
SID = "S-1-5-21-1004336348-1177238915-682003330-1104"
BYTES = bytes.fromhex("303f a03d 060a 2b06010401823719 0201 a02f 042d") + SID.encode()
KINDS = [CertificateKind.USER, CertificateKind.SHORT_LIVED]


def build(grant: Grant) -> x509.Certificate:
    issuer = make_authorities()[grant.authority]
    return build_certificate(grant, issuer=issuer.certificate, issuer_key=issuer.key, addresses=ADDRESSES)


def verify(certificate: x509.Certificate, grant: Grant) -> None:
    issuer = make_authorities()[grant.authority].certificate
    verify_certificate(certificate, grant, issuer=issuer, addresses=ADDRESSES)


def test_the_extension_is_byte_for_byte_as_documented() -> None:
    assert len(SID) == 45
    assert build_sid_extension(SID).value == BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_reads_it(kind: CertificateKind, tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.write_bytes(build(make_grant(kind, sid=SID)).public_bytes(Encoding.PEM))
    # A name for the identifier, or its numbers: whichever this OpenSSL has.
    named = (":Microsoft NTDS CA Extension", ":1.3.6.1.4.1.311.25.2")
    lines = run("openssl", "asn1parse", "-in", str(file)).splitlines()
    at = next(number for number, line in enumerate(lines) if line.endswith(named))
    # No boolean before the value: it is not critical.
    assert "prim: OCTET STRING" in lines[at + 1]
    assert lines[at + 1].endswith("[HEX DUMP]:" + BYTES.hex().upper())
    offset = lines[at + 1].split(":")[0].strip()
    inner = run("openssl", "asn1parse", "-in", str(file), "-strparse", offset).splitlines()
    assert [line.split(" l=")[1].split()[0] for line in inner] == ["63", "61", "10", "47", "45"]
    assert "SEQUENCE" in inner[0] and "cont [ 0 ]" in inner[1] and "cont [ 0 ]" in inner[3]
    assert inner[2].endswith((":1.3.6.1.4.1.311.25.2.1", ":NTDS Object SID", ":Microsoft NTDS Object SID"))
    assert "OCTET STRING" in inner[4] and inner[4].endswith(f":{SID}")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_there_when_it_is_known_and_only_then(kind: CertificateKind) -> None:
    with_it, without = make_grant(kind, sid=SID), make_grant(kind)
    verify(build(with_it), with_it)
    verify(build(without), without)
    assert oids.SECURITY_IDENTIFIER not in [extension.oid for extension in build(without).extensions]
    found = build(with_it).extensions.get_extension_for_oid(oids.SECURITY_IDENTIFIER)
    assert not found.critical


def test_lint_sees_one_too_many_one_missing_and_anothers() -> None:
    with_it, without = make_grant(KINDS[1], sid=SID), make_grant(KINDS[1])
    for made, wanted in ((with_it, without), (without, with_it), (with_it, make_grant(KINDS[1], sid=SID[:-1] + "5"))):
        with pytest.raises(LintError, match=r"1\.3\.6\.1\.4\.1\.311\.25\.2|extensions"):
            verify(build(made), wanted)


@pytest.mark.parametrize("kind", [kind for kind in CertificateKind if kind not in KINDS])
def test_other_kinds_never_carry_one(kind: CertificateKind) -> None:
    made = build(make_grant(kind, sid=SID))
    assert oids.SECURITY_IDENTIFIER not in [extension.oid for extension in made.extensions]


@pytest.mark.parametrize("sid", [SID, "S-1-5-21-0-0-0-500", "S-1-5-21-4294967295-1-2-3", "S-1-12-1-1-2-3-4"])
def test_accounts_are_taken(sid: str) -> None:
    verify_sid(sid)


@pytest.mark.parametrize(
    "sid",
    ["", "S-1-5-18", "S-1-5-32-544", "S-1-1-0", SID.lower(), SID + "-1", SID[:-5], SID + " ", "alice@corp.example",
     "S-1-5-21-4294967296-1-2-3", "S-1-5-21-01-1-2-3", "S-1-5-21--1-1-2-3", "S-1-5-21-\u0661-1-2-3",
     "S-1-5-21-1-2-3-4\n"],
)  # fmt: skip
def test_what_is_no_accounts_is_refused(sid: str) -> None:
    with pytest.raises(InvalidInputError, match="is not the security identifier of an account"):
        verify_sid(sid)


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
