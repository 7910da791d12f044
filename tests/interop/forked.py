"""Commands of ours, each in a process of its own that is forked from one that has everything loaded.

Most of what a command takes is Python reading its modules, three hundred times in these tests. That a command starts
by itself is tested with those that are started so (`Server.command`).
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import get_context

_TIMEOUT_SECONDS = 60
_context = get_context("forkserver")
# pytest is what each child would else read again as its parent's main module.
_context.set_forkserver_preload(["pytest", "tests.interop.preloaded"])


def run_forked(
    arguments: Sequence[str], stdin: bytes, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run one; no terminal. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as wrong:
        given.write(stdin)
        given.seek(0)
        files = [os.dup(each.fileno()) for each in (given, said, wrong)]
        paths = [f"/proc/{os.getpid()}/fd/{each}" for each in files]
        process = _context.Process(target=_work, args=(list(arguments), paths, dict(environment), os.getcwd()))
        process.start()
        process.join(_TIMEOUT_SECONDS)
        for each in files:
            os.close(each)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), _TIMEOUT_SECONDS)
        code = process.exitcode
        process.close()
        texts = []
        for each in (said, wrong):
            each.seek(0)
            texts.append(each.read().decode(errors="replace"))
    return subprocess.CompletedProcess(list(arguments), code, *texts)


def _work(arguments: list[str], paths: list[str], environment: dict[str, str], folder: str) -> None:
    from evertunnel.cli.app import app

    for number, path in enumerate(paths):
        os.dup2(os.open(path, os.O_RDWR if number else os.O_RDONLY), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115  until it ends
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    app(arguments, prog_name="evertunnel")
