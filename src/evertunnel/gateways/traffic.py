"""Octets of tunnels over all their children: each rekey of a child begins again at 0, and so would the sum."""

from collections.abc import Collection, Mapping

Octets = tuple[int, int]


class Traffic:
    """What went through each IKE_SA of one gateway, by its indexes. In memory: what is stored is where it goes on."""

    def __init__(self) -> None:
        self._before: dict[str, Octets] = {}
        self._children: dict[str, dict[str, Octets]] = {}

    def count(self, spis: str, children: Mapping[str, Octets], *, stored: Octets = (0, 0)) -> Octets:
        """Octets in and out until now, given what its children count. `stored` is what was known before our start."""
        if spis not in self._children:
            # What these children count is in what was stored, if anything was.
            counted = _sum(children)
            self._before[spis] = (max(0, stored[0] - counted[0]), max(0, stored[1] - counted[1]))
            self._children[spis] = {}
        known = self._children[spis]
        for child, (came_in, went_out) in children.items():
            old = known.get(child, (0, 0))
            known[child] = (max(came_in, old[0]), max(went_out, old[1]))
        before, now = self._before[spis], _sum(known)
        return before[0] + now[0], before[1] + now[1]

    def follow_rekey(self, old_spis: str, new_spis: str) -> None:
        """Its children go on under other indexes."""
        if old_spis in self._children:
            self._children[new_spis] = self._children.pop(old_spis)
            self._before[new_spis] = self._before.pop(old_spis)

    def keep_only(self, listed: Collection[str]) -> None:
        """Forget tunnels that are gone."""
        for spis in self._children.keys() - listed:
            del self._children[spis], self._before[spis]


class Idle:
    """How long tunnels have had no child, by their indexes: between two children there may be a moment without."""

    def __init__(self, at_most_seconds: float) -> None:
        self._at_most = at_most_seconds
        self._since: dict[str, float] = {}

    def is_over(self, spis: str, carries: bool, uptime: float) -> bool:
        """Whether a tunnel has carried nothing for too long."""
        if carries:
            self._since.pop(spis, None)
            return False
        return uptime - self._since.setdefault(spis, uptime) > self._at_most

    def keep_only(self, listed: Collection[str]) -> None:
        """Forget tunnels that are gone."""
        for spis in self._since.keys() - listed:
            del self._since[spis]


def _sum(children: Mapping[str, Octets]) -> Octets:
    return sum(octets[0] for octets in children.values()), sum(octets[1] for octets in children.values())
