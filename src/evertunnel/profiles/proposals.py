"""What a gateway agrees to: strong suites only, in our order, that Windows' recommended ones and stock strongSwan meet.

Windows sends exactly the suite its profile sets (reference: client profiles 7.4, 7.7). A child rekey by Windows carries
a key exchange only when the profile sets PfsGroup, so both forms are here; we never start one ourselves, because
Windows behind NAT refuses it (error 13863).
"""

IKE_PROPOSALS = (
    "aes256gcm16-prfsha384-ecp384",
    "aes256gcm16-prfsha256-ecp256",
    "aes128gcm16-prfsha256-ecp256",
    "aes256gcm16-prfsha384-modp2048",
    "aes128gcm16-prfsha256-modp2048",
    "aes256-sha256-ecp256",
    "aes256-sha384-ecp384",
    "aes128-sha256-ecp256",
    "aes256-sha256-modp2048",
    "aes128-sha256-modp2048",
    "aes128-sha256-x25519",
)

_ESP_CIPHERS = ("aes256gcm16", "aes128gcm16", "aes256-sha256", "aes128-sha256")
_GROUPS = ("ecp384", "ecp256", "modp2048")
ESP_PROPOSALS = (*(f"{cipher}-{group}" for cipher in _ESP_CIPHERS for group in _GROUPS), *_ESP_CIPHERS)
