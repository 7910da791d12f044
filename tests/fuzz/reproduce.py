"""One input again, without atheris: `python -m tests.fuzz.reproduce TARGET FILE`. The traceback is the bug."""

import sys
from pathlib import Path

from tests.fuzz.target import build_target, watch


def main(name: str, path: str) -> None:
    """Say that nothing is wrong, or raise what is."""
    watch(build_target(name))(Path(path).read_bytes())
    print(f"{name}: nothing is wrong with this input")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
