"""Whether a gateway answers: stored and logged once a change, with the time at which it began."""

from structlog.testing import capture_logs

from evertunnel.gateways.presence import Presence
from evertunnel.model import Gateway
from evertunnel.storage import gateways
from tests.installation import Installation


def test_a_change_is_stored_and_logged_once(installation: Installation) -> None:
    gateway_id = installation.add_gateway()
    presence = Presence(installation.store, Gateway(gateway_id, "gw1", "127.0.0.1"), installation.clock)

    def find() -> tuple[str, object, str]:
        presence.store_change()
        with installation.store.read() as connection:
            row = gateways.get_gateway(connection, gateway_id)
        return row.state, row.state_since, row.state_error

    assert find() == ("unknown", None, "")
    began = installation.now
    with capture_logs() as logged:
        for error in ("cannot be reached", "cannot be reached", "hung up", "cannot be reached"):
            presence.miss(error)
            assert find() == ("away", began, error)
            installation.clock.forward(seconds=1)
        presence.hear_answer()  # answers, and its events do not come: not well yet
        assert find()[0] == "away"
        presence.hear()
        assert find() == ("connected", installation.now, "")
        presence.miss("does not answer")
        assert find()[0] == "away"
        presence.hear_answer()
        assert find()[0] == "connected"
    assert [line["event"] for line in logged] == ["gateway is away", "gateway answers"] * 2
