"""EAP (RFC 3748) on the server's side, and EAP-TLS (RFC 5216, 9190) over OpenSSL memory BIOs."""
