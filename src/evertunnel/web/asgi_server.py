"""uvicorn, which wakes once a second while nobody asks instead of ten times: an idle server costs nothing."""

import asyncio
from contextlib import suppress
from types import FrameType

import uvicorn

_TICK_SECONDS = 1.0
_TICKS_OF_A_SECOND = 10  # uvicorn counts tenths, and renews the Date header at each tenth of them


class ASGIServer(uvicorn.Server):
    """Serves until a signal that uvicorn handles."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Until told to end."""
        self._loop = asyncio.get_running_loop()
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + _TICKS_OF_A_SECOND) % 864_000
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _TICK_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came: say so to the loop, which may be asleep."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)
