"""Ask what would come of a sign-in or a tunnel now. Changes nothing."""

from dataclasses import dataclass
from datetime import datetime

from evertunnel.access.facts import Facts
from evertunnel.access.what_if import Prospect, Supposition, look_ahead, suppose, suppose_certificate
from evertunnel.actions.decide import Decider, FindPlace
from evertunnel.errors import InvalidInputError
from evertunnel.model import CertificateKind, SubjectKind, TunnelKind
from evertunnel.storage import gateways, people
from evertunnel.storage.store import Store


@dataclass(frozen=True, slots=True)
class Question:
    """Who does what, by names. `tunnel` None asks for a short-lived certificate.

    A tunnel is asked for with a good certificate of the kind `certificate`, whether or not there is one.
    """

    user: str | None = None
    device: str | None = None
    gateway: str | None = None
    tunnel: TunnelKind | None = TunnelKind.USER
    certificate: CertificateKind | None = None


def ask_what_if(
    store: Store, question: Question, supposition: Supposition, *, find_place: FindPlace | None = None, now: datetime
) -> Prospect:
    """Raises NotFoundError, InvalidInputError."""
    decider, facts = gather(store, question, address=supposition.address or "", find_place=find_place, now=now)
    return look_ahead(decider.policies, suppose(facts, supposition))


def gather(
    store: Store, question: Question, *, address: str = "", find_place: FindPlace | None = None, now: datetime
) -> tuple[Decider, Facts]:
    """What is known now of whom a question names, coming from an address. Raises NotFoundError, InvalidInputError."""
    if question.tunnel is TunnelKind.DEVICE and question.device is None:
        raise InvalidInputError("a device tunnel is a device's: name one")
    if question.tunnel is not TunnelKind.DEVICE and question.user is None:
        raise InvalidInputError("name the user who signs in")
    if question.tunnel is None and question.certificate is not None:
        raise InvalidInputError("a certificate is asked for, so none is presented: leave its kind out")
    decider = Decider(find_place=find_place, always=True)
    with store.read() as connection:
        decider.refresh(connection)
        user = device = gateway = None
        if question.user is not None and question.tunnel is not TunnelKind.DEVICE:
            user = decider.find_user(people.get_subject(connection, SubjectKind.USER, question.user).id)
        if question.device is not None:
            device = decider.find_device(people.get_subject(connection, SubjectKind.DEVICE, question.device).id)
        if question.gateway is not None:
            gateway = decider.find_gateway(gateways.get_gateway(connection, question.gateway).id)
    certificate = None
    if question.tunnel is not None:
        certificate = suppose_certificate(question.tunnel, question.certificate, user, device, at=now)
    facts = decider.gather_facts(
        at=now,
        tunnel=question.tunnel,
        gateway=gateway,
        user=user,
        device=device,
        certificate=certificate,
        client_address=address,
    )
    return decider, facts
