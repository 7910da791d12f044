"""Who says a fact, from the least to the most trusted. A policy may demand a least source.

- `device`: the device says it of itself, under its key. Whoever rules the device can make it say anything.
- `impossible travel`, `failed attempts`: what we found in the attempts ourselves (`computed_risks`); it cannot be faked
  without a key, and sees two signs only.
- `import`, `script`: a file or program of an administrator's, which has it from somewhere.
- `mdm`: an export of the system that manages the devices.
- `administrator`: said by hand.

A source with any other name ranks below all of these. `<source> posture` is the verdict of a compliance policy over
what that source said, and ranks as the source does. What is supposed in a what-if counts as if the best had said it.
"""

DEVICE = "device"
TRAVEL = "impossible travel"
FAILURES = "failed attempts"
IMPORT = "import"
SCRIPT = "script"
MDM = "mdm"
ADMINISTRATOR = "administrator"
SUPPOSED = "supposed"
# What an import may call itself: what the device and the administrator say comes by roads of their own.
IMPORTED = (IMPORT, SCRIPT, MDM)
# What we compute from attempts. Where it says nothing, it found nothing.
COMPUTED = frozenset({TRAVEL, FAILURES})
# What a policy may demand, from the least to the most trusted.
LEAST_SOURCES = (DEVICE, IMPORT, SCRIPT, MDM, ADMINISTRATOR)

_POSTURE = " posture"
_RANKS = {DEVICE: 1, TRAVEL: 2, FAILURES: 2, IMPORT: 3, SCRIPT: 3, MDM: 4, ADMINISTRATOR: 5, SUPPOSED: 6}


def rank_source(source: str) -> int:
    """How far a source is trusted; 0 is one we do not know."""
    return _RANKS.get(source.removesuffix(_POSTURE), 0)


def name_verdict_source(source: str) -> str:
    """The source of a verdict over posture that came from a source."""
    return source + _POSTURE


def is_verdict_source(source: str) -> bool:
    """Whether a fact is a verdict of ours, which nobody else may say."""
    return source.endswith(_POSTURE)
