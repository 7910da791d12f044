"""The texts of the PowerShell scripts: files of this package, part of the program as its modules are.

They are read once, when this module is loaded like any other; building a script reads nothing.
"""

from importlib.resources import files

_HERE = files(__package__)

INSTALL_PROFILE = _HERE.joinpath("install_profile.ps1").read_text(encoding="ascii")
GET_CERTIFICATE = _HERE.joinpath("get_certificate.ps1").read_text(encoding="ascii")
CONFIGURE_RRAS = _HERE.joinpath("configure_rras.ps1").read_text(encoding="ascii")
