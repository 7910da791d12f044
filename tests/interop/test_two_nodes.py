"""Two nodes, each the real program, on one PostgreSQL: what one does the other sees, and both outlive its death."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.interop.server import PROCESSES, Server, wait_for
from tests.postgresql import Server as Database
from tests.postgresql import running

Nodes = tuple[Server, Server]


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with running(durable=True, trusting=True) as database:
        yield database


@pytest.fixture(scope="module")
def nodes(database: Database) -> Iterator[Nodes]:
    """The second one has the first one's state folder, with ports of its own."""
    first, second = Server(), Server()
    try:
        first.init("--database-url", database.url(database.make_database()))
        subprocess.run(["cp", "-a", first.state, second.state], check=True)
        path = second.state / "evertunnel.toml"
        text = path.read_text(encoding="utf-8")
        for name in ("http", "https", "gate", "radius"):
            text = text.replace(f":{getattr(first, name)}", f":{getattr(second, name)}")
        path.write_text(text, encoding="utf-8")
        first.start()
        second.start()
        yield first, second
    finally:
        first.remove()
        second.remove()


def list_users(node: Server) -> set[str]:
    return {user["name"] for user in node.api("GET", "/users").json()}


def test_what_one_node_does_the_other_shows(nodes: Nodes) -> None:
    first, second = nodes
    first.api("POST", "/users", {"name": "alice@corp.example"})
    assert "alice@corp.example" in list_users(second)
    second.api("POST", "/users", {"name": "bob@corp.example"})
    assert list_users(first) >= {"alice@corp.example", "bob@corp.example"}


def test_both_outlive_the_death_of_the_database_without_losing_a_process(nodes: Nodes, database: Database) -> None:
    before = [node.list_children() for node in nodes]
    assert all(set(children) == set(PROCESSES) for children in before)
    database.kill()
    for node in nodes:
        assert node.api("GET", "/users", check=False).status_code == 503
        done = node.run("user", "add", "carol@corp.example", check=False)
        assert done.returncode != 0 and "the database cannot be written" in done.stderr
    wait_for(lambda: all("cannot read the database" in node.log.read_text() for node in nodes))
    database.start()
    for number, node in enumerate(nodes):
        wait_for(lambda node=node: node.api("GET", "/users", check=False).is_success)
        node.api("POST", "/users", {"name": f"dave{number}@corp.example"})
        assert not node.json("audit", "verify")["problems"]
    assert [node.list_children() for node in nodes] == before
