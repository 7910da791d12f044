"""Attempts as the API tells them: filters, pages, those that are recorded meanwhile, exports."""

import csv
import io
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from evertunnel.model import Attempt, AttemptKind, Outcome, Reason
from evertunnel.web.api import attempts as api
from tests.installation import BEGINNING, Installation
from tests.unit.web.api.clients import build_client


def record(installation: Installation, number: int, **columns: Any) -> None:
    values: dict[str, Any] = {
        "at": BEGINNING + timedelta(seconds=number), "kind": AttemptKind.USER_TUNNEL, "outcome": Outcome.REFUSED,
        "reason": Reason.USER_DENIED,
    }  # fmt: skip
    with installation.store.write(installation.now) as tx:
        tx.record_attempt(Attempt(id=f"{number:04x}", **values | columns))


def get(client: TestClient, path: str = "", **query: Any) -> Any:
    answer = client.get(f"/v1/attempts{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"user": "nobody@corp.example"}, "nobody@corp.example"),
        ({"device": "nowhere"}, "nowhere"),
        ({"gateway": "gw9"}, "there is no gateway 'gw9'"),
        ({"outcome": "Granted"}, "outcome: "),
        ({"reason": "no_networkpolicy"}, "reason: 'no_networkpolicy' is none; is it no_network_policy? docs/"),
        ({"reason": "foo"}, "reason: 'foo' is none; docs/attempts.md lists them"),
        ({"reason": "x" * 5000}, "reason: "),
        ({"kind": "tunnel"}, "kind: "),
        ({"method": "chap"}, "method: 'chap' is none of eap-tls, "),
        ({"since": "yesterday"}, "since: "),
        ({"since": "2026-01-01T00:00:00"}, "since: "),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "is not before until"),
        ({"limit": "0"}, "limit: "),
        ({"limit": "1001"}, "limit: "),
        ({"after": "nonsense"}, "no attempt 'nonsense'"),
    ],
)
def test_a_filter_that_is_none_is_named_in_one_line(
    installation: Installation, query: dict[str, str], words: str
) -> None:
    with build_client(installation) as client:
        answer = client.get("/v1/attempts", params=query)
    assert answer.status_code in (404, 422)
    title = answer.json()["title"]
    assert words in title
    assert "\n" not in title
    assert len(title) < 300


def test_a_row_has_the_code_of_nps_and_how_it_was_tried(installation: Installation) -> None:
    login = {"method": "eap-tls", "rounds": [0, 30, 6, 41, 180, 0], "tls": ["TLSv1.3", "TLS_AES_256_GCM_SHA384", ""]}
    record(installation, 1, login=login)
    with build_client(installation) as client:
        (row,) = get(client)
    assert (row["nps_reason_code"], row["eap_rounds"]) == (65, 2)
    assert row["nps_reason"].startswith("dial-in denied")
    assert (row["login_method"], row["tls_version"], row["tls_group"]) == ("eap-tls", "TLSv1.3", "")


def test_a_record_from_before_anything_more_was_kept_is_told_as_far_as_it_goes(installation: Installation) -> None:
    record(installation, 1, detail="denied", duration_ms=4.5)
    with build_client(installation) as client:
        shown = get(client, "/0001")
    assert [(step["at_ms"], step["stage"], step["text"]) for step in shown["steps"]] == [
        (4.5, "outcome", "refused, user_denied: denied")
    ]
    assert (shown["login_method"], shown["eap_rounds"], shown["tls_version"], shown["certificate"]) == (None,) * 4


def test_who_watches_is_told_what_is_recorded_meanwhile(installation: Installation) -> None:
    record(installation, 1)
    with build_client(installation) as client:
        begun = get(client, "/watch")
        assert begun["attempts"] == []
        assert get(client, "/watch", after=begun["after"], wait_seconds=0) == begun
        record(installation, 2)
        record(installation, 3, outcome=Outcome.GRANTED, reason=Reason.GRANTED)
        found = get(client, "/watch", after=begun["after"])
        assert [row["id"] for row in found["attempts"]] == ["0002", "0003"]
        granted = get(client, "/watch", after=begun["after"], outcome="granted")
        assert [row["id"] for row in granted["attempts"]] == ["0003"]


def test_a_call_that_waits_ends_when_something_is_recorded(installation: Installation) -> None:
    with build_client(installation) as client:
        begun = get(client, "/watch")
        later = threading.Timer(0.2, record, (installation, 1))
        later.start()
        found = begun
        while not found["attempts"]:
            found = get(client, "/watch", after=found["after"], wait_seconds=5)
        later.join()
    assert [row["id"] for row in found["attempts"]] == ["0001"]


@pytest.mark.parametrize("query", [{"after": "x"}, {"wait_seconds": "60"}, {"wait_seconds": "-1"}])
def test_who_watches_wrongly_is_told(installation: Installation, query: dict[str, str]) -> None:
    with build_client(installation) as client:
        assert client.get("/v1/attempts/watch", params=query).status_code == 422


DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "\n=cmd|' /C calc'!A0"]


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_cell_of_an_export_is_a_formula(installation: Installation, text: str) -> None:
    record(installation, 1, claimed_identity=text, detail=text, client_address=text)
    installation.clock.forward(hours=1)
    with build_client(installation) as client:
        answer = client.get("/v1/attempts/export", params={"format": "csv"})
    heading, row = csv.reader(io.StringIO(answer.text))
    cells = dict(zip(heading, row, strict=True))
    for column in ("claimed_identity", "detail", "client_address"):
        assert cells[column].startswith("'")
    assert answer.text.count("\n") == 2


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_an_export_has_every_attempt_once_the_oldest_first(
    installation: Installation, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_EXPORT_PAGE", 3)
    for number in range(count):
        record(installation, number, at=BEGINNING)
    installation.clock.forward(hours=1)
    with build_client(installation) as client:
        lines = client.get("/v1/attempts/export").text.splitlines()
        table = list(csv.reader(io.StringIO(client.get("/v1/attempts/export", params={"format": "csv"}).text)))
        assert client.get("/v1/attempts/export", params={"outcome": "granted"}).text == ""
    wanted = [f"{number:04x}" for number in range(count)]
    assert [json.loads(line)["id"] for line in lines] == wanted
    assert [row[0] for row in table[1:]] == wanted
    assert {len(row) for row in table} == {len(table[0])}


def test_an_export_reads_a_page_only_when_the_one_before_was_taken(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_EXPORT_PAGE", 2)
    for number in range(6):
        record(installation, number, at=BEGINNING)
    looked: list[int] = []
    pages = api._list_pages(_Counted(installation.store, looked), api.attempts.ANY, BEGINNING + timedelta(hours=1))
    lines = api._write_json_lines(pages)
    next(lines)
    assert len(looked) == 1
    next(lines)
    assert len(looked) == 2


class _Counted:
    """A context that counts the readings of its store."""

    def __init__(self, store: Any, looked: list[int]) -> None:
        self._store, self._looked = store, looked

    @property
    def store(self) -> Any:
        self._looked.append(1)
        return self._store
