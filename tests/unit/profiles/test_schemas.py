"""The XML we write against schemas written from Microsoft's documentation, by another's validator (libxml2)."""

from pathlib import Path

import pytest
from lxml import etree

from evertunnel.profiles.eap_xml import build_eap
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.model import EAPTLS, PEAP, MSCHAPv2, Profile
from evertunnel.profiles.profile_xml import build_profile_xml
from evertunnel.profiles.xml_tree import render_xml

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture(scope="module")
def eap_schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(SCHEMAS / "host.xsd")))


@pytest.fixture(scope="module")
def profile_schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(SCHEMAS / "profile.xsd")))


def test_every_eap_configuration_is_valid(eap_schema: etree.XMLSchema, thousand_profiles: list[Profile]) -> None:
    valid = 0
    for profile in thousand_profiles:
        if isinstance(profile.authentication, EAPTLS | PEAP | MSCHAPv2):
            eap_schema.assertValid(etree.fromstring(render_xml(build_eap(profile.authentication))))
            valid += 1
    assert valid > 100


def test_every_profile_in_the_schemas_order_is_valid(
    profile_schema: etree.XMLSchema, thousand_profiles: list[Profile]
) -> None:
    for profile in thousand_profiles:
        profile_schema.assertValid(etree.fromstring(build_profile_xml(profile, Target.SCHEMA)))


def test_no_document_suits_both_the_schema_and_intune(
    profile_schema: etree.XMLSchema, thousand_profiles: list[Profile]
) -> None:
    """Why there are targets: what Intune on Windows 11 wants is not what the schema says."""
    documents = (etree.fromstring(build_profile_xml(profile, Target.INTUNE)) for profile in thousand_profiles[:50])
    assert not all(profile_schema.validate(document) for document in documents)


def test_every_target_is_well_formed_to_another_parser(thousand_profiles: list[Profile]) -> None:
    for profile in thousand_profiles[:200]:
        for target in Target:
            assert etree.fromstring(build_profile_xml(profile, target)).tag == "VPNProfile"
