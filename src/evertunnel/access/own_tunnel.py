"""Whether a device's own tunnel is up from where its user connects, which a policy may demand of a user tunnel.

A laptop that goes from one network to another takes both tunnels along, one after the other, and a tunnel that broke
is dialled again. So a user tunnel that is up keeps its answer for GRACE after something of this changed, and is decided
by what is true then. Whoever connects anew is answered by what is true now.
"""

from dataclasses import dataclass
from datetime import timedelta

from evertunnel.access.conditional.sign_in import read_address

# MOBIKE moves two tunnels within seconds of each other; Windows dials a device tunnel again within about ten seconds.
GRACE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class OwnTunnel:
    """Where the live device tunnels of a device come from.

    `lately`: that, or the address of the user tunnel that is up, changed within GRACE. `supposed` is what a what-if
    takes for true instead.
    """

    addresses: tuple[str, ...] = ()
    lately: bool = False
    supposed: bool | None = None

    def judge(self, client_address: str) -> tuple[bool | None, str]:
        """Whether one of them comes from this address, and in words. None: the address cannot be read.

        Behind one address may be many computers: that is why it must be this device's tunnel, and why the address
        alone proves nothing.
        """
        if self.supposed is not None:
            return self.supposed, "supposed"
        address = read_address(client_address.strip())
        if address is None:
            return None, "the client's address is not known"
        found = [read_address(text.strip()) for text in self.addresses]
        if address in found:
            return True, f"the device's own tunnel is up from {address}"
        elsewhere = ", ".join(str(each) for each in found if each is not None)
        words = (
            f"the device's own tunnel is up from {elsewhere}, not from {address}"
            if elsewhere
            else "the device's own tunnel is not up"
        )
        if self.lately:
            return True, f"{words}, for less than {GRACE.seconds} seconds"
        return False, words


def find_own_tunnel(own: OwnTunnel | None, client_address: str, *, device_known: bool) -> tuple[bool | None, str]:
    """Yes or no, and in words; None is unknown. `own` is None when nobody looked."""
    if own is None:
        return None, "nobody looked at tunnels of the device" if device_known else "the device is not known"
    return own.judge(client_address)
