"""One target under atheris, in a process of its own: `python -m tests.fuzz.worker TARGET CORPUS FOUND SECONDS`.

The runner starts it; to look at one input use `python -m tests.fuzz.reproduce`.
"""

import sys
import tempfile
import time
from pathlib import Path

import atheris  # type: ignore[import-not-found]

# Of the whole process and of the wall clock: for what never comes back to be measured.
_RESIDENT_MEGABYTES = 2048
_HANGS_SECONDS = 60


def main(name: str, corpus: str, found: str, seconds: float) -> None:
    """Fuzz until the time is over or something is found; libFuzzer ends the process."""
    began = time.monotonic()
    with atheris.instrument_imports(include=["evertunnel"]):
        from tests.fuzz.target import build_target, watch

        target = build_target(name)
        check = watch(target)
        check(target.seeds[0])  # imports now what is imported late
    folder = Path(tempfile.mkdtemp())
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={max(1, round(seconds - (time.monotonic() - began)))}",
        f"-max_len={target.largest_bytes}",
        f"-timeout={_HANGS_SECONDS}",
        f"-rss_limit_mb={_RESIDENT_MEGABYTES}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
    ]
    if target.words:
        words = folder.parent / f"{name}.dict"
        words.write_text("".join(f'"{_escape(word)}"\n' for word in target.words))
        options.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], *options, corpus, str(folder)], check)
    atheris.Fuzz()


def _escape(word: bytes) -> str:
    return "".join(f"\\x{byte:02X}" for byte in word)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))
