"""How many profiles are written and linted in a minute of CPU: ProfileXML written, read back, every rule applied."""

import time
from dataclasses import replace
from ipaddress import ip_network

from evertunnel.model import TunnelKind
from evertunnel.profiles.element_order import Target
from evertunnel.profiles.lint.linter import lint_reading
from evertunnel.profiles.model import Profile, Route
from evertunnel.profiles.offer import Offer, build_profile
from evertunnel.profiles.profile_xml import build_profile_xml
from evertunnel.profiles.proposals import ESP_PROPOSALS, IKE_PROPOSALS
from evertunnel.profiles.read_profile_xml import read_profile_xml

_TIMES = 1_000
_ROUTES = 20


def measure_profiles() -> tuple[float, float]:
    """Exports, and exports read back and linted, per minute of CPU."""
    profile = build_sample()
    began = time.process_time()
    for _ in range(_TIMES):
        text = build_profile_xml(profile, Target.INTUNE)
    exported = time.process_time()
    for _ in range(_TIMES):
        lint_reading(read_profile_xml(text, name=profile.name))
    linted = time.process_time()
    return 60 * _TIMES / (exported - began), 60 * _TIMES / (linted - exported)


def build_sample() -> Profile:
    """A user tunnel with twenty routes."""
    offer = Offer(
        gateway="gw1",
        public_name="vpn.example.com",
        policy_server_names=("vpn.example.com",),
        root_hash="00" * 20,
        issuing_hash="11" * 20,
        access_hash="22" * 20,
        device_hash="33" * 20,
        ike_proposals=IKE_PROPOSALS,
        esp_proposals=ESP_PROPOSALS,
        device_networks=("10.20.0.10/32",),
        user_networks=("10.0.0.0/8",),
        dns=("10.20.0.53",),
    )
    profile = build_profile(offer, "Corp VPN", TunnelKind.USER, suffixes=("corp.example", "lab.example"))
    return replace(profile, routes=tuple(Route(ip_network(f"10.{number}.0.0/16")) for number in range(_ROUTES)))
