"""Errors of the domain. Each rim translates them once; none knows HTTP, RADIUS or exit codes."""


class DomainError(Exception):
    """Something the caller asked for cannot be done. Its text is one line for an administrator."""


class NotFoundError(DomainError):
    """The thing named does not exist."""


class AlreadyExistsError(DomainError):
    """A thing of that name exists."""


class InvalidInputError(DomainError):
    """What was given is wrong; the text says what, where and how to mend it."""


class ConfirmationNeededError(DomainError):
    """It can be done, and has more consequence than somebody may have thought: it must be said that it is meant."""


class AccessDeniedError(DomainError):
    """A decision said no. `public` is what an outsider may read; the text and `attempt_id` are for the record."""

    def __init__(self, text: str, *, attempt_id: str = "", public: str = "Access was refused.") -> None:
        super().__init__(text)
        self.attempt_id = attempt_id
        self.public = public


class CodeNeededError(AccessDeniedError):
    """The password was right, and the code of an authenticator app is asked for besides."""


class UnavailableError(DomainError):
    """We cannot do it now (database, signer, gateway); trying again later may work."""
