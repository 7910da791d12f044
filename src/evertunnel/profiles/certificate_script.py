"""A script that keeps a short-lived certificate of Evertunnel in a Windows user's store: its own conditional access.

It speaks the enrolment API: a nonce, the text of `protocols.enrolment.build_signed_text` signed with the device's key,
the user's sign-in, a request whose key the TPM made. It holds addresses and names, no secret.

From documentation only: never run on Windows; parsed by tree-sitter-powershell, an independent grammar. Least certain:
that the TPM provider takes the access rule for the device key ("Security Descr"), that a task of the group Users shows
the sign-in to everybody signed in, that .NET Framework's CopyWithPrivateKey keeps the link to a named key in the store.
"""

import re

from evertunnel.errors import InvalidInputError
from evertunnel.model import TunnelKind
from evertunnel.profiles.model import Profile
from evertunnel.profiles.powershell import fill_script
from evertunnel.profiles.script_texts import GET_CERTIFICATE
from evertunnel.profiles.verify import verify_profile

_SERVER = re.compile(
    r"https://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]{0,500})?"
)
_DEVICE = re.compile(r"[^\s\"'`/\\]{1,255}")


def build_certificate_script(profile: Profile, *, server_url: str, device_name: str = "") -> str:
    """The script, in ASCII. Without `device_name` it serves every device, each under its computer's name.

    Raises InvalidInputError when the profile takes its certificates from Entra or from no user at all, and for an
    address that is not https.
    """
    verify_profile(profile)
    if profile.tunnel is not TunnelKind.USER or profile.selection is None:
        raise InvalidInputError("authentication: only a user tunnel with EAP-TLS has a certificate of its user")
    if profile.entra is not None:
        # Windows would ask Entra at every connection, and Entra's certificate would be taken or found missing.
        raise InvalidInputError("entra: the profile takes certificates from Entra; the two modes are never mixed")
    if not _SERVER.fullmatch(server_url):
        raise InvalidInputError(f"server_url: {server_url[:100]!r} is no address that begins with https://")
    if device_name and not _DEVICE.fullmatch(device_name):
        raise InvalidInputError(f"device_name: {device_name[:100]!r} is no name of a device")
    values = {
        "kind": "get-certificate",
        "profile": profile.name,
        "server_url": server_url.rstrip("/"),
        "device_name": device_name,
    }
    return fill_script(GET_CERTIFICATE, values)
