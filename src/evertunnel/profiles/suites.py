"""CryptographySuite: known values, what is weak, and the same as strongSwan writes it."""

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.model import CryptographySuite

KNOWN = {
    "authentication_transform": ("MD596", "SHA196", "SHA256128", "GCMAES128", "GCMAES192", "GCMAES256"),
    "cipher_transform": ("DES", "DES3", "AES128", "AES192", "AES256", "GCMAES128", "GCMAES192", "GCMAES256"),
    "pfs_group": ("None", "PFS1", "PFS2", "PFS2048", "ECP256", "ECP384", "PFSMM", "PFS24"),
    "dh_group": ("None", "Group1", "Group2", "Group14", "ECP256", "ECP384", "Group24"),
    "integrity_check": ("MD5", "SHA196", "SHA256", "SHA384"),
    "encryption": ("DES", "DES3", "AES128", "AES192", "AES256", "AES_GCM_128", "AES_GCM_256"),
}
WEAK = frozenset(
    {"MD596", "SHA196", "DES", "DES3", "PFS1", "PFS2", "PFS24", "Group1", "Group2", "Group24", "MD5"}
)  # fmt: skip

RECOMMENDED = CryptographySuite("GCMAES256", "GCMAES256", "ECP384", "ECP384", "SHA384", "AES_GCM_256")
PRESETS = {
    "recommended": RECOMMENDED,
    "hicks": CryptographySuite("GCMAES128", "GCMAES128", "ECP256", "Group14", "SHA256", "AES_GCM_128"),
    "rras": CryptographySuite("SHA256128", "AES128", "PFS2048", "Group14", "SHA256", "AES128"),
}

_GROUPS = {
    "Group1": "modp768", "Group2": "modp1024", "Group14": "modp2048", "Group24": "modp2048s256",
    "PFS1": "modp768", "PFS2": "modp1024", "PFS2048": "modp2048", "PFS24": "modp2048s256",
    "ECP256": "ecp256", "ECP384": "ecp384",
}  # fmt: skip
_IKE_CIPHERS = {
    "DES": "des", "DES3": "3des", "AES128": "aes128", "AES192": "aes192", "AES256": "aes256",
    "AES_GCM_128": "aes128gcm16", "AES_GCM_256": "aes256gcm16",
}  # fmt: skip
_ESP_CIPHERS = {
    "DES": "des", "DES3": "3des", "AES128": "aes128", "AES192": "aes192", "AES256": "aes256",
    "GCMAES128": "aes128gcm16", "GCMAES192": "aes192gcm16", "GCMAES256": "aes256gcm16",
}  # fmt: skip
_HASHES = {
    "MD5": "md5",
    "SHA196": "sha1",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "MD596": "md5",
    "SHA256128": "sha256",
}


def build_ike_proposal(suite: CryptographySuite) -> str:
    """What Windows offers for the IKE SA. Raises InvalidInputError for a suite that offers none."""
    cipher, group = _IKE_CIPHERS.get(suite.encryption), _GROUPS.get(suite.dh_group)
    integrity = _HASHES.get(suite.integrity_check)
    if cipher is None or group is None or integrity is None:
        raise InvalidInputError("cryptography: EncryptionMethod, IntegrityCheckMethod and DHGroup make no IKE proposal")
    return f"{cipher}-{'prf' if 'gcm' in cipher else ''}{integrity}-{group}"


def build_esp_proposal(suite: CryptographySuite) -> str:
    """What Windows offers for the tunnel's traffic; without a group when PfsGroup is None. Raises InvalidInputError."""
    cipher = _ESP_CIPHERS.get(suite.cipher_transform)
    integrity = _HASHES.get(suite.authentication_transform)
    if cipher is None or ("gcm" not in cipher and integrity is None):
        raise InvalidInputError(
            "cryptography: CipherTransformConstants and AuthenticationTransformConstants do not go together"
        )
    proposal = cipher if "gcm" in cipher else f"{cipher}-{integrity}"
    pfs = suite.dh_group if suite.pfs_group == "PFSMM" else suite.pfs_group
    if pfs == "None":
        return proposal
    if pfs not in _GROUPS:
        raise InvalidInputError(f"cryptography: {suite.pfs_group} is no group")
    return f"{proposal}-{_GROUPS[pfs]}"


def read_proposals(ike: str, esp: str) -> CryptographySuite | None:
    """The suite whose proposals these are, None when Windows has none. PFSMM is read as the group it stands for."""
    ciphers = {text: name for name, text in _IKE_CIPHERS.items()}
    esp_ciphers = {text: name for name, text in _ESP_CIPHERS.items()}
    parts, esp_parts = ike.split("-"), esp.split("-")
    hashes = {"md5": "MD5", "sha1": "SHA196", "sha256": "SHA256", "sha384": "SHA384"}
    groups = {_GROUPS[name]: name for name in KNOWN["dh_group"] if name in _GROUPS}
    pfs_groups = {_GROUPS[name]: name for name in KNOWN["pfs_group"] if name in _GROUPS}
    if len(parts) != 3 or parts[0] not in ciphers or parts[2] not in groups or esp_parts[0] not in esp_ciphers:
        return None
    integrity = hashes.get(parts[1].removeprefix("prf"))
    cipher = esp_ciphers[esp_parts[0]]
    rest = esp_parts[1:]
    if cipher.startswith("GCM"):
        authentication: str | None = cipher
    else:
        authentication = {"md5": "MD596", "sha1": "SHA196", "sha256": "SHA256128"}.get(rest.pop(0)) if rest else None
    pfs = pfs_groups.get(rest[0]) if rest else "None"
    if integrity is None or authentication is None or pfs is None or len(rest) > 1:
        return None
    return CryptographySuite(authentication, cipher, pfs, groups[parts[2]], integrity, ciphers[parts[0]])
