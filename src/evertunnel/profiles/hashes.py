"""Certificate hashes as people and Windows write them."""

import re

_OTHERS = re.compile(r"[\s:\-\u200e\u200f\ufeff]")
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read_hash(text: str) -> str | None:
    """Forty (SHA-1) or sixty-four (TEAP) lower-case digits, None if it is no hash.

    The certificate dialogue of Windows puts an invisible mark before what is copied from it.
    """
    digits = _OTHERS.sub("", text).lower()
    return digits if _HASH.fullmatch(digits) else None


def format_hash(digits: str) -> str:
    """As the EAP XML wants it: pairs with a blank between."""
    return " ".join(digits[index : index + 2] for index in range(0, len(digits), 2))
