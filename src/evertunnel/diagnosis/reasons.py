"""Every reason an attempt can end with: cause and fix in words, and the reason code NPS logs for the same.

Codes: Microsoft's NPS reason codes (reference: NPS 3.1); 0 is success. Where NPS knows no such case, the
nearest is given.
"""

import re
import shlex
from dataclasses import dataclass, replace

from evertunnel.diagnosis.nps_codes import NPS_REASONS
from evertunnel.model import Reason

_PLACEHOLDER = re.compile(r"\b(?:USER|DEVICE|GATEWAY)\b")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an administrator reads."""

    cause: str
    fix: str
    nps_code: int

    @property
    def nps_reason(self) -> str:
        """What NPS means by its code."""
        return NPS_REASONS[self.nps_code]


_EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.GRANTED: Explanation("Access was granted.", "Nothing is to be done.", 0),
    Reason.USER_DENIED: Explanation(
        "An administrator denied this user.",
        "If that should end: evertunnel allow user USER.",
        65,
    ),
    Reason.DEVICE_DENIED: Explanation(
        "An administrator denied this device.",
        "If that should end: evertunnel allow device DEVICE.",
        65,
    ),
    Reason.USER_UNKNOWN: Explanation(
        "The owner of the certificate or password does not exist any more.",
        "Add the user again, and issue a new certificate or set a password.",
        8,
    ),
    Reason.USER_DISABLED: Explanation(
        "The user is disabled.", "Enable the user: evertunnel user change USER --enable.", 34
    ),
    Reason.DEVICE_UNKNOWN: Explanation(
        "The device does not exist any more.",
        "Add the device again and issue a new certificate.",
        8,
    ),
    Reason.DEVICE_DISABLED: Explanation(
        "The device is disabled.", "Enable the device: evertunnel device change DEVICE --enable.", 34
    ),
    Reason.DEVICE_NOT_ASSIGNED: Explanation(
        "The device is not assigned to the user who signed in or connects on it, or was taken away from him or her.",
        "If it should be: evertunnel device assign DEVICE USER.",
        38,
    ),
    Reason.DEVICE_PROOF_FAILED: Explanation(
        "Whoever asked for a short-lived certificate did not prove a valid device key over that request.",
        "Check that the client uses the certificate and key issued for this device, and that the certificate is valid: "
        "evertunnel certificate list.",
        16,
    ),
    Reason.SIGN_IN_FAILED: Explanation(
        "The user name or the password is wrong.",
        "Set a new password: evertunnel user change USER --password. Many of these from one device are an attack.",
        16,
    ),
    Reason.CODE_NEEDED: Explanation(
        "The password was right, and the code of the authenticator app was asked for. The next attempt brings it.",
        "Where none follows, the user has lost the app, which evertunnel user totp remove USER mends, or somebody else "
        "knows the password: ask the user.",
        16,
    ),
    Reason.CODE_WRONG: Explanation(
        "The password was right, and the code of the authenticator app was wrong or was used before: each is good "
        "once, and for a minute and a half.",
        "See that the clock of the phone is right. If it was not the user who tried, somebody knows the password: "
        "evertunnel user change USER --password.",
        16,
    ),
    Reason.TOO_MANY_SIGN_INS: Explanation(
        "Too many sign-ins failed within five minutes: on this device, so that the password was not looked at, or with "
        "wrong codes after this user's right password, so that the code was not.",
        "Wait five minutes. If it was not the user who tried, deny the device and look who has it; after wrong codes "
        "the password is known to somebody else: change it.",
        64,
    ),
    Reason.IDENTITY_MISMATCH: Explanation(
        "The client called itself one user and came with the certificate or password of another. That is what counts, "
        "so somebody tries to look like somebody else, or the client is set up with the wrong user name.",
        "Set the client's EAP identity to the user name of its certificate or password, or leave it anonymous@realm.",
        298,
    ),
    Reason.CERTIFICATE_MISSING: Explanation(
        "The client sent no certificate.",
        "Check that a certificate that matches the profile's filter is in the user's store and has its private key.",
        263,
    ),
    Reason.CERTIFICATE_EXPIRED: Explanation(
        "The certificate has ended or has not begun.",
        "Have the client get a new one; if all clients fail, compare the clocks of client and server.",
        268,
    ),
    Reason.CERTIFICATE_REVOKED: Explanation(
        "The certificate is revoked.", "Issue a new certificate if its owner may still connect.", 289
    ),
    Reason.CERTIFICATE_ON_HOLD: Explanation(
        "The certificate is on hold because its owner was denied.",
        "Lift the denial: evertunnel allow user USER or evertunnel allow device DEVICE.",
        289,
    ),
    Reason.CERTIFICATE_FOREIGN: Explanation(
        "The certificate comes from an authority that is not trusted for this.",
        "Check which certificate the client chose: its profile should name the issuer. evertunnel certificate "
        "authorities lists ours.",
        295,
    ),
    Reason.CERTIFICATE_UNKNOWN: Explanation(
        "The certificate carries our signature and is not on record. Somebody may have signed with a stolen key, or "
        "the database is older than the certificate.",
        "Find out where it comes from before anything else; issue new certificates if the database was restored.",
        295,
    ),
    Reason.CERTIFICATE_WRONG_KIND: Explanation(
        "The certificate is of a kind that may not bring up this tunnel, such as a device's on the user tunnel.",
        "Check the certificate filter in the client's profile: device tunnel and user tunnel need different ones.",
        293,
    ),
    Reason.CERTIFICATE_WITHOUT_USAGE: Explanation(
        "The certificate may not be used to authenticate a client (no Client Authentication usage).",
        "Use a user or short-lived certificate.",
        267,
    ),
    Reason.CERTIFICATE_USAGE_DEMANDED: Explanation(
        "The network policy demands a usage that the certificate lacks: usually a long-lived certificate was sent "
        "where the short-lived one of conditional access is demanded.",
        "Filter the client's certificates by that usage (1.3.6.1.4.1.311.87), and check that the client gets "
        "short-lived ones.",
        73,
    ),
    Reason.KEY_NOT_PROVEN: Explanation(
        "The certificate was shown without proof of its key: it may be a copy.",
        "If it is the rightful owner: the key in the client's store does not belong to the certificate; enrol again.",
        260,
    ),
    Reason.NO_NETWORK_POLICY: Explanation(
        "No network policy matches, and without one the answer is no.",
        "evertunnel attempt show tells which condition of which policy did not match; evertunnel policy network list "
        "shows them all.",
        48,
    ),
    Reason.NETWORK_POLICY_DENIES: Explanation(
        "The first network policy that matches denies.",
        "Take the user or device out of the group it names, or change the order of the policies.",
        65,
    ),
    Reason.NO_ACCESS_POLICY: Explanation(
        "No conditional access policy that is switched on applies to this user, so nothing vouches for the sign-in.",
        "Import one: evertunnel policy access import FILE, or evertunnel policy set-up for the usual set.",
        48,
    ),
    Reason.BLOCKED_BY_ACCESS_POLICY: Explanation(
        "A conditional access policy blocks access (Entra shows 53003 for this).",
        "Exclude the user or group from that policy, or switch it to report-only.",
        65,
    ),
    Reason.SIGN_IN_TOO_OLD: Explanation(
        "Conditional access demands a newer sign-in (Entra shows 70043 or 50078 for this), or it is not known when the "
        "user last signed in.",
        "Sign in again: the client then gets a new certificate. If it comes too often, raise the sign-in frequency of "
        "the policy.",
        65,
    ),
    Reason.MFA_REQUIRED: Explanation(
        "Conditional access demands a second factor, and none is known to be passed (Entra shows 50076 for this).",
        "Sign in with a second factor, or exclude the user or group from that policy.",
        65,
    ),
    Reason.AUTHENTICATION_TOO_WEAK: Explanation(
        "Conditional access demands stronger authentication than was used (Entra shows 50074 for this).",
        "Sign in with one of the combinations the policy's authentication strength allows.",
        65,
    ),
    Reason.DEVICE_TUNNEL_NOT_UP: Explanation(
        "A policy demands that the device's own tunnel is up from where the user tunnel comes from, and it is not "
        "known to be.",
        "See whether it is up: evertunnel session list. If not, see why: evertunnel attempt list --device DEVICE. "
        "If it comes from another address (another network, IPv4 beside IPv6), the tunnels must take one way.",
        65,
    ),
    Reason.DEVICE_NOT_DOMAIN_JOINED: Explanation(
        "Conditional access demands a device joined to the domain, and this one is not known to be (Entra shows 53001 "
        "for this).",
        "Join the device to the domain, and see that whoever reports its facts says so.",
        65,
    ),
    Reason.PASSWORD_CHANGE_REQUIRED: Explanation(
        "Conditional access demands a new password, and none is known to be set (Entra shows 50135 for this).",
        "Set a new password: evertunnel user change USER --password.",
        33,
    ),
    Reason.TERMS_OF_USE_NOT_ACCEPTED: Explanation(
        "Conditional access demands terms of use that the user is not known to have accepted (Entra shows 50158 for "
        "this).",
        "Have the user accept them, or exclude the user or group from that policy.",
        65,
    ),
    Reason.ACCESS_CONTROL_UNKNOWN: Explanation(
        "A conditional access policy demands something that we have no means for, so nobody can meet it.",
        "Take that control out of the policy, or let it stand beside one that can be met with the operator OR.",
        65,
    ),
    Reason.LIFETIME_TOO_SHORT: Explanation(
        "Conditional access would have let the certificate last for less than two minutes: the sign-in, or a fact "
        "that a policy looks at, is about to run out.",
        "Sign in again, or see that the fact is reported anew before it ends.",
        65,
    ),
    Reason.DEVICE_NOT_COMPLIANT: Explanation(
        "Conditional access demands a compliant device, and this one is not known to be (Entra shows 53000 for this).",
        "Mend what the compliance source complains of, then report it: evertunnel device report DEVICE --compliant.",
        65,
    ),
    Reason.METHOD_REFUSED: Explanation(
        "The client or the gateway wanted an authentication method that no network policy of this gateway allows.",
        "Set the profile's authentication to EAP-TLS or PEAP with a certificate inside, or name the method in a "
        "network policy.",
        22,
    ),
    Reason.METHOD_NOT_ALLOWED: Explanation(
        "The network policy that matches does not allow the method the client logged in with.",
        "Set the client's profile to one of the methods in the detail, or make a policy that names this one with the "
        "option --method of: evertunnel policy network add.",
        66,
    ),
    Reason.MSCHAPV2_SWITCHED_OFF: Explanation(
        "The client logged in with a password, and MS-CHAPv2 is switched off here.",
        "Use EAP-TLS, or PEAP with a certificate inside. docs/authentication-methods.md says what switching it on "
        "costs.",
        66,
    ),
    Reason.PASSWORD_WRONG: Explanation(
        "The user name or the password is wrong, or no NT hash is kept of this user: one is made when a password is "
        "set while MS-CHAPv2 is switched on.",
        "Set the password anew: evertunnel user change USER --password. Passwords of Active Directory cannot be "
        "checked here.",
        16,
    ),
    Reason.PASSWORD_EXPIRED: Explanation(
        "The password must be changed, and the client did not offer to change it.",
        "Log in with a client that asks for a new password, or set one: evertunnel user change USER --password.",
        33,
    ),
    Reason.PASSWORD_CHANGE_FAILED: Explanation(
        "The old password was right, and the new one could not be taken; the detail says why.",
        "Choose another one, of 8 characters or more.",
        17,
    ),
    Reason.OUTER_IDENTITY_MISMATCH: Explanation(
        "Outside its PEAP tunnel the client called itself another user than inside it.",
        "Set identity privacy in the client's profile to anonymous, or let it send its own name.",
        23,
    ),
    Reason.CRYPTO_BINDING_MISSING: Explanation(
        "The client did not bind the inner method to its PEAP tunnel, so somebody may stand between it and us.",
        "Switch on Require Cryptobinding in the client's profile. A client that cannot do it needs a network policy "
        "of its own with --without-crypto-binding, which is weak.",
        302,
    ),
    Reason.CRYPTO_BINDING_WRONG: Explanation(
        "The crypto-binding of the client does not fit its tunnel and its inner method: somebody may stand between it "
        "and us.",
        "Find out what terminates TLS between client and gateway before anything else.",
        301,
    ),
    Reason.TLS_FAILED: Explanation(
        "The TLS handshake failed, or the client said something that may not be said there; the detail has the alert "
        "or the error.",
        "An alert unknown_ca or bad_certificate from the client means that it does not trust the policy server: check "
        "the trusted root and the server name in its profile.",
        23,
    ),
    Reason.CLIENT_STOPPED: Explanation(
        "The client stopped answering in the middle of the login.",
        "Look for lost fragments on the way (MTU), a prompt waiting on the screen, or a client that does not trust the "
        "policy server and says nothing.",
        96,
    ),
    Reason.TOO_MANY_ROUNDS: Explanation(
        "The login took more rounds than any honest one needs.",
        "Raise the MTU between client and gateway if it is very small.",
        96,
    ),
    Reason.TOO_MANY_FAILURES: Explanation(
        "Too many logins from this address failed on this gateway within a minute before a key was proven, or too many "
        "passwords were tried with this name from there, as the detail says, so this one was not looked at. No user "
        "and no device is locked out: from another address they get in.",
        "It ends by itself within a minute. The attempts before it tell what fails there; where logins of many clients "
        "behind one address fail, raise radius_failures_per_minute in evertunnel.toml.",
        64,
    ),
    Reason.DEVICE_REFUSED_AT_GATE: Explanation(
        "The gate did not vouch for the device's certificate.",
        "Look at the device's denial, its certificate and the network policies for device tunnels.",
        65,
    ),
    Reason.GATE_SILENT: Explanation(
        "The gateway got no usable answer from the gate, so it refused the device: it fails closed.",
        "Check that `evertunnel serve` runs and that the gateway reaches the gate's address.",
        259,
    ),
    Reason.GATEWAY_DISABLED: Explanation(
        "The gateway is disabled or was removed.",
        "If it should take tunnels again: evertunnel gateway change GATEWAY --enable.",
        65,
    ),
    Reason.TUNNEL_NOT_RECOGNISED: Explanation(
        "The gateway had a tunnel that belongs to nobody we know; it was ended.",
        "A client that claims a name of its own choice, or tunnels left from before a restart: it connects again by "
        "itself if it may.",
        97,
    ),
    Reason.INTERNAL_ERROR: Explanation(
        "An error of ours; the login was refused.", "The server's log has the details; please report it.", 1
    ),
}


def explain(
    reason: Reason, *, user: str | None = None, device: str | None = None, gateway: str | None = None
) -> Explanation:
    """Cause, fix and NPS's code. In the fix USER, DEVICE and GATEWAY are names: the known are put in."""
    explanation = _EXPLANATIONS[reason]
    names = {"USER": user, "DEVICE": device, "GATEWAY": gateway}
    fix = _PLACEHOLDER.sub(lambda match: shlex.quote(names[match[0]] or match[0]), explanation.fix)
    return replace(explanation, fix=fix)
