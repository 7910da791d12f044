"""Two administrators at once, one of whom is stopped where it matters."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from evertunnel.storage.store import Store, Transaction


class Meeting:
    """Stops whoever is about to write policies, after he looked at what stands, until the test lets him go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked, self.go_on = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None
        store_write = Store.write
        meeting = self

        @contextmanager
        def write(store: Store, now: datetime, *, fixed: bool = False) -> Iterator[Transaction]:
            if threading.current_thread() is meeting._thread:
                meeting.looked.set()
                assert meeting.go_on.wait(60)
            with store_write(store, now, fixed=fixed) as tx:
                yield tx

        monkeypatch.setattr(Store, "write", write)

    def begin(self, change: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                change()
            except Exception as error:
                self.error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert self.looked.wait(60)

    def finish(self) -> Exception | None:
        self.go_on.set()
        assert self._thread is not None
        self._thread.join(60)
        return self.error
