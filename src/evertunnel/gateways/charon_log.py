"""Why charon refused a device tunnel, from the log lines of its IKE_SA. Pure.

The lines were seen from strongSwan 5.9.8 (docs/decisions/0003 and its test). A line that is not known gives a reason
that says so; it never grants anything.
"""

from collections.abc import Sequence

from evertunnel.model import Reason

# In the order in which one explains the other: the first that occurs anywhere in the story decides.
_SIGNS: tuple[tuple[str, Reason, str], ...] = (
    (
        "peer not authenticated by CA",
        Reason.CERTIFICATE_WRONG_KIND,
        "the certificate does not come from the device authority",
    ),
    (
        "no issuer certificate found",
        Reason.CERTIFICATE_FOREIGN,
        "the certificate comes from an authority we do not know",
    ),
    (
        "signature validation failed",
        Reason.KEY_NOT_PROVEN,
        "the signature was not made with the certificate's key",
    ),
    ("certificate was revoked", Reason.CERTIFICATE_REVOKED, "the certificate is revoked"),
    ("subject certificate invalid", Reason.CERTIFICATE_EXPIRED, "the certificate is not valid now"),
    (
        "no trusted",
        Reason.CERTIFICATE_FOREIGN,
        "no certificate that can be trusted was shown for the identity claimed",
    ),
)
_GATE_SPOKE = "ocsp response correctly signed"
_STATUS_FAILED = "RULE_CRL_VALIDATION"

# A client that wants EAP sends no signature; charon says so while it moves on to the user connection.
_EAP_REQUESTED = "peer requested EAP"
_SIGNATURE_SENT = "received end entity cert"


def is_device_attempt(lines: Sequence[str]) -> bool:
    """Whether a client tried with a certificate alone, whichever connection charon ended up with."""
    story = "\n".join(lines)
    return _SIGNATURE_SENT in story and _EAP_REQUESTED not in story


def explain_refusal(lines: Sequence[str]) -> tuple[Reason, str]:
    """Reason and detail for an IKE_SA on the device connection that failed."""
    story = "\n".join(lines)
    for sign, reason, detail in _SIGNS:
        if sign in story:
            return reason, detail
    if _STATUS_FAILED in story or "ocsp check failed" in story:
        if _GATE_SPOKE in story:
            return Reason.DEVICE_REFUSED_AT_GATE, "the gate does not vouch for the certificate"
        return Reason.GATE_SILENT, "the gate gave no answer that can be used, so the gateway refused"
    last = lines[-1] if lines else "strongSwan gave no reason"
    return Reason.TUNNEL_NOT_RECOGNISED, f"strongSwan ended it: {last}"[:300]
