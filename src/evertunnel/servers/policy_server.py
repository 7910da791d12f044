"""The RADIUS side of the policy server: datagrams in, replies out, verdicts handed to the recorder in between.

`receive` never blocks and never writes. What ends a login is a `Verdict`; it becomes a reply only after
`servers.recorder` has committed it.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from evertunnel.actions.authenticate import Decided, decide_login
from evertunnel.actions.decide import Decider
from evertunnel.model import Decision, Gateway, Outcome, Reason
from evertunnel.protocols.eap.contexts import EAPContexts
from evertunnel.protocols.eap.conversation import (
    Accepted,
    Challenge,
    DecisionDue,
    MethodRefusedError,
    Refused,
    ResumptionDue,
    State,
    TooManyRoundsError,
)
from evertunnel.protocols.eap.methods.progress import AnyFailure, Failed, MethodFailure, PasswordPeer
from evertunnel.protocols.eap.open_conversations import OPEN_SECONDS, STATE_BYTES, OpenConversations
from evertunnel.protocols.eap.packet import EAPError
from evertunnel.protocols.eap.shown_certificate import describe_shown
from evertunnel.protocols.eap.tls_server import Peer, TLSFailure
from evertunnel.protocols.radius import attributes as radius
from evertunnel.protocols.radius.client_address import read_client_address
from evertunnel.protocols.radius.duplicates import Duplicates, Remembered
from evertunnel.protocols.radius.packet import (
    AccessRequest,
    PacketError,
    UnsignedError,
    bound_eap_message,
    decode_access_request,
    encode_reply,
)
from evertunnel.protocols.radius.status import decode_status_server, is_status_server
from evertunnel.rate_limit import RateLimits
from evertunnel.servers.askers import Asker, Askers
from evertunnel.servers.eap_methods import EAPMethods, note_method
from evertunnel.servers.logins import STATUS_PER_SECOND, Address, Elsewhere, Exchange, Login, Reply, Verdict
from evertunnel.servers.sources import Sources
from evertunnel.servers.workers import ALONE, Place

# EAP octets of one reply when the gateway names no Framed-MTU: fits one Ethernet frame with our other attributes.
_DEFAULT_EAP_BYTES = 1390
_MINIMUM_EAP_BYTES = 60  # a Framed-MTU is 64 at least (RFC 2865 5.12)
_EAP_TLS_HEADER_BYTES = 5
# Open logins of all workers, and of them those that hold TLS state.
_OPEN_AT_MOST, _TLS_AT_MOST = 10_000, 1_000
_REMEMBERED_AT_MOST = 20_000
# Of those who made room for others, so many a second are told of one by one; the rest are counted.
_CROWDED_OUT_AT_MOST = 100
_EAP_START_BYTES = 2  # an EAP-Message of no or two octets asks us to begin (RFC 3579 2.1)

_FAILURE_REASONS: dict[AnyFailure, Reason] = {
    TLSFailure.CERTIFICATE_MISSING: Reason.CERTIFICATE_MISSING,
    TLSFailure.CERTIFICATE_EXPIRED: Reason.CERTIFICATE_EXPIRED,
    TLSFailure.CERTIFICATE_FOREIGN: Reason.CERTIFICATE_FOREIGN,
    TLSFailure.CERTIFICATE_USAGE: Reason.CERTIFICATE_WITHOUT_USAGE,
    TLSFailure.CERTIFICATE_REVOKED: Reason.CERTIFICATE_REVOKED,
    TLSFailure.KEY_NOT_PROVEN: Reason.KEY_NOT_PROVEN,
    TLSFailure.CLIENT_ALERT: Reason.TLS_FAILED,
    TLSFailure.PROTOCOL: Reason.TLS_FAILED,
    MethodFailure.PASSWORD_WRONG: Reason.PASSWORD_WRONG,
    MethodFailure.TOO_MANY_TRIES: Reason.TOO_MANY_FAILURES,
    MethodFailure.PASSWORD_EXPIRED: Reason.PASSWORD_EXPIRED,
    MethodFailure.PASSWORD_CHANGE_FAILED: Reason.PASSWORD_CHANGE_FAILED,
    MethodFailure.BINDING_MISSING: Reason.CRYPTO_BINDING_MISSING,
    MethodFailure.BINDING_WRONG: Reason.CRYPTO_BINDING_WRONG,
    MethodFailure.CLIENT_REFUSED: Reason.TLS_FAILED,
}

# What a client may still mend within its login; if it says no more, that is why it failed.
_MAY_BE_MENDED = (Reason.PASSWORD_WRONG, Reason.PASSWORD_EXPIRED, Reason.TOO_MANY_FAILURES)

# The method knows more than the reason says.
_TOLD_IN_DETAIL = (Reason.TLS_FAILED, Reason.PASSWORD_CHANGE_FAILED)

log = structlog.get_logger()


class PolicyServer:
    """Open conversations, repeated requests, and what to answer. One thread calls it."""

    def __init__(
        self,
        decider: Decider,
        methods: EAPMethods,
        unseal_secret: Callable[[Gateway, bytes], bytes],
        place: Place = ALONE,
        sources: Sources | None = None,
    ) -> None:
        self._decider = decider
        self._place = place
        self._methods = methods
        self._unseal_secret = unseal_secret
        self._sources = sources or Sources()
        self.askers = Askers()
        self._status_limits = RateLimits(per_second=STATUS_PER_SECOND, burst=2 * STATUS_PER_SECOND)
        self._conversations: OpenConversations[Login] = OpenConversations()
        self._crowded_out: list[Login] = []
        self._duplicates: Duplicates[Reply] = Duplicates()
        self._dropped: Counter[str] = Counter()
        self._shared_by, self._part_at = place.count, math.inf
        self.share_with(place.count)

    def share_with(self, awake: int, *, uptime: float | None = None) -> None:
        """Take this worker's part of everything that is bounded, which is more while others are asleep.

        A smaller part than before is taken when those logins are over that were open, if it is told when it is: they
        cannot go on elsewhere, and whoever wakes others does it because many wait.
        """
        self._awake = awake
        self._sources.share_with(awake)
        self._methods.share_with(awake)
        if uptime is None or awake <= self._shared_by:
            self._take_part()
        else:
            self._part_at = uptime + OPEN_SECONDS

    def _take_part(self) -> None:
        self._shared_by, self._part_at = self._awake, math.inf
        self._duplicates.capacity = _REMEMBERED_AT_MOST // self._awake
        for login in self._conversations.resize(
            capacity=_OPEN_AT_MOST // self._awake, tls_capacity=_TLS_AT_MOST // self._awake
        ):
            self._crowd_out(login)

    def load_gateways(self) -> None:
        """Take the gateways the decider knows; one whose secret does not open is left out."""
        self.askers.load(self._decider.list_gateways(), self._unseal_secret)

    def use_tls(self, contexts: EAPContexts) -> None:
        """Begin new logins with another certificate; those that are open go on with theirs. From any thread."""
        self._methods.contexts = contexts

    def receive(
        self, data: bytes, source: Address, *, now: datetime, uptime: float
    ) -> Reply | Verdict | Elsewhere | None:
        """Take one datagram. None: nothing is to be sent, now or later.

        `uptime` is a clock in seconds that never jumps; ages are measured by it, `now` is for the record.
        """
        asker = self.askers.find(source[0])
        if asker is None:
            self._dropped["unknown_gateway"] += 1
            return None
        gateway = asker.gateway
        try:
            if is_status_server(data):
                return self._answer_status(asker, data, source, uptime)
            request, secret = asker.read(decode_access_request, data)
        except UnsignedError:
            self._dropped["without_message_authenticator"] += 1
            return None
        except PacketError:
            self._dropped["malformed_or_forged"] += 1
            return None
        owner = self._place.find_owner(request.authenticator, request.state, awake=self._awake)
        if owner is None:
            self._dropped["unknown_state"] += 1
            return None
        if owner != self._place.number:
            return Elsewhere(owner)
        # One conversation's packets may come from several ports of a gateway; a packet is repeated from its own.
        key = (source, request.identifier, request.authenticator)
        remembered = self._duplicates.find(key, uptime)
        if remembered is not None:
            return self._repeat(remembered, uptime)
        if request.state is None:
            login = self._begin_login(request, gateway, secret, now, uptime)
        else:
            found = self._conversations.take(request.state, gateway.id, uptime)
            if found is None:
                self._dropped["unknown_state"] += 1
                return None
            login = found
            login.secret = secret
        login.begin_round(len(request.eap_message), uptime)
        exchange = Exchange(login, request, self._duplicates.begin(key, uptime), source, now, uptime)
        try:
            outcome = self._advance(exchange)
        except MemoryError:  # our inability, not the client's fault: silence, and the gateway asks the next server
            self._dropped["no_memory"] += 1
            return None
        except Exception as error:  # a bug of ours over one packet ends that login, not the server
            log.exception("login failed", gateway=gateway.name)
            return self._refuse(exchange, Reason.INTERNAL_ERROR, f"an error of ours: {type(error).__name__}")
        if isinstance(outcome, Verdict):
            self._sources.count(outcome)
        return outcome

    @property
    def open_logins(self) -> int:
        """How many are under way."""
        return len(self._conversations)

    def take_dropped(self) -> dict[str, int]:
        """How many packets were dropped since this was asked last, by reason."""
        dropped, self._dropped = self._dropped, Counter()
        return dict(dropped)

    def expire(self, uptime: float) -> list[Verdict]:
        """Logins whose client stopped answering, to be recorded."""
        if uptime >= self._part_at:
            self._take_part()
        crowded_out, self._crowded_out = self._crowded_out, []
        silent = [
            _stop(login, "the client did not answer our last message", uptime)
            for login in self._conversations.expire(uptime)
        ]
        for verdict in silent:
            self._sources.count(verdict)
        # Who had to make room is not to blame for it, and is not counted.
        return [_stop(login, "too many logins were open at once", uptime) for login in crowded_out] + silent

    def _answer_status(self, asker: Asker, data: bytes, source: Address, uptime: float) -> Reply | None:
        status, secret = asker.read(decode_status_server, data)
        if not self._status_limits.allows(asker.gateway.id, uptime):
            self._dropped["too_many_status_queries"] += 1
            return None
        return Reply(encode_reply(radius.Code.ACCESS_ACCEPT, status, secret), source, vouches=True)

    def _begin_login(
        self, request: AccessRequest, gateway: Gateway, secret: bytes, now: datetime, uptime: float
    ) -> Login:
        framed_mtu = request.find_integer(radius.FRAMED_MTU)
        room = bound_eap_message(request, beside=2 + STATE_BYTES)
        packet_bytes = min(_bound_eap_bytes(framed_mtu), max(room, _MINIMUM_EAP_BYTES)) - _EAP_TLS_HEADER_BYTES
        client_address = read_client_address(request)
        return Login(
            gateway=gateway,
            secret=secret,
            conversation=self._methods.begin(gateway, client_address, packet_bytes),
            began_at=now,
            began_uptime=uptime,
            unique_id=request.find_integer(radius.NAS_PORT) or 0,
            client_address=client_address,
            framed_mtu=framed_mtu,
        )

    def _advance(self, exchange: Exchange) -> Reply | Verdict:
        login, request = exchange.login, exchange.request
        conversation = login.conversation
        try:
            if request.state is None and len(request.eap_message) <= _EAP_START_BYTES:
                if not request.has_eap_message:
                    return self._refuse(exchange, Reason.METHOD_REFUSED, "the gateway asked without EAP")
                return self._challenge(exchange, conversation.start())
            self._methods.uptime = exchange.uptime
            begins = conversation.state is State.WAITING_FOR_IDENTITY
            turn = conversation.receive(request.eap_message)
            if begins and not self._sources.may_begin(login, exchange.uptime):
                return self._refuse(exchange, Reason.TOO_MANY_FAILURES, "too many logins from this address failed")
        except EAPError as error:
            # Not silence: a client could make its gateway wait for us on one socket after the other, and think us dead.
            return self._refuse(exchange, Reason.TLS_FAILED, str(error))
        except MethodRefusedError as error:
            return self._refuse(exchange, Reason.METHOD_REFUSED, str(error))
        except TooManyRoundsError as error:
            return self._refuse(exchange, Reason.TOO_MANY_ROUNDS, str(error))
        note_method(login, exchange.uptime)
        if isinstance(turn, ResumptionDue):
            turn = conversation.resume(granted=self._may_resume(exchange, turn.peer))
        elif isinstance(turn, DecisionDue):
            turn = self._decide(exchange, turn)
        failed = turn.failed if isinstance(turn, Refused) else conversation.failed
        mended = login.refusal is None or login.refusal.reason in _MAY_BE_MENDED
        if failed is not None and failed is not login.failed and mended:
            login.failed = failed
            # Known before the client answers our alert, which many never do.
            login.refusal = self._explain_failure(exchange, failed)
        match turn:
            case Challenge():
                return self._challenge(exchange, turn)
            case Accepted():
                self._take_accepted(login, turn, exchange.uptime)
                return Verdict(login, exchange, exchange.uptime, conversation.fail(), accepted=turn)
            case Refused():
                return Verdict(login, exchange, exchange.uptime, turn.eap_message, refusal=login.refusal)

    def _may_resume(self, exchange: Exchange, peer: Peer) -> bool:
        """Whether who proved this once would be let in now. If not, it proves it again, and is refused with the reason.

        OpenSSL looks at nothing of a resumed session: neither at the certificate's authority nor at its end.
        """
        certificate = self._decider.find_certificate_by_fingerprint(_fingerprint(peer.certificate_der))
        if certificate is None or not self._methods.contexts.tls.trusts(peer.certificate_der):
            return False
        login = replace(exchange.login.facts(exchange.uptime), certificate=certificate)
        _, decision = decide_login(self._decider, login, now=exchange.now)
        return decision.granted

    def _decide(self, exchange: Exchange, due: DecisionDue) -> Challenge | Accepted | Refused:
        """The key is proven. A no is said here, before any success; a yes is looked at again when it is recorded."""
        login = exchange.login
        login.proven_in = login.rounds_count
        if isinstance(due.peer, PasswordPeer):
            login.password_user_id, login.proven_at, login.proven = due.peer.user_id, exchange.now, True
            login.password_mark = due.peer.mark
            login.note("the client proved the password", exchange.uptime)
        else:
            login.certificate = self._decider.find_certificate_by_fingerprint(_fingerprint(due.peer.certificate_der))
            login.proven, login.resumed = login.certificate is not None, due.peer.resumed
            if login.certificate is None:
                login.shown = describe_shown(due.peer.certificate_der)
        facts, decision = decide_login(self._decider, login.facts(exchange.uptime), now=exchange.now)
        login.decided = Decided(self._decider.epoch, facts, decision)
        if decision.granted:
            login.refusal = None  # a password that was wrong at first
            return login.conversation.accept(
                binding_required=not decision.settings.get("without_crypto_binding", False)
            )
        login.refusal = decision
        login.note(decision.detail, exchange.uptime)
        return login.conversation.refuse(decision.detail)

    def _take_accepted(self, login: Login, accepted: Accepted, uptime: float) -> None:
        """What the end of a method says besides that it is complete."""
        login.crypto_bound = accepted.bound
        if accepted.bound is not None:
            if login.decided is not None:
                login.decided = replace(login.decided, facts=replace(login.decided.facts, crypto_bound=accepted.bound))
            bound = "the inner method is bound to the tunnel" if accepted.bound else "without crypto-binding: weak"
            login.note(bound, uptime)
        if isinstance(accepted.peer, PasswordPeer) and (chosen := accepted.peer.new_password) is not None:
            peer = accepted.peer
            login.new_password = self._methods.prepare_password(peer.user_id, chosen, replaces=peer.mark)
            login.note("the client chose a new password", uptime)

    def _explain_failure(self, exchange: Exchange, failed: Failed) -> Decision:
        """Our reason for a handshake that failed. The key was not proven: the certificate is only what was shown."""
        login = exchange.login
        reason = _FAILURE_REASONS[failed.failure]
        detail = failed.detail if reason in _TOLD_IN_DETAIL else failed.failure.value
        login.note(detail, exchange.uptime)
        if failed.user_id is not None:
            login.password_user_id, login.proven_at, login.proven = failed.user_id, exchange.now, True
        if failed.certificate_der is None:
            return Decision(Outcome.REFUSED, reason, detail)
        known = self._decider.find_certificate_by_fingerprint(_fingerprint(failed.certificate_der))
        login.certificate = known
        if known is None:
            login.shown = describe_shown(failed.certificate_der)
        if known is not None and reason in (Reason.CERTIFICATE_REVOKED, Reason.CERTIFICATE_FOREIGN):
            # The decision knows better than OpenSSL: on hold because its owner is denied, or of another kind.
            _, decision = decide_login(self._decider, login.facts(exchange.uptime), now=exchange.now)
            if not decision.granted:
                return decision
        return Decision(Outcome.REFUSED, reason, detail)

    def _challenge(self, exchange: Exchange, turn: Challenge) -> Reply:
        state = self._place.new_state()
        self._keep(state, exchange)
        data = encode_reply(
            radius.Code.ACCESS_CHALLENGE,
            exchange.request,
            exchange.login.secret,
            eap_message=turn.eap_message,
            attributes=((radius.STATE, state),),
        )
        exchange.login.answer_round(len(turn.eap_message))
        exchange.remembered.reply = Reply(data, exchange.source)
        exchange.login.remembered = exchange.remembered
        return exchange.remembered.reply

    def _keep(self, state: bytes, exchange: Exchange) -> None:
        login = exchange.login
        stage = login.conversation.stage
        evicted = self._conversations.put(state, login.gateway.id, login, exchange.uptime, stage)
        if evicted is not None:
            self._crowd_out(evicted)

    def _crowd_out(self, login: Login) -> None:
        login.let_go()
        if len(self._crowded_out) < _CROWDED_OUT_AT_MOST:
            self._crowded_out.append(login)
        else:
            self._dropped["crowded_out"] += 1

    def _refuse(self, exchange: Exchange, reason: Reason, detail: str) -> Verdict:
        login = exchange.login
        login.note(detail, exchange.uptime)
        refusal = login.refusal or Decision(Outcome.REFUSED, reason, detail)
        eap_failure = login.conversation.fail() if exchange.request.has_eap_message else b""
        return Verdict(login, exchange, exchange.uptime, eap_failure, refusal=refusal)

    def _repeat(self, remembered: Remembered[Reply], uptime: float) -> Reply | Verdict | None:
        reply = remembered.reply
        if reply is None:
            self._dropped["repeated_too_soon"] += 1
            return None
        if reply.verdict is None:
            return reply
        if reply.verdict.sent:
            reply.verdict.login.note("the gateway asked again for the Accept that it had been sent", uptime)
            reply.verdict.uptime = uptime
        remembered.reply = None  # being decided again: one more in the same batch waits for the outcome
        return reply.verdict


def _stop(login: Login, detail: str, uptime: float) -> Verdict:
    refusal = login.refusal or Decision(Outcome.FAILED, Reason.CLIENT_STOPPED, detail)
    return Verdict(login, None, uptime, b"", refusal=refusal)


def _bound_eap_bytes(framed_mtu: int | None) -> int:
    """How many EAP octets a reply may carry (RFC 3579 2.4)."""
    if framed_mtu is None:
        return _DEFAULT_EAP_BYTES
    return max(_MINIMUM_EAP_BYTES, min(framed_mtu - 4, _DEFAULT_EAP_BYTES))


def _fingerprint(certificate_der: bytes) -> bytes:
    return hashlib.sha256(certificate_der).digest()
