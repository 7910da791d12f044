"""The signer: holds the authorities' keys and signs what a stored, granted row says, which it reads itself.

Nobody sends it a certificate to sign. A caller names a row; the row's kind must be one that caller's user may
ask for, within the kind's ceilings of lifetime and rate; what was signed is checked against the row before it
leaves, and stored.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.errors import InvalidInputError, NotFoundError, UnavailableError
from evertunnel.model import AccessAuthorityState, Authority, CertificateKind, CertificateStatus
from evertunnel.pki.issuance import BACKDATE, Grant, PublicAddresses, build_certificate
from evertunnel.pki.keys import PrivateKey
from evertunnel.pki.kinds import KINDS, is_name_of_kind
from evertunnel.pki.lint import LintError, verify_certificate
from evertunnel.pki.names import verify_dns_name
from evertunnel.pki.revocation import Revocation, build_revocation_list
from evertunnel.storage import access_authorities, authorities, certificates, gateways
from evertunnel.storage.store import Store, Transaction, Watch
from evertunnel.storage.tables import AnyRow

Allowed = frozenset[tuple[CertificateKind, Authority]]
EVERYTHING: Allowed = frozenset((kind, authority) for kind, rules in KINDS.items() for authority in rules.authorities)

# A list is good for a week and made anew each day; the root's, whose key may be away, for a year.
_LIST_LIFETIME = {authority: timedelta(days=7) for authority in Authority} | {Authority.ROOT: timedelta(days=365)}
_LIST_RENEWAL = {authority: timedelta(days=1) for authority in Authority} | {Authority.ROOT: timedelta(days=30)}
# A list whose authority's key is away is talked about from here on.
LIST_WARNING = timedelta(days=30)
_POLL_SECONDS = 0.5  # a list is for those who read it by the hour
_WARN_SECONDS = 86400.0
_CHECK_SECONDS = 600.0

log = structlog.get_logger()


class LocalSigner:
    """Signs with keys in this process: the signer's own, and `init` before there is a signer."""

    def __init__(
        self,
        store: Store,
        keys: Mapping[str, PrivateKey],
        addresses: PublicAddresses,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._keys = keys
        self._addresses = addresses
        self._clock = clock
        self._lock = threading.Lock()

    def sign(self, certificate_id: str) -> bytes:
        """Sign one row; a row that was signed before gives the same certificate again."""
        return self.sign_for(certificate_id, EVERYTHING)

    def sign_for(self, certificate_id: str, allowed: Allowed, *, renewed: Allowed = frozenset()) -> bytes:
        """The same for a caller who may ask for some kinds only, and for some only to renew what we signed before.

        Raises InvalidInputError, NotFoundError, UnavailableError.
        """
        with self._lock, self._store.write(self._clock()) as tx:
            row = certificates.find_certificate(tx.connection, certificate_id)
            if row is None:
                raise NotFoundError(f"no certificate {certificate_id!r} was granted")
            kind, authority = CertificateKind(row.kind), authorities.read_authority(row.authority)
            if (kind, authority) not in allowed | renewed:
                raise InvalidInputError(f"this process may not ask for {kind.value} certificates of that authority")
            grant = _read_grant(row)
            if (kind, authority) not in allowed:
                self._verify_renewal(tx, grant)
            if row.certificate_der is not None:
                return bytes(row.certificate_der)
            if row.status != CertificateStatus.GRANTED.value:
                raise InvalidInputError(f"certificate {certificate_id} is {row.status}, not granted")
            self._verify_ceilings(tx, grant)
            _verify_gateway_name(tx, row, grant)
            _verify_radsec_name(tx, grant)
            _verify_signs(tx, row.authority)
            key = self._keys.get(row.authority)
            if key is None:
                raise UnavailableError(_explain_missing(row.authority))
            issuer = authorities.load_issuer(tx.connection, row.authority)
            certificate = build_certificate(grant, issuer=issuer, issuer_key=key, addresses=self._addresses)
            try:
                verify_certificate(certificate, grant, issuer=issuer, addresses=self._addresses)
            except LintError as error:
                log.error("signed certificate fails its own check", certificate=certificate_id, error=str(error))
                raise UnavailableError("the certificate was not issued: it failed its own check") from error
            der = certificate.public_bytes(Encoding.DER)
            certificates.store_signed(tx, certificate_id, der)
            # Readers of the certificates learn of it with the next epoch.
            tx.raise_epoch("certificate", certificate_id)
        return der

    def publish_revocations(self) -> list[str]:
        """Sign a new revocation list for each authority whose list is out of date. Returns those."""
        published = []
        now = self._clock()
        for name in list(self._keys):
            with self._lock, self._store.read() as connection:
                wanted = authorities.list_revocation_counts(connection).get(name)
                current = authorities.find_revocation_list(connection, name)
            if wanted is None:
                continue
            if (
                current is not None
                and current.revocations == wanted
                and now < current.this_update + _LIST_RENEWAL[authorities.read_authority(name)]
            ):
                continue
            try:
                key = self._keys.get(name)
            except UnavailableError as error:  # a damaged one must not keep the others from publishing
                log.warning("cannot sign a revocation list", authority=str(name), error=str(error))
                continue
            if key is None:  # taken offline in this moment
                continue
            with self._lock, self._store.write(now) as tx:
                self._publish(tx, name, key, _LIST_LIFETIME[authorities.read_authority(name)])
            published.append(name)
        return published

    def publish_list(self, authority: Authority, lifetime: timedelta) -> None:
        """Sign an authority's revocation list as it is now. Raises UnavailableError."""
        key = self._keys.get(authority)
        if key is None:
            raise UnavailableError(f"the key of the {authority.value} authority is not here")
        with self._lock, self._store.write(self._clock()) as tx:
            self._publish(tx, authority, key, lifetime)

    def list_keys(self) -> list[str]:
        """The names of the authorities whose keys are here."""
        return list(self._keys)

    def find_ending_lists(self) -> dict[Authority, datetime]:
        """Lists that nobody makes anew because the key is away, and when they end, a month before they do."""
        away = set(Authority) - set(self._keys)
        with self._store.read() as connection:
            rows = {authority: authorities.find_revocation_list(connection, authority) for authority in away}
        soon = self._clock() + LIST_WARNING
        return {authority: row.next_update for authority, row in rows.items() if row and row.next_update < soon}

    def find_missing_keys(self) -> list[str]:
        """Access authorities that sign, or will, and whose keys are not on this node: the database carries no keys."""
        here = set(self._keys)
        with self._store.read() as connection:
            made = access_authorities.list_access_authorities(connection)
        signing = (AccessAuthorityState.STAGED, AccessAuthorityState.ACTIVE)
        return [each.name for each in made if each.state in signing and each.name not in here]

    def _publish(self, tx: Transaction, authority: str, key: PrivateKey, lifetime: timedelta) -> None:
        current = authorities.find_revocation_list(tx.connection, authority)
        number = (current.number if current else 0) + 1
        next_update = tx.now + lifetime
        der = build_revocation_list(
            [
                Revocation(int(row.serial, 16), row.revoked_at, row.revocation_reason or "unspecified")
                for row in certificates.list_revoked(tx.connection, authority, tx.now)
            ],
            issuer=authorities.load_issuer(tx.connection, authority),
            issuer_key=key,
            number=number,
            this_update=tx.now - BACKDATE,
            next_update=next_update,
        )
        authorities.store_revocation_list(
            tx,
            authority,
            number=number,
            revocations=authorities.list_revocation_counts(tx.connection)[authority],
            this_update=tx.now,
            next_update=next_update,
            der=der,
        )

    def _verify_renewal(self, tx: Transaction, grant: Grant) -> None:
        """Raise InvalidInputError unless a valid certificate of ours has this very kind, key and names.

        What the row before says counts for nothing, because callers can write rows: its certificate must carry the
        authority's signature. It may have ended: a server that was off for long has no other.
        """
        issuer = authorities.load_authorities(tx.connection)[grant.authority]
        for row in certificates.list_valid_for_key(tx.connection, grant.public_key_der):
            if row.id == grant.certificate_id:
                continue
            before = x509.load_der_x509_certificate(row.certificate_der)
            wanted = replace(
                grant,
                serial=before.serial_number,
                not_before=before.not_valid_before_utc,
                not_after=before.not_valid_after_utc,
            )
            try:
                verify_certificate(before, wanted, issuer=issuer, addresses=self._addresses)
            except LintError:
                continue
            return
        raise InvalidInputError(
            f"this process may not ask for {grant.kind.value} certificates but to renew one: no valid certificate with "
            "this key and these names was signed before"
        )

    def _verify_ceilings(self, tx: Transaction, grant: Grant) -> None:
        rules = KINDS[grant.kind]
        if grant.authority not in rules.authorities:
            raise InvalidInputError(f"the {grant.authority.value} authority signs no {grant.kind.value} certificates")
        if not is_name_of_kind(grant.kind, (grant.name, *grant.dns_names)):
            raise InvalidInputError(f"a {grant.kind.value} certificate may not be called {grant.name}")
        for name in grant.dns_names:
            verify_dns_name(name)
        ceiling = timedelta(seconds=rules.ceiling_lifetime_seconds)
        if grant.not_after > tx.now + ceiling:
            raise InvalidInputError(f"a {grant.kind.value} certificate may last {ceiling} at most")
        if grant.not_before < tx.now - BACKDATE - timedelta(minutes=1):
            raise InvalidInputError("a certificate may not be dated back further than five minutes")
        if (
            certificates.count_signed_since(tx.connection, grant.kind, tx.now - timedelta(hours=1))
            >= rules.ceiling_per_hour
        ):
            raise UnavailableError(
                f"{rules.ceiling_per_hour} {grant.kind.value} certificates were signed within an hour, "
                "and no more may be"
            )


def _verify_gateway_name(tx: Transaction, row: AnyRow, grant: Grant) -> None:
    """Raise InvalidInputError for a gateway's certificate with any name but the public one of that gateway.

    Whoever may ask for these could otherwise be the policy server, or the place where passwords are typed.
    """
    if grant.kind is not CertificateKind.GATEWAY:
        return
    gateway = None if row.gateway_id is None else gateways.find_gateway(tx.connection, row.gateway_id)
    if gateway is None or gateway.id != row.gateway_id or {grant.name, *grant.dns_names} != {gateway.public_name}:
        raise InvalidInputError(f"{grant.name} is not the public name of the gateway that the certificate is for")


def _verify_radsec_name(tx: Transaction, grant: Grant) -> None:
    """Raise InvalidInputError for a RadSec listener's certificate with another name than the policy server has.

    What a row says of the policy server counts for nothing: its certificate must be one that we signed for that.
    """
    if grant.kind is not CertificateKind.RADSEC_SERVER:
        return
    issuer = authorities.load_authorities(tx.connection)[grant.authority]
    for row in certificates.list_of_kind(tx.connection, CertificateKind.POLICY_SERVER):
        certificate = x509.load_der_x509_certificate(row.certificate_der)
        try:
            certificate.verify_directly_issued_by(issuer)
            usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
            continue
        if set(usages) == set(KINDS[CertificateKind.POLICY_SERVER].usages) and {grant.name, *grant.dns_names} == set(
            names.get_values_for_type(x509.DNSName)
        ):
            return
    raise InvalidInputError(f"{grant.name} is not the name of our policy server")


def _verify_signs(tx: Transaction, name: str) -> None:
    """Raise InvalidInputError for an access authority that does not sign yet, or no more."""
    if authorities.read_authority(name) is not Authority.ACCESS:
        return
    active = access_authorities.get_active(tx.connection).name
    if name != active:
        raise InvalidInputError(f"the access authority {name} signs nothing: the active one is {active}")


def _explain_missing(name: str) -> str:
    if authorities.read_authority(name) is not Authority.ACCESS:
        return f"the key of the {name} authority is not here"
    return (
        f"the key of the access authority {name} is not on this node, which issues no short-lived certificates while "
        f"that one signs: copy keys/signer/{name}.pem from the node that made it, with its owner and mode"
    )


def _read_grant(row: AnyRow) -> Grant:
    return Grant(
        certificate_id=row.id,
        kind=CertificateKind(row.kind),
        authority=authorities.read_authority(row.authority),
        serial=int(row.serial, 16),
        name=row.subject_name,
        dns_names=tuple(row.dns_names),
        public_key_der=row.public_key_der,
        not_before=row.not_before,
        not_after=row.not_after,
        sid=row.sid or "",
    )


def publish_until_stopped(signer: LocalSigner, store: Store, stopped: threading.Event) -> None:
    """Keep every authority's revocation list up to date: at once when something changed, else once a day."""
    watch = Watch(store)
    due, checked, warned = True, time.monotonic(), -_WARN_SECONDS
    missed: dict[str, float] = {}
    while not stopped.wait(_POLL_SECONDS):
        uptime = time.monotonic()
        try:
            if due or watch.changed() or uptime - checked > _CHECK_SECONDS:
                checked = uptime
                for authority in signer.publish_revocations():
                    log.info("revocation list published", authority=str(authority))
                for name in signer.find_missing_keys():
                    if uptime - missed.get(name, -_WARN_SECONDS) >= _WARN_SECONDS:
                        missed[name] = uptime
                        log.warning(_explain_missing(name), authority=name)
                due = False
            if uptime - warned > _WARN_SECONDS:
                warned = uptime
                for authority, ends in signer.find_ending_lists().items():
                    log.warning(
                        "bring the authority's key online: its revocation list ends",
                        authority=authority.value,
                        ends=f"{ends:%F %T}",
                    )
        except Exception as error:  # nobody would start this thread again, and the lists would grow old
            log.warning("cannot publish revocations", error=str(error) or repr(error))
            due = True
    watch.close()
