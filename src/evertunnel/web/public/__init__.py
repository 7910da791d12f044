"""What the world may reach: revocation lists and OCSP over HTTP, enrolment over HTTPS. No admin route is here."""
