"""An authenticator app, as a phone has it."""

import pyotp

from evertunnel.actions.add_totp import add_totp
from evertunnel.actions.confirm_totp import confirm_totp
from evertunnel.totp import encode_secret
from tests.installation import ALICE, Installation


class App:
    """Alice's, with the secret she was given."""

    def __init__(self, installation: Installation, *, confirm: bool = True) -> None:
        self._installation = installation
        _, secret = installation.do(add_totp, ALICE, seal=installation.seal_sign_in)
        self.secret: bytes = secret
        if confirm:
            self.confirm()
            installation.clock.forward(seconds=60)  # the code of the confirmation was used

    def confirm(self, code: str | None = None) -> None:
        """Let it count."""
        shown = self.show() if code is None else code
        self._installation.do(confirm_totp, ALICE, shown, unseal=self._installation.unseal_sign_in)

    def show(self, *, steps: int = 0) -> str:
        """The code it shows now, or some steps from now."""
        return pyotp.TOTP(encode_secret(self.secret)).at(self._installation.now, counter_offset=steps)

    def guess(self) -> str:
        """A code that is none of those that are good now."""
        good = {self.show(steps=steps) for steps in (-1, 0, 1)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in good)
