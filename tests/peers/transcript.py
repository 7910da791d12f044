"""EAP messages in words, for tests that read like a conversation."""

_CODES = {3: "Success", 4: "Failure"}
_TYPES = {1: "Identity", 3: "NAK"}
_RECORDS = {0x14: "change cipher spec", 0x15: "alert", 0x16: "handshake", 0x17: "encrypted"}
_ALERTS = {49: "access_denied"}


def describe_eap(message: bytes) -> str:
    """One EAP message, such as `TLS handshake`, `TLS fragment` or `Success`."""
    if message[0] in _CODES:
        return _CODES[message[0]]
    eap_type, data = message[4], message[5:]
    if eap_type != 13:
        return _TYPES.get(eap_type, f"type {eap_type}")
    return f"TLS {_describe_tls(data)}"


def _describe_tls(data: bytes) -> str:
    if not data:
        return "nothing"
    flags, body = data[0], data[1:]
    if flags & 0x20:
        return "start"
    if flags & 0x40:
        return "fragment"
    if not body:
        return "empty"
    record = body[4 if flags & 0x80 else 0 :]
    if record[0] == 0x15 and len(record) == 7:
        return f"alert {_ALERTS.get(record[6], record[6])}"
    return _RECORDS.get(record[0], "last fragment")
