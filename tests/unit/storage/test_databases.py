"""Which URLs name a database, and what a URL may not hold."""

from typing import Any

import psycopg
import pytest

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.storage.databases import is_postgresql, verify_url
from evertunnel.storage.postgresql import build_conninfo
from evertunnel.storage.store import Store

GOOD = [
    "sqlite:////var/lib/evertunnel/data/evertunnel.db",
    "postgresql:///evertunnel?host=/run/postgresql&user=evertunnel",
    "postgresql://evertunnel@db1.example.com,db2.example.com:5433/evertunnel?sslmode=verify-full",
    "postgres://[2001:db8::1]:5432/evertunnel",
    "postgresql://?service=evertunnel",
]


@pytest.mark.parametrize("url", GOOD)
def test_urls_of_both_kinds_are_taken(url: str) -> None:
    verify_url(url)
    assert is_postgresql(url) is not url.startswith("sqlite")


@pytest.mark.parametrize("url", ["", "evertunnel.db", "mysql://localhost/x", "postgresql", "/path", "postgresqlx://y"])
def test_others_are_not(url: str) -> None:
    with pytest.raises(InvalidInputError, match="is no kind of database"):
        verify_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://evertunnel:secret@db/evertunnel",
        "postgresql://evertunnel:@db/evertunnel",
        "postgresql://db/evertunnel?user=evertunnel&password=secret",
        "postgresql://db/evertunnel?password=",
        "postgresql://db/evertunnel?sslkey=x&sslpassword=secret",
        "postgresql://evertunnel:secret@db1:5432,db2:5433/evertunnel",
        "postgresql://db/evertunnel?%70assword=secret",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInputError, match="has a password in it") as caught:
        verify_url(url)
    assert "secret" not in str(caught.value)


def test_a_url_that_libpq_cannot_read_is_refused() -> None:
    with pytest.raises(UnavailableError, match="cannot be read"):
        Store("postgresql://localhost/x?nonsense=1")


def parse(url: str) -> dict[str, Any]:
    return dict(psycopg.conninfo.conninfo_to_dict(build_conninfo(url)))


def test_a_url_may_change_limits_but_not_durability() -> None:
    options = "-c%20lock_timeout%3D1s%20-c%20synchronous_commit%3Doff"
    found = parse(f"postgresql://db/x?connect_timeout=9&options={options}")
    assert found["connect_timeout"] == "9"
    words = found["options"].split()
    assert [word for word in words if word.startswith("lock_timeout")] == ["lock_timeout=10s", "lock_timeout=1s"]
    assert [word for word in words if word.startswith("synchronous")] == [
        "synchronous_commit=off",
        "synchronous_commit=on",  # the last one counts
    ]


def test_of_several_hosts_the_one_that_takes_writes_is_wanted() -> None:
    found = parse("postgresql://db1:1,db2:2/x")
    assert (found["host"], found["port"], found["target_session_attrs"]) == ("db1,db2", "1,2", "read-write")
