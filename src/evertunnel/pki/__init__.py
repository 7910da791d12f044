"""What our certificates, revocation lists and OCSP answers say. Pure: keys, randomness and `now` are arguments."""
