"""The scripts by meaning: what is installed is read back, and each holds what its server or client needs."""

from dataclasses import replace
from pathlib import Path

import pytest

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles import script_texts
from evertunnel.profiles.certificate_script import build_certificate_script
from evertunnel.profiles.install_script import build_install_script, limit_install_script, read_install_script
from evertunnel.profiles.model import (
    CONDITIONAL_ACCESS_OID,
    EAPTLS,
    CertificateSelection,
    CryptographySuite,
    EntraCompliance,
    MachineCertificate,
    Profile,
    Protocol,
    Proxy,
    Server,
    Usage,
)
from evertunnel.profiles.powershell import read_payload
from evertunnel.profiles.rras import build_rras_script, list_rras_losses
from evertunnel.protocols import enrolment
from tests.unit.profiles.powershell_grammar import list_commands

SUITE = CryptographySuite("SHA196", "GCMAES128", "ECP256", "Group14", "SHA196", "AES_GCM_128")
CONDITIONAL = CertificateSelection(usages=(Usage("Conditional Access", CONDITIONAL_ACCESS_OID),))
USER = Profile("Corp VPN", TunnelKind.USER, (Server("vpn.example.com"),), EAPTLS(selection=CONDITIONAL), version=7)
DEVICE = Profile(
    "Corp device", TunnelKind.DEVICE, (Server("vpn.example.com"),), MachineCertificate(("1.3.6.1.4.1.5",), "ab" * 20)
)


def test_what_is_installed_is_read_back_by_meaning(thousand_profiles: list[Profile]) -> None:
    for index, profile in enumerate(thousand_profiles):
        stored = replace(profile, version=index)
        reading = read_install_script(build_install_script(stored))
        assert reading.profile == limit_install_script(stored)[0]
        assert reading.format == "powershell"
        assert not [finding for finding in reading.findings if finding.rule in ("script-hash", "script-changed")]


def test_what_profile_xml_lacks_survives() -> None:
    proxy = Proxy(server="proxy.example.com:8080", exceptions=("*.corp.example.com",), bypass_local=True)
    for profile in (DEVICE, replace(USER, proxy=proxy)):
        limited, losses = limit_install_script(profile)
        assert limited == profile
        assert losses == []
        assert read_install_script(build_install_script(profile)).profile == profile


def test_the_hash_follows_the_document_and_the_extras() -> None:
    def read(profile: Profile) -> tuple[str, str]:
        values = read_payload(build_install_script(profile), "install-profile")
        return values["hash"], values["extras_hash"]

    assert read(USER) == read(replace(USER, version=8))
    assert read(USER)[0] != read(replace(USER, always_on=False))[0]
    other = replace(DEVICE, authentication=MachineCertificate())
    assert read(DEVICE)[0] == read(other)[0]
    assert read(DEVICE)[1] != read(other)[1]


def test_an_edited_script_is_read_and_reported() -> None:
    reading = read_install_script(build_install_script(USER).replace("exit 5", "exit 0"))
    assert reading.profile == USER
    assert [finding.rule for finding in reading.findings] == ["script-changed"]
    windows = "\ufeff" + build_install_script(USER).replace("\n", "\r\n")
    assert read_install_script(windows).findings == ()


def test_a_script_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="install-profile"):
        read_install_script(build_rras_script(USER))


def test_the_certificate_script_holds_no_secret() -> None:
    profile = replace(USER, l2tp_preshared_key="hunter2")
    script = build_certificate_script(profile, server_url="https://vpn.example.com:8443/", device_name="PC-1")
    assert read_payload(script, "get-certificate") == {
        "kind": "get-certificate",
        "profile": "Corp VPN",
        "server_url": "https://vpn.example.com:8443",
        "device_name": "PC-1",
    }


@pytest.mark.parametrize(
    ("profile", "url"),
    [
        (replace(USER, entra=EntraCompliance()), "https://vpn.example.com"),
        (DEVICE, "https://vpn.example.com"),
        (USER, "http://vpn.example.com"),
        (USER, "https://vpn.example.com/'; calc"),
        (USER, "https://user:password@vpn.example.com"),
    ],
)
def test_a_certificate_script_is_refused(profile: Profile, url: str) -> None:
    with pytest.raises(InvalidInputError):
        build_certificate_script(profile, server_url=url)


def test_the_certificate_script_speaks_the_enrolment_api() -> None:
    text = script_texts.GET_CERTIFICATE
    purpose = enrolment.build_signed_text(nonce=b"", user_name="", csr_der=b"")[4:]
    assert f"'{purpose[: purpose.index(bytes(4))].decode()}'" in text
    server = Path(enrolment.__file__).parents[1].joinpath("web/public/enrolment.py").read_text(encoding="utf-8")
    for path in ("/v1/nonces", "/v1/short-lived-certificates"):
        assert f"'{path}'" in text and f'"{path}"' in server
    for field in ("user", "password", "csr", "device_certificate", "device_signature", "nonce"):
        assert f"        {field} = " in text and f"    {field}: " in server
    assert "$body.code = " in text and "    code: " in server
    assert "-ne 401" in text and "HTTPException(401," in server


def test_the_server_gets_the_suite_in_its_spelling() -> None:
    values = read_payload(build_rras_script(replace(USER, cryptography=SUITE)), "configure-rras")
    assert values["suite"] == {
        "AuthenticationTransformConstants": "SHA196",
        "CipherTransformConstants": "GCMAES128",
        "PfsGroup": "ECP256",
        "DHGroup": "Group14",
        "IntegrityCheckMethod": "SHA1",
        "EncryptionMethod": "GCMAES128",
    }
    assert values["tunnel_type"] == "IKEV2"
    assert values["user_auth"] == ["EAP"]
    assert values["eap_type"] == "0D000000000000000000000000000000"
    assert values["allowed_certificate_oids"] == [CONDITIONAL_ACCESS_OID]
    assert values["no_revocation_address"] is True


def test_the_server_of_device_tunnels_gets_root_and_usages() -> None:
    values = read_payload(build_rras_script(DEVICE), "configure-rras")
    assert (values["client_root"], values["machine_usages"]) == ("ab" * 20, ["1.3.6.1.4.1.5"])
    assert values["user_auth"] == ["Certificate"]
    assert values["no_revocation_address"] is False


def test_what_the_server_cannot_be_told_is_listed() -> None:
    assert "suite" in " ".join(list_rras_losses(USER))
    sstp = replace(USER, protocols=(Protocol.SSTP,), cryptography=SUITE, l2tp_preshared_key="hunter2")
    losses = " ".join(list_rras_losses(sstp))
    assert "SSTP" in losses and "pre-shared key" in losses and "hunter2" not in losses
    assert read_payload(build_rras_script(sstp), "configure-rras")["suite"] is None


def test_the_scripts_call_what_the_reference_names() -> None:
    assert {"Get-VpnConnection", "Remove-VpnConnection", "Set-VpnConnection"} <= list_commands(
        script_texts.INSTALL_PROFILE
    )
    assert {"Set-VpnAuthProtocol", "Get-VpnAuthProtocol"} <= list_commands(script_texts.CONFIGURE_RRAS)
    for word in ("CertAuthFlags", "EnableServerFragmentation", "IgnoreNoRevocationCheck", "0x1041", "CustomPolicy"):
        assert word in script_texts.CONFIGURE_RRAS
    for word in ("AutoTriggerDisabledProfilesList", "EnterpriseResourceManager\\Tracked", "NetworkList\\Profiles"):
        assert word in script_texts.INSTALL_PROFILE
