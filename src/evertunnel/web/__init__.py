"""HTTP: the admin API, the public side (CRL, OCSP, enrolment) and the gate. Changes go through actions only."""
