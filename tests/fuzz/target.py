"""What a target is, and the bounds every input of every target has to keep."""

import importlib
import pkgutil
import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# For one input, instrumented. A reader that needs more for a few kilobytes can be kept busy by whoever sends them.
CPU_SECONDS = 2.0
GROWTH_BYTES = 64 * 1024 * 1024
# Of the time, 1 unless said here. Each input of `login` is some handshakes, sixty a second, and its server takes five
# seconds to set up: with one share it would see little besides its own seeds in a minute over all targets.
SHARES = {"login": 3}


class TooMuchError(AssertionError):
    """One input took more time or memory than any may."""


@dataclass(frozen=True, slots=True)
class Target:
    """`check` takes any bytes and raises only for a bug. `words` are tokens of the format, for the mutator."""

    check: Callable[[bytes], object]
    seeds: Sequence[bytes]
    largest_bytes: int = 4096
    words: Sequence[bytes] = ()


def list_targets() -> list[str]:
    """By name, the modules of `targets`."""
    from tests.fuzz import targets

    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def build_target(name: str) -> Target:
    """Build one; the modules it tests are imported by this and not before."""
    built: Target = importlib.import_module(f"tests.fuzz.targets.{name}").build()
    return built


def watch(target: Target) -> Callable[[bytes], None]:
    """The check of a target, which fails too for what takes too long or too much."""

    def check(data: bytes) -> None:
        # CPU and not wall time: a machine that is busy with something else is no bug.
        began, before = time.process_time(), _peak_bytes()
        target.check(data)
        took, grown = time.process_time() - began, _peak_bytes() - before
        if took > CPU_SECONDS:
            raise TooMuchError(f"{len(data)} bytes took {took:.1f} s of CPU; {CPU_SECONDS:.0f} are allowed")
        if grown > GROWTH_BYTES:
            raise TooMuchError(f"{len(data)} bytes took {grown >> 20} MiB; {GROWTH_BYTES >> 20} are allowed")

    return check


def bend(data: bytes, chance: random.Random) -> bytes:
    """Some bytes of an input turned, cut, doubled or thrown in: what needs no coverage to be worth a try."""
    bent = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(bent))
        match chance.randint(0, 3):
            case 0 if bent:
                bent[min(at, len(bent) - 1)] ^= 1 << chance.randint(0, 7)
            case 1:
                del bent[at : at + chance.randint(1, 8)]
            case 2:
                bent[at:at] = bent[at : at + chance.randint(1, 16)]
            case _:
                bent[at:at] = chance.choice((b"\0", b"\xff", b"\xff\xff\xff\xff", b"-1", b'"', b"[" * 64, b"\x7f"))
    return bytes(bent)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
