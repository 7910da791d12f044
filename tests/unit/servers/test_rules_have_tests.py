"""Every rule of RADIUS and EAP that applies to what is built, with its tests; and what is not built, and why."""

from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_RADIUS, _EAP = "unit/servers/test_radius_rules.py::", "unit/servers/test_eap_rules.py::"
_STATUS = "unit/servers/test_status_server.py::"
_ACCOUNTING, _FORGED = "unit/servers/test_accounting.py::", "unit/servers/test_accounting_rules.py::"

RULES = {
    "Length below 20, above 4096 or above the datagram: drop (RFC 2865 3)":
        [_RADIUS + "test_length_below_20_above_4096_or_above_the_datagram_is_dropped",
         _FORGED + "test_lengths_that_lie_and_other_codes_get_silence"],
    "octets after Length: ignore (RFC 2865 3)":
        [_RADIUS + "test_octets_after_length_are_ignored"],
    "an attribute of length 0 or 1, or over the end: drop (RFC 2865 5)":
        [_RADIUS + "test_an_attribute_of_length_0_or_1_or_over_the_end_drops_the_packet",
         _FORGED + "test_what_is_no_request_gets_silence"],
    "codes a server does not take: drop (RFC 2865 3)":
        [_RADIUS + "test_codes_the_server_does_not_take_are_dropped"],
    "unknown vendors and types: ignore (RFC 2865 5)":
        [_RADIUS + "test_unknown_vendors_and_types_are_ignored"],
    "an address without a secret: no answer (RFC 2865 3)":
        [_RADIUS + "test_an_address_without_a_secret_gets_no_answer",
         "interop/eap/test_udp.py::test_an_address_without_a_secret_gets_no_answer"],
    "a wrong secret: no answer (RFC 2865 3)":
        [_RADIUS + "test_a_wrong_secret_gets_no_answer", _FORGED + "test_a_wrong_authenticator_is_dropped"],
    "Proxy-State copied back unchanged and in order (RFC 2865 5.33)":
        [_RADIUS + "test_proxy_state_is_copied_back_unchanged_and_in_order_into_every_kind_of_answer",
         _FORGED + "test_proxy_states_come_back_in_order"],
    "an unknown State never leads to accept (RFC 2865 5.24)":
        [_RADIUS + "test_an_unknown_state_never_leads_to_accept"],
    "a State is not guessable (RFC 5080 2.1)":
        [_RADIUS + "test_a_state_is_not_guessable_and_never_used_twice"],
    "a State is bound to its gateway and conversation (RFC 5080 2.1)":
        [_RADIUS + "test_a_state_is_bound_to_its_gateway",
         _RADIUS + "test_a_state_is_bound_to_its_conversation_and_used_up_by_it"],
    "EAP-Message needs a Message-Authenticator (RFC 3579 3.2)":
        [_RADIUS + "test_eap_message_needs_a_message_authenticator"],
    "a wrong Message-Authenticator: drop (RFC 3579 3.2)":
        [_RADIUS + "test_a_wrong_message_authenticator_is_dropped", "interop/eap/test_udp.py::test_forged_packets"],
    "one Message-Authenticator only, of 18 octets (RFC 3579 3.2)":
        [_RADIUS + "test_there_is_one_message_authenticator_of_18_octets"],
    # Stricter than the draft, which allows an exception for a gateway: EAP is all we take, and EAP never had one.
    "an Access-Request without Message-Authenticator: drop, with Proxy-State too (CVE-2024-3596)":
        [_RADIUS + "test_an_access_request_without_eap_needs_a_message_authenticator_too"],
    "every Access answer carries it as the first attribute (deprecating-radius 5.2)":
        [_RADIUS + "test_every_accept_reject_and_challenge_carries_a_message_authenticator_as_first_attribute",
         "unit/protocols/radius/test_packet.py::test_every_reply_is_signed_first_and_verified_by_pyrad"],
    "the same source, port, Identifier and Authenticator: the same bytes, for 5 to 30 seconds (RFC 5080 2.2.2)":
        [_RADIUS + "test_the_same_packet_again_gets_the_same_bytes",
         _RADIUS + "test_the_same_packet_after_its_time_is_a_new_one_that_belongs_to_nothing",
         "interop/eap/test_udp.py::test_a_login_repeated_from_its_own_port_gets_the_same_bytes"],
    "a new Authenticator: a new request (RFC 5080 2.2.2)":
        [_RADIUS + "test_a_new_authenticator_is_a_new_request"],
    "the EAP Identifier matches the outstanding request (RFC 3748 4.1)":
        [_EAP + "test_the_eap_identifier_must_match_the_outstanding_request"],
    "Request, Success or Failure from a peer: drop or reject (RFC 3748 4.1, 4.2)":
        [_EAP + "test_request_success_or_failure_from_a_peer_ends_it"],
    "an EAP Length that lies: drop or reject (RFC 3748 4.1)":
        [_EAP + "test_an_eap_length_that_lies_ends_it"],
    "EAP-Start is answered with Identity (RFC 3579 2.1)":
        [_EAP + "test_eap_start_is_answered_with_identity"],
    "Framed-MTU bounds EAP in answers (RFC 3579 2.4)":
        ["unit/servers/test_policy_server.py::test_framed_mtu_bounds_eap_in_answers"],
    "fragments: the declared total is a promise, bounded (RFC 5216 2.1.5, 3.1)":
        [_EAP + "test_the_declared_total_is_a_promise_and_bounded",
         _EAP + "test_fragments_without_a_total_are_bounded_too"],
    "round trips are bounded":
        [_EAP + "test_round_trips_are_bounded"],
    "only what was asked for is acknowledged (RFC 5216 2.1.5)":
        [_EAP + "test_only_what_was_asked_for_is_acknowledged"],
    "no accept before the method is finished":
        [_EAP + "test_no_accept_before_the_method_is_finished",
         _EAP + "test_no_accept_for_an_mschapv2_success_at_once",
         _EAP + "test_no_accept_for_a_peap_result_before_a_login",
         _EAP + "test_a_method_is_not_switched_in_mid_conversation"],
    "a TLS session is resumed only where its method proved everything, and never past a check "
    "(CVE-2017-9148, RFC 9190 5.7)":
        ["unit/servers/test_resumption.py::test_a_session_without_a_certificate_opens_nothing",
         "unit/servers/test_resumption.py::test_what_changed_since_refuses_with_its_own_reason_and_alert"],
    "TLS 1.3: the octet 0x00 only after every check has passed (RFC 9190 2.1.1)":
        [_EAP + "test_tls_13_says_its_octet_only_after_every_check_has_passed"],
    "Success only after the peer's empty answer (RFC 9190 2.5)":
        [_EAP + "test_success_comes_only_after_the_peers_empty_answer"],
    "failure: an alert in an EAP-Request, the peer's answer, then EAP-Failure with Access-Reject (RFC 5216 2.1.3)":
        [_EAP + "test_a_failure_is_an_alert_then_the_peers_answer_then_the_failure",
         "interop/eap/test_eapol_refused.py::test_a_revoked_certificate"],
    "accounting: a wrong authenticator: drop (RFC 2866 3)":
        [_FORGED + "test_a_wrong_authenticator_is_dropped"],
    "accounting: answered only after it is stored (RFC 2866 4.1)":
        [_ACCOUNTING + "test_what_was_not_stored_is_not_answered_and_may_be_said_again"],
    "accounting: a repeated packet is counted once (RFC 5080 2.2.1)":
        [_ACCOUNTING + "test_a_repeated_request_gets_the_same_answer_and_is_counted_once",
         _ACCOUNTING + "test_said_again_with_another_delay_it_is_counted_once"],
    "accounting: Gigawords and Delay-Time (RFC 2869 5.1, 2866 5.2)":
        [_ACCOUNTING + "test_four_gigabytes_and_more_are_counted",
         _ACCOUNTING + "test_delay_and_the_gateways_clock_say_when_it_was"],
    "Status-Server: only with a right Message-Authenticator (RFC 5997 3)":
        [_STATUS + "test_without_a_right_message_authenticator_neither_port_answers"],
    "Status-Server: answered on both ports (RFC 5997 4.2)":
        [_STATUS + "test_the_authentication_port_answers_with_a_signed_accept_that_lets_nobody_in",
         _STATUS + "test_the_accounting_port_answers_with_an_accounting_response",
         "interop/eap/test_abuse.py::test_status_server_is_answered_on_both_ports"],
    "floods: half-open, after the ClientHello, and at once: still serves":
        ["unit/servers/test_floods.py::test_ten_thousand_half_open_logins_are_small_and_the_server_still_serves",
         "interop/eap/test_abuse.py::test_twenty_thousand_half_open_logins_and_twenty_real_ones",
         "interop/eap/test_abuse.py::test_a_burst_of_ten_thousand_packets_delays_nobody_for_long"],
}  # fmt: skip

NOT_BUILT = {
    "our own client side: a proxy refuses Access answers without Message-Authenticator": "we are no proxy",
    "a gateway that may leave out Message-Authenticator": "EAP never may, and nothing but EAP is taken",
    "PEAP: opcode 3 at once, result TLV before login, crypto binding": "PEAP is refused as a whole",
    "resumption is authorised anew": "no session is resumed",
    "CoA and Disconnect, sent and received (RFC 5176)": "strongSwan is told over VICI",
    "RadSec (RFC 6613, 6614)": "UDP only",
    "RADIUS/1.1 (RFC 9765)": "needs RadSec",
    "Status-Server is never proxied": "we are no proxy",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_its_tests(rule: str) -> None:
    for name in RULES[rule]:
        path, _, function = name.partition("::")
        assert f"\ndef {function}(" in (_ROOT / "tests" / path).read_text(encoding="utf-8"), name


def test_no_rule_is_both_built_and_not() -> None:
    assert not RULES.keys() & NOT_BUILT.keys()
    assert all(NOT_BUILT.values())
