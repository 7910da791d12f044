"""Numbers of the codes and attributes in use (RFC 2865 5, 2866 5, 2869 5, 3162, 2548)."""

from enum import IntEnum


class Code(IntEnum):
    """RADIUS packet codes (RFC 2865 3)."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCESS_CHALLENGE = 11


USER_NAME = 1
NAS_PORT = 5
SERVICE_TYPE = 6
FRAMED_MTU = 12
STATE = 24
CLASS = 25
VENDOR_SPECIFIC = 26
SESSION_TIMEOUT = 27
CALLED_STATION_ID = 30
CALLING_STATION_ID = 31
PROXY_STATE = 33
EAP_MESSAGE = 79
MESSAGE_AUTHENTICATOR = 80

VENDOR_MICROSOFT = 311
MS_MPPE_SEND_KEY = 16
MS_MPPE_RECV_KEY = 17

# The largest value of one attribute: a length octet counts itself and the type (RFC 2865 5).
MAXIMUM_VALUE_BYTES = 253
