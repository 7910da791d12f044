"""Which of very many live sessions would not be granted now. Those that are alike are decided once."""

from collections.abc import Iterable
from datetime import datetime

from evertunnel.access.alike import USER_FACTS, list_inputs, tell_facts
from evertunnel.access.conditional.sign_in import SignIn, read_address
from evertunnel.access.decision import build_methods
from evertunnel.access.own_tunnel import find_own_tunnel
from evertunnel.actions.decide import Decider
from evertunnel.actions.end_unentitled_sessions import find_refusal
from evertunnel.model import AuthenticationMethod, Device, LoginMethod, SessionState, User
from evertunnel.storage.live_sessions import LiveRow

_BY_PASSWORD = frozenset(method.value for method in LoginMethod if method.by_password)
_PASSWORD = (AuthenticationMethod.PASSWORD.value,)
_ENDING = SessionState.ENDING.value
# Where so many were mostly like nobody else, as when a policy names everybody, telling that costs more than it spares.
_TRIED = 500

# All that whether a session may stay depends on.
Likeness = tuple[object, ...]


def find_refused(decider: Decider, rows: Iterable[LiveRow], *, now: datetime) -> set[str]:
    """The ids of those that would not be granted now and are not ending yet: the same as deciding each by itself says.

    Why each of them is refused is for `end_unentitled_sessions` to find out.
    """
    alike = Alike(decider, now)
    refused: set[str] = set()
    answers: dict[Likeness, bool] = {}
    told = 0
    for row in rows:
        if row.state == _ENDING:
            continue
        if told >= _TRIED and 2 * len(answers) > told:
            answer: bool | None = find_refusal(decider, row, now=now) is not None
        else:
            likeness = alike.tell(row)
            told += 1
            answer = answers.get(likeness)
            if answer is None:
                answer = answers[likeness] = find_refusal(decider, row, now=now) is not None
        if answer:
            refused.add(row.id)
    return refused


class Alike:
    """Tells what sessions have in common, as of one moment and one state of the decider.

    It looks up the same as `gather_session_facts` does, and puts it together in less than a tenth of the time.
    """

    def __init__(self, decider: Decider, at: datetime) -> None:
        self._decider = decider
        self._known = decider.snapshot
        self._at = at
        self._inputs = list_inputs(decider.policies)
        self._addresses: dict[str, Likeness] = {}
        self._sign_ins: dict[tuple[tuple[str, ...], datetime | None], Likeness] = {}

    def tell(self, row: LiveRow) -> Likeness:
        """All that whether this session may stay depends on."""
        if self._inputs.unknown:
            return (row.id,)
        known = self._known
        user = device = certificate = of_certificate = None
        methods: tuple[str, ...] = ()
        signed_in_at = None
        if row.method in _BY_PASSWORD:
            user = known.users.get(row.user_id or "")
            methods, signed_in_at = _PASSWORD, row.created_at
        if row.certificate_id:
            certificate = known.certificates_by_id.get(row.certificate_id)
        if certificate is not None:
            user = user or known.users.get(certificate.user_id or "")
            device = known.devices.get(certificate.device_id or "")
            if signed_in_at is None:
                methods, signed_in_at = certificate.methods, certificate.signed_in_at
            of_certificate = certificate.kind, certificate.status, certificate.device_id is None
        return (
            row.gateway_id,
            row.kind,
            row.method,
            row.crypto_bound,
            of_certificate,
            None if user is None else self._tell_user(user),
            None if device is None else self._tell_device(device, user, row.remote_address),
            self._addresses.get(row.remote_address) or self._tell_address(row.remote_address),
            self._sign_ins.get((methods, signed_in_at)) or self._tell_sign_in(methods, signed_in_at),
        )

    def _tell_user(self, user: User) -> Likeness:
        known, inputs = self._known, self._inputs
        facts = known.user_facts.get(user.id)
        return (
            user.enabled,
            user.groups,
            user.id if user.id in inputs.users else None,
            user.id in known.denials and self._decider.find_denial(user.id, self._at) != "",
            tell_facts(facts, USER_FACTS, self._at) if facts else None,
        )

    def _tell_device(self, device: Device, user: User | None, address: str) -> Likeness:
        known, inputs, at = self._known, self._inputs, self._at
        facts = known.device_facts.get(device.id)
        own = self._decider.find_own_tunnel(device, at, established=True)
        return (
            device.enabled,
            device.groups,
            device.id if inputs.device_names or device.id in inputs.devices else None,
            device.id in known.denials and self._decider.find_denial(device.id, at) != "",
            tell_facts(facts, inputs.device_facts, at) if facts else None,
            user is not None and user.id in device.users,
            None if own is None else find_own_tunnel(own, address, device_known=True)[0],
        )

    def _tell_address(self, text: str) -> Likeness:
        """What is known of a place, and which locations it is in."""
        known = self._decider.gather_sign_in(text)
        address = read_address(text) if self._inputs.locations else None
        held = [location.holds(address, known.country) for location in self._inputs.locations]
        told = self._addresses[text] = (known.sign_in_risk, known.user_risk, *held)
        return told

    def _tell_sign_in(self, methods: tuple[str, ...], at: datetime | None) -> Likeness:
        """How somebody signed in, and whether that is too long ago for those policies that ask."""
        sign_in = SignIn(
            self._at, None, methods=build_methods(methods, at), authenticated_at=at, tunnel=True, established=True
        )
        over = [frequency.find_remaining_seconds(sign_in) == 0 for frequency in self._inputs.frequencies]
        told = self._sign_ins[methods, at] = (methods, at is None, *over)
        return told
