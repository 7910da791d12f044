"""Files with profiles: ProfileXML, Intune's JSON, DPC's registry files, swanctl.conf, our scripts and our own JSON.

What is read can be looked through, written in our own form and read again the same, and written in every format or
refused with a reason.
"""

import json

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.document import FORMAT, decode_document
from evertunnel.profiles.formats import FORMATS, Options
from evertunnel.profiles.lint.linter import lint_reading
from evertunnel.profiles.recognise import read_profiles
from tests.fuzz.target import Target
from tests.unit.profiles.samples import DEVICE, ENTRA, USER

OPTIONS = Options("https://vpn.example.com")
# `certificate-script` carries no profile; the others of these are written and never read.
_READ = ("profilexml-intune", "profilexml-escaped", "intune-custom", "intune-vpn", "dpc-reg", "powershell", "swanctl",
         "evertunnel")  # fmt: skip


def build() -> Target:
    """Each format of three profiles."""
    seeds = []
    for name in _READ:
        for profile in (USER, DEVICE, ENTRA):
            try:
                text = FORMATS[name].build(profile, OPTIONS)
            except InvalidInputError:
                continue
            seeds.append(text.encode())
    words = [
        "<Route>", "</VPNProfile>", "<![CDATA[", "<!DOCTYPE", "&#x0;", "dword:", "hex(7):", "[HKEY_", "xmlns=",
        '"@odata.type"', '"omaSettings"', "connections {", "proposals =", "\\ud800", "::/0", "null",
    ]  # fmt: skip
    return Target(check, seeds, largest_bytes=32_768, words=[word.encode() for word in words])


def check(data: bytes) -> None:
    """Read, lint, write."""
    try:
        readings = read_profiles(data, name="x")
    except InvalidInputError as error:
        assert 0 < len(str(error)) < 2_000
        return
    for reading in readings[:3]:
        for finding in lint_reading(reading):
            assert finding.what
        for item in FORMATS.values():
            try:
                text = item.build(reading.profile, OPTIONS)
            except InvalidInputError as error:
                assert 0 < len(str(error)) < 2_000
                continue
            text.encode(item.encoding)
            item.losses(reading.profile, OPTIONS)
            if item.name == FORMAT:
                assert decode_document(json.loads(text)).profile == reading.profile
