"""Processes of the lab: started in the background, remembered in a file, ended by pid and by nothing else."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from evertunnel.errors import UnavailableError

_STOP_WITHIN_SECONDS = 10.0


class Processes:
    """What runs for one lab."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "processes.json"
        self._started: list[subprocess.Popen[bytes]] = []  # of this run; they are ours to reap

    def start(self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
        """Start in the background; what it prints goes to NAME.log in the lab's folder. Returns the pid."""
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._started.append(process)
        running = self._read()
        running[name] = {"pid": process.pid, "born": _find_birth(process.pid)}
        self._file.write_text(json.dumps(running), encoding="ascii")
        return process.pid

    def find(self, name: str) -> int | None:
        """The pid of a process that still runs. A number that was given to another process since does not count."""
        entry = self._read().get(name)
        if entry is None or entry["pid"] is None or entry["born"] is None:
            return None
        return entry["pid"] if _find_birth(entry["pid"]) == entry["born"] else None

    def stop(self, name: str) -> None:
        """Ask it to end; after ten seconds make it."""
        pid = self.find(name)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_WITHIN_SECONDS
        while self.find(name) is not None:
            self._reap()
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self._reap()

    def stop_all(self) -> None:
        """End all, the last started first."""
        for name in reversed(self._read()):
            self.stop(name)
        self._file.unlink(missing_ok=True)

    def _reap(self) -> None:
        self._started = [process for process in self._started if process.poll() is None]

    def list_running(self) -> dict[str, int]:
        """name -> pid of what runs."""
        return {name: pid for name in self._read() if (pid := self.find(name)) is not None}

    def _read(self) -> dict[str, dict[str, int | None]]:
        try:
            found: dict[str, dict[str, int | None]] = json.loads(self._file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UnavailableError(f"{self._file} is damaged: {error}") from error
        return found


def _find_birth(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])
