"""What is imported before root is given up: afterwards the standard library may be out of reach, too."""

import re
import subprocess
import sys
from encodings import normalize_encoding
from pathlib import Path

import evertunnel

_NAMED = re.compile(r"""(?:encode\(|decode\(|encoding ?= ?)["']([A-Za-z0-9_-]+)["']""")


def test_every_encoding_that_the_source_names_is_there() -> None:
    sources = Path(evertunnel.__file__).parent.rglob("*.py")
    named = {name for source in sources for name in _NAMED.findall(source.read_text(encoding="utf-8"))}
    assert {"utf-8", "utf-16-le"} <= named
    program = "import sys, evertunnel.preload; print(*(name for name in sys.modules if name.startswith('encodings.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {f"encodings.{normalize_encoding(name).lower()}" for name in named} - loaded == set()
