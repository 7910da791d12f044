"""Starts the processes, starts again what dies, stops all. Opens no packet itself.

Children are forked, not executed: what is imported once is shared, and a policy server that was killed answers
again within milliseconds from the same socket, whose packets the kernel kept meanwhile. So what children share from
before the fork is here too: of secrets that is a sealing key that is in no file, and the keys of TLS tickets.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import structlog

_RESTART_AT_MOST_EVERY_SECONDS = 1.0
_STOP_WITHIN_SECONDS = 10.0
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = structlog.get_logger()


@dataclass(slots=True)
class Child:
    """A process to keep running. `run` is called in the child and ends when it gets SIGTERM."""

    name: str
    run: Callable[[], None]
    pid: int = 0
    started: float = 0.0


def supervise(
    children: list[Child], *, on_ready: Callable[[], None], on_stopping: Callable[[], None] = lambda: None
) -> None:
    """Run until SIGTERM or SIGINT, then stop every child. Must be called before any thread exists."""
    alive_reader, alive_writer = os.pipe()
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    stopping = False

    def notice(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = stopping or number != signal.SIGCHLD

    for number in _HANDLED:
        signal.signal(number, notice)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    for child in children:
        _start(child, alive_reader, alive_writer)
    on_ready()
    while not stopping:
        waits = [wait for child in children if (wait := _restart_if_due(child, alive_reader, alive_writer)) is not None]
        if select.select([wake_reader], [], [], min(waits) if waits else None)[0]:
            os.read(wake_reader, 4096)
        _reap(children)
    on_stopping()
    _stop(children)


def _start(child: Child, alive_reader: int, alive_writer: int) -> None:
    child.started = time.monotonic()
    # A stop that comes before the child has put our handlers away would be noticed by nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        pid = os.fork()
    except OSError as error:  # no memory or too many processes; the others go on, and it is tried again
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        log.error("process cannot be started", child=child.name, error=error.strerror)
        return
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        child.pid = pid
        return
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        # A Ctrl-C at a terminal reaches the whole group; the supervisor decides when children stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The pipe ends when the supervisor does, however it dies: then nobody would restart or stop us.
        os.close(alive_writer)
        threading.Thread(target=_follow_supervisor, args=(alive_reader,), daemon=True).start()
        child.run()
        status = 0
    except SystemExit as end:  # the child said why itself
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        log.exception("process failed", child=child.name)
    finally:
        os._exit(status)


def _follow_supervisor(alive_reader: int) -> None:
    os.read(alive_reader, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    # Nobody is left who would kill a process that does not end by itself.
    time.sleep(_STOP_WITHIN_SECONDS)
    os._exit(1)


def _reap(children: list[Child]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for child in children:
            if child.pid == pid:
                child.pid = 0
                log.warning("process ended", child=child.name, status=os.waitstatus_to_exitcode(status))


def _restart_if_due(child: Child, alive_reader: int, alive_writer: int) -> float | None:
    """Start a dead child again; not more often than once a second. Returns how long to wait, None if it runs."""
    if child.pid:
        return None
    wait = child.started + _RESTART_AT_MOST_EVERY_SECONDS - time.monotonic()
    if wait > 0:
        return wait
    _start(child, alive_reader, alive_writer)
    return None if child.pid else _RESTART_AT_MOST_EVERY_SECONDS


def _stop(children: list[Child]) -> None:
    for child in children:
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_WITHIN_SECONDS
    while any(child.pid for child in children) and time.monotonic() < deadline:
        _reap(children)
        time.sleep(0.02)
    for child in children:
        if child.pid:
            log.error("process did not stop and is killed", child=child.name)
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
