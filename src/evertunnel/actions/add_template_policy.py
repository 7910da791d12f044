"""Add a conditional access policy from a template, with the location of countries it needs."""

from collections.abc import Sequence
from datetime import datetime

from evertunnel.access.policy_templates import build_from_template, get_template
from evertunnel.actions.import_access_policies import import_policy_files, store_planned
from evertunnel.actions.import_policy_objects import build_named_location, insert_named_location
from evertunnel.actions.plan_access_policies import PlannedPolicy, plan_access_policies
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.write_policies import write_policies
from evertunnel.errors import InvalidInputError
from evertunnel.storage.store import Store


def add_template_policy(
    store: Store,
    template_name: str,
    *,
    name: str = "",
    on: bool = False,
    exclude_groups: Sequence[str] = (),
    location: str = "",
    countries: Sequence[str] = (),
    countries_known: bool = True,
    actor: str,
    now: datetime,
) -> PlannedPolicy:
    """Store the policy, report-only unless `on`. A template about places takes a location or the codes of countries.

    Of countries a location is made, called as the policy. Raises NotFoundError, AlreadyExistsError, InvalidInputError.
    """
    template = get_template(template_name)
    given = bool(location) + bool(countries)
    if given != (template.location is not None):
        raise InvalidInputError(
            f"the template {template_name} is about places: give countries, or a named location"
            if template.location is not None
            else f"the template {template_name} is not about places: it takes neither countries nor a named location"
        )
    if countries:
        location = name or template.title
    document = build_from_template(template, name=name, on=on, exclude_groups=exclude_groups, location=location)
    files = [PolicyFile("", document)]
    if not countries:
        (planned,) = import_policy_files(store, files, countries_known=countries_known, actor=actor, now=now)
        return planned
    with write_policies(store, now) as tx:
        insert_named_location(tx, build_named_location(location, countries=countries), actor=actor)
        (planned,) = plan_access_policies(tx.connection, files, countries_known=countries_known)
        store_planned(tx, planned, actor=actor)
    return planned
