"""Replies that end a login. They are built when the verdict is about to be committed and leave after it was."""

import os
import struct
from collections.abc import Mapping
from typing import Any

from evertunnel.model import ACCOUNTING_INTERVAL_SECONDS
from evertunnel.protocols.radius import attributes as radius
from evertunnel.protocols.radius.hidden_values import encode_session_keys
from evertunnel.protocols.radius.packet import encode_reply
from evertunnel.servers.logins import Reply, Verdict


def build_accept(verdict: Verdict, *, session_id: str, user_name: str, settings: Mapping[str, Any]) -> Reply:
    """The Access-Accept of a recorded grant: keys, session id as Class, the owner's name, the policy's settings."""
    assert verdict.exchange is not None
    assert verdict.accepted is not None
    request, secret = verdict.exchange.request, verdict.login.secret
    attributes = [
        (radius.CLASS, session_id.encode()),
        (radius.USER_NAME, user_name.encode()[: radius.MAXIMUM_VALUE_BYTES]),
        *encode_session_keys(
            verdict.accepted.master_session_key,
            secret=secret,
            request_authenticator=request.authenticator,
            salts=_random_salts(),
        ),
    ]
    # Only when a policy says so: strongSwan ends the tunnel at that second.
    if timeout := settings.get("session_timeout_seconds"):
        attributes.append((radius.SESSION_TIMEOUT, int(timeout).to_bytes(4, "big")))
    if verdict.login.gateway.foreign:
        attributes.append((radius.ACCT_INTERIM_INTERVAL, ACCOUNTING_INTERVAL_SECONDS.to_bytes(4, "big")))
    data = encode_reply(
        radius.Code.ACCESS_ACCEPT,
        request,
        secret,
        eap_message=verdict.accepted.eap_message,
        attributes=attributes,
    )
    return Reply(data, verdict.exchange.source, verdict)


def build_reject(verdict: Verdict) -> Reply | None:
    """The Access-Reject of a recorded refusal, with the EAP-Failure that ends the conversation; None: nobody waits."""
    if verdict.exchange is None:
        return None
    data = encode_reply(
        radius.Code.ACCESS_REJECT,
        verdict.exchange.request,
        verdict.login.secret,
        eap_message=verdict.eap_failure,
    )
    return Reply(data, verdict.exchange.source)


def _random_salts() -> tuple[int, int]:
    """Two different 15-bit salts (RFC 2548 2.4.2)."""
    first, other = struct.unpack("!HH", os.urandom(4))
    return first & 0x7FFF, (first ^ (1 + (other & 0x3FFF))) & 0x7FFF
