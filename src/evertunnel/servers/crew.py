"""How many RADIUS workers take new logins: one while it has time left, all of them when it has not.

A login costs a fifth less CPU where one worker has them all: its commits are shared by more of them, and nobody else
writes what it has in memory (docs/decisions/0012). A conversation stays where it began, whoever is awake.
"""

import mmap
import time
from collections.abc import Callable

import structlog

# About as many as one turn takes: there are more behind them.
_LONG_QUEUE_PACKETS = 100
_MEASURE_SECONDS = 0.25
_BUSY = 0.6
# All together, for longer than any login stays open: then the others hold nothing any more.
_CALM = 0.4
_CALM_SECONDS = 40.0
_STANDS_STILL_SECONDS = 1.0
_STARTS_WITHIN_SECONDS = 10.0

log = structlog.get_logger()


class Crew:
    """What the workers of a port know of each other, in shared memory: how many are awake, how each one fares.

    Made before the fork. Workers are numbered from 0, and the first ones are awake.
    """

    def __init__(self, count: int, *, all_awake: bool = False) -> None:
        self.count = count
        self.all_awake = all_awake
        self._shared = memoryview(mmap.mmap(-1, 8 * (1 + 2 * count))).cast("d")
        self._shared[0] = count if all_awake else 1
        for number in range(count):
            self._shared[1 + number] = time.monotonic() + _STARTS_WITHIN_SECONDS

    @property
    def awake(self) -> int:
        """How many take new logins."""
        return int(self._shared[0])

    @awake.setter
    def awake(self, awake: int) -> None:
        self._shared[0] = awake

    def say(self, number: int, uptime: float) -> None:
        """This worker is there at this time of a clock that never jumps, the same one for all."""
        self._shared[1 + number] = uptime

    def say_busy(self, number: int, busy: float) -> None:
        """The share of a core that this worker needs."""
        self._shared[1 + self.count + number] = busy

    def find_silence(self, number: int, uptime: float) -> float:
        """Seconds since a worker said that it is there."""
        return uptime - self._shared[1 + number]

    def measure_busy(self, uptime: float) -> float:
        """How many cores all need together that are there."""
        return sum(
            self._shared[1 + self.count + number]
            for number in range(self.count)
            if self.find_silence(number, uptime) <= _STANDS_STILL_SECONDS
        )


class Shift:
    """One worker's part. `steer` tells the kernel how many are awake."""

    def __init__(
        self,
        crew: Crew,
        number: int,
        steer: Callable[[int], None],
        *,
        cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._crew = crew
        self._number = number
        self._steer = steer
        self._read_cpu_seconds = cpu_seconds
        self._measure_at = self._measured_at = self._cpu_seconds = 0.0
        self._calm_since: float | None = None
        self._steered = 0

    @property
    def awake(self) -> int:
        """How many take new logins."""
        return self._crew.awake

    def take_turn(self, uptime: float, *, packets: int) -> None:
        """Say that this worker is there, and wake the others or send them to sleep if it is time.

        `packets` is how many were found waiting in the turn before.
        """
        crew = self._crew
        if crew.all_awake or crew.count == 1:
            return
        crew.say(self._number, uptime)
        if packets >= _LONG_QUEUE_PACKETS:
            self._wake("many packets wait", packets=packets)
        if uptime >= self._measure_at:
            self._look(uptime)

    def _look(self, uptime: float) -> None:
        cpu_seconds = self._read_cpu_seconds()
        busy = 0.0
        if self._measured_at:
            busy = (cpu_seconds - self._cpu_seconds) / (uptime - self._measured_at)
        if not self._number and self._steered != self._crew.awake:
            # When it begins, and when two told the kernel at once and the last word was not the right one.
            self._tell_kernel(self._crew.awake)
        self._measure_at, self._measured_at, self._cpu_seconds = uptime + _MEASURE_SECONDS, uptime, cpu_seconds
        self._crew.say_busy(self._number, busy)
        if busy > _BUSY:
            self._wake("a worker is busy", busy=round(busy, 2))
        if self._number:
            if (silence := self._crew.find_silence(0, uptime)) > _STANDS_STILL_SECONDS:
                self._wake("the first one stands still", seconds=round(silence, 1))
        elif self._crew.measure_busy(uptime) > _CALM:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = uptime
        elif uptime - self._calm_since > _CALM_SECONDS:
            self._set(1, "one is enough")

    def _wake(self, why: str, **details: float) -> None:
        self._calm_since = None
        self._set(self._crew.count, why, **details)

    def _tell_kernel(self, awake: int) -> None:
        self._steered = awake
        self._steer(awake)

    def _set(self, awake: int, why: str, **details: float) -> None:
        if self._crew.awake == awake:
            return
        self._crew.awake = awake  # first, so that who is woken by a packet knows that it is awake
        self._tell_kernel(awake)
        log.info("workers that take new logins", awake=awake, why=why, **details)
