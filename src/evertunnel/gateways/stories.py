"""What charon said of each IKE_SA, line by line with the time it was said, for records. Bounded, and no I/O."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from evertunnel.model import Step
from evertunnel.vici_connection import Section

_STORIES_AT_MOST = 2000
_LINES_AT_MOST = 60
_GATE_ADDRESS = re.compile(r"'http://[^']*'")


class Line(NamedTuple):
    """A line of charon's log and the uptime at which it came: charon's own events bear no time."""

    uptime: float
    text: str


class Stories:
    """By the number of the IKE_SA."""

    def __init__(self) -> None:
        self._stories: OrderedDict[int, list[Line]] = OrderedDict()

    def keep_line(self, uptime: float, message: Section) -> None:
        """Keep what a log event says, if it is of an IKE_SA and tells anything."""
        if message.get("group") not in ("IKE", "CFG") or not message.get("ikesa-uniqueid"):
            return
        story = self._stories.setdefault(int(message["ikesa-uniqueid"]), [])
        if len(story) < _LINES_AT_MOST:
            story.append(Line(uptime, _hide_gate(message["msg"].strip())))
        while len(self._stories) > _STORIES_AT_MOST:
            self._stories.popitem(last=False)

    def get(self, number: int) -> Sequence[Line]:
        """What is known so far, in the order in which charon handed it out."""
        return tuple(self._stories.get(number, ()))

    def forget(self, number: int) -> None:
        """It is told."""
        self._stories.pop(number, None)

    def forget_all(self) -> None:
        """The numbers begin anew."""
        self._stories.clear()


def list_texts(lines: Sequence[Line]) -> tuple[str, ...]:
    """Without the times."""
    return tuple(line.text for line in lines)


def build_steps(lines: Sequence[Line]) -> tuple[Step, ...]:
    """As rungs of an attempt, counted from the first line."""
    return tuple(Step(measure(lines, line.uptime), line.text) for line in lines)


def measure(lines: Sequence[Line], uptime: float) -> float:
    """Milliseconds from the first line to a moment; 0 where there is no line, or it came first."""
    return round(max(0.0, uptime - lines[0].uptime) * 1000, 3) if lines else 0.0


def _hide_gate(line: str) -> str:
    """Whoever knows the gate's path could ask it; it does not belong into records."""
    return _GATE_ADDRESS.sub("the gate", line)
