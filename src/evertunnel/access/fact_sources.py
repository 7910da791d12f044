"""Who says a fact, from the least to the most trusted. A policy may demand a least source.

- `device`: the device says it of itself, under its key. Whoever rules the device can make it say anything.
- `import`, `script`: a file or program of an administrator's, which has it from somewhere.
- `mdm`: an export of the system that manages the devices.
- `administrator`: said by hand.

A source with any other name ranks below all of these. `<source> posture` is the verdict of a compliance policy over
what that source said, and ranks as the source does.
"""

DEVICE = "device"
IMPORT = "import"
SCRIPT = "script"
MDM = "mdm"
ADMINISTRATOR = "administrator"
# What an import may call itself: what the device and the administrator say comes by roads of their own.
IMPORTED = (IMPORT, SCRIPT, MDM)

_POSTURE = " posture"
_RANKS = {DEVICE: 1, IMPORT: 2, SCRIPT: 2, MDM: 3, ADMINISTRATOR: 4}


def rank_source(source: str) -> int:
    """How far a source is trusted; 0 is one we do not know."""
    return _RANKS.get(source.removesuffix(_POSTURE), 0)


def name_verdict_source(source: str) -> str:
    """The source of a verdict over posture that came from a source."""
    return source + _POSTURE


def is_verdict_source(source: str) -> bool:
    """Whether a fact is a verdict of ours, which nobody else may say."""
    return source.endswith(_POSTURE)
