"""What a gateway on another host and the server say to each other: enrolment codes, frames, messages."""
