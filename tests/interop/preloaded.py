"""What commands read when they need it, read once (tests.interop.forked)."""

import importlib
import pkgutil

import evertunnel.cli

for _module in pkgutil.iter_modules(evertunnel.cli.__path__):
    importlib.import_module(f"evertunnel.cli.{_module.name}")
for _name in ("httpx2", "evertunnel.installation", "evertunnel.signer", "evertunnel.actions.create_installation"):
    importlib.import_module(_name)
