"""Why charon refused a device tunnel, from the log lines of its IKE_SA. Pure.

The lines are those of strongSwan 5.9.8 (docs/decisions/0003; tests/lab holds them against the real one). They make
records only: a line that is not known gives a reason that says so, and never grants anything.
"""

from collections.abc import Collection, Sequence

from evertunnel.model import Reason

# In the order in which one explains the other: the first that occurs anywhere in the story decides.
_SIGNS: tuple[tuple[str, Reason, str], ...] = (
    ("signature validation failed", Reason.KEY_NOT_PROVEN, "the signature was not made with the certificate's key"),
    ("peer not authenticated by CA", Reason.CERTIFICATE_WRONG_KIND, "the certificate is not the device authority's"),
    ("certificate was revoked", Reason.CERTIFICATE_REVOKED, "the certificate is revoked"),
    ("subject certificate invalid", Reason.CERTIFICATE_EXPIRED, "the certificate is not valid now"),
    ("no issuer certificate found", Reason.CERTIFICATE_FOREIGN, "the certificate's issuer is not one we know"),
    ("no trusted", Reason.CERTIFICATE_FOREIGN, "no certificate that can be trusted was shown for the identity claimed"),
)
_GATE_SPOKE = "ocsp response correctly signed"
_GATE_ASKED, _STALE = "requesting ocsp status", "ocsp response is stale"
_STATUS_FAILED = ("RULE_CRL_VALIDATION", "ocsp check failed", "certificate status is not available")

# The cause comes before the consequence, so the first that occurs is told.
_CHILD_SIGNS = (
    "unable to install",
    "no acceptable traffic selectors",
    "traffic selectors",
    "no acceptable proposal",
    "failed to establish CHILD_SA",
)

# A client that wants EAP sends no signature; charon says so while it moves on to the user connection.
_EAP_REQUESTED = "peer requested EAP"
_CERTIFICATE_SHOWN = "received end entity cert"


def is_device_attempt(lines: Sequence[str]) -> bool:
    """Whether a client tried with a certificate alone, whichever connection charon ended up with."""
    story = "\n".join(lines)
    return _CERTIFICATE_SHOWN in story and _EAP_REQUESTED not in story


def find_child_fault(lines: Sequence[str]) -> str:
    """Why a tunnel has no CHILD_SA, in words, with charon's own where they are known."""
    said = next((line for line in lines if any(sign in line for sign in _CHILD_SIGNS)), None)
    return f"no CHILD_SA could be installed, so nothing went through: {said or 'strongSwan gave no reason'}"[:300]


def explain_refusal(lines: Sequence[str], *, other_authorities: Collection[str]) -> tuple[Reason, str]:
    """Reason and detail for an IKE_SA on the device connection that failed.

    `other_authorities` are the subjects of our authorities for other kinds, as charon writes names.
    """
    for line in lines:
        # charon knows these only if the client sent them, and calls them foreign; we know better.
        named = next((name for name in other_authorities if f'"{name}"' in line and "cert request" not in line), None)
        if named and ("ca certificate" in line or "issuer is" in line):
            return Reason.CERTIFICATE_WRONG_KIND, f"the certificate is from {named}, not from the device authority"
    story = "\n".join(lines)
    for sign, reason, detail in _SIGNS:
        if sign in story:
            return reason, detail
    if any(sign in story for sign in _STATUS_FAILED):
        answer = story.rpartition(_GATE_ASKED)[2]  # what came before the last question is the cache talking
        if _GATE_SPOKE in answer and _STALE not in answer:
            return Reason.DEVICE_REFUSED_AT_GATE, "the gate does not vouch for the certificate"
        return Reason.GATE_SILENT, "the gate gave no answer that can be used, so the gateway refused"
    last = lines[-1] if lines else "no reason was given"
    return Reason.TUNNEL_NOT_RECOGNISED, f"strongSwan ended it: {last}"[:300]
