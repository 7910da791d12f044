"""What is kept of a login."""

from datetime import timedelta

from evertunnel import clock
from evertunnel.model import Gateway
from evertunnel.protocols.eap.conversation import Conversation
from evertunnel.servers.logins import Login


def new_login() -> Login:
    def no_method() -> None:
        raise AssertionError("no method is needed before an identity")

    return Login(
        gateway=Gateway("1", "gw1", "127.0.0.1"),
        secret=b"secret",
        conversation=Conversation(no_method),  # type: ignore[arg-type]
        began_at=clock.now(),
        began_uptime=100.0,
        unique_id=7,
        client_address="192.0.2.7",
    )


def test_steps_are_in_milliseconds_since_it_began() -> None:
    login = new_login()
    login.note("first", 100.0)
    login.note("second", 100.01234)
    assert [(step.at_ms, step.text) for step in login.steps] == [(0.0, "first"), (12.3, "second")]


def test_a_client_that_goes_on_for_ever_does_not_fill_the_ladder() -> None:
    login = new_login()
    for number in range(1_000):
        login.note(f"step {number}", 100.0)
    assert len(login.steps) == 64


def test_its_facts_are_what_was_said_and_proved_so_far() -> None:
    login = new_login()
    login.note("first", 100.5)
    facts = login.facts(102.0)
    assert (facts.gateway, facts.unique_id, facts.client_address) == (login.gateway, 7, "192.0.2.7")
    assert (facts.claimed_identity, facts.certificate) == ("", None)
    assert timedelta(milliseconds=facts.duration_ms) == timedelta(seconds=2)
    login.note("second", 103.0)
    assert len(facts.steps) == 1, "facts do not change behind whoever holds them"
