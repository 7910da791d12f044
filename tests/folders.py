"""Folders that processes of other users may enter: pytest's own are for whoever runs it alone."""

import tempfile
from pathlib import Path


def make_folder() -> Path:
    """A fresh folder; whoever asks for it removes it."""
    folder = Path(tempfile.mkdtemp(prefix="evertunnel-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    return folder
