"""`python -m tests.fuzz [--seconds N] [TARGET ...]`: fuzz targets side by side, and say in a table what came of it.

New interesting inputs stay below .fuzz/corpus and are where the next run begins; what failed is below .fuzz/found.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import SHARES, list_targets

_FOLDER = Path(".fuzz")
_LEAST_SECONDS = 3
# A worker ends by itself; this long after that it hangs where not even libFuzzer's alarm ends it.
_GRACE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one target. `failed` is what went wrong, empty if nothing did."""

    name: str
    executions: int
    per_second: int
    coverage: int
    corpus: int
    failed: str = ""
    input: str = ""


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 when nothing was found."""
    known = list_targets()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (600)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(known)}; all unless named")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.targets) - set(known)):
        parser.error(f"{', '.join(unknown)}: no such target; there are {', '.join(known)}")
    names = options.targets or known
    jobs = min(os.cpu_count() or 1, len(names))
    allotted = allot(names, options.seconds, jobs)
    times = dict.fromkeys(f"{each:.0f}" for each in (min(allotted.values()), max(allotted.values())))
    print(f"{len(allotted)} targets, {' to '.join(times)} seconds each, {jobs} side by side", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda name: _run(name, allotted[name]), allotted))
    print_table(sorted(outcomes, key=lambda outcome: outcome.name))
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def allot(names: Sequence[str], seconds: float, jobs: int) -> dict[str, float]:
    """How long each target runs, by its share, so that `jobs` of them side by side take so many seconds together.

    The longest first, which is the order to begin them in: one that began last would end long after the others.
    """
    left = sorted(set(names), key=lambda name: (-SHARES.get(name, 1), name))
    time, allotted = seconds * jobs, dict[str, float]()
    while left:
        name, total = left[0], sum(SHARES.get(each, 1) for each in left)
        # None longer than all together: what that leaves is the others'.
        allotted[name] = min(seconds, time * SHARES.get(name, 1) / total)
        time -= allotted[name]
        del left[0]
    return {name: max(_LEAST_SECONDS, each) for name, each in allotted.items()}


def _run(name: str, seconds: float) -> Outcome:
    corpus, found = _FOLDER / "corpus" / name, _FOLDER / "found" / name
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    # libFuzzer ends its process without a word to Python, so what it made is taken away from outside.
    scratch = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(corpus), str(found), str(seconds)]
    try:
        with (_FOLDER / f"{name}.log").open("w+b") as log:
            try:
                code = subprocess.run(
                    command, stdout=log, stderr=log, env=os.environ | {"TMPDIR": scratch}, check=False,
                    timeout=seconds + _GRACE_SECONDS,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                code = -1
            log.seek(0)
            text = log.read().decode("utf-8", "replace")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    inputs = sorted(set(found.iterdir()) - before)
    return Outcome(
        name,
        executions=_find(r"stat::number_of_executed_units:\s+(\d+)", text),
        per_second=_find(r"stat::average_exec_per_sec:\s+(\d+)", text),
        coverage=_find(r"cov: (\d+)", text),
        corpus=_find(r"corp: (\d+)", text),
        failed=_explain(code, text) if code else "",
        input=str(inputs[0]) if inputs else "",
    )


def _find(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def _explain(code: int, text: str) -> str:
    """The exception, or what libFuzzer says."""
    for pattern in (r"^ === Uncaught Python exception: ===\n(.+)$", r"^==\d+== ?ERROR: (.+)$", r"^(\w+Error.*)$"):
        if found := re.search(pattern, text, re.MULTILINE):
            return found[1][:300]
    return f"ended with code {code}"


def print_table(outcomes: Sequence[Outcome]) -> None:
    """A line a target, and below what failed with how to see it again."""
    print(f"\n{'target':<16}{'executions':>12}{'a second':>10}{'edges':>8}{'corpus':>8}")
    for each in outcomes:
        line = f"{each.name:<16}{each.executions:>12,}{each.per_second:>10,}{each.coverage:>8,}{each.corpus:>8,}"
        print(line + ("  FAILED" if each.failed else ""))
    for each in outcomes:
        if not each.failed:
            continue
        print(f"\n{each.name}: {each.failed}\n  the whole of it: {_FOLDER}/{each.name}.log")
        if each.input:
            print(f"  the input: {each.input}")
            print(f"  again: {sys.executable} -m tests.fuzz.reproduce {each.name} {each.input}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
