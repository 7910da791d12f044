"""The signer makes the access authorities that rows want, and lets only the active one sign."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from evertunnel.actions.activate_access_authority import activate_access_authority
from evertunnel.actions.create_access_authority import create_access_authority
from evertunnel.actions.issue_certificate import Wanted, grant_certificate
from evertunnel.authority_keys import AuthorityKeys
from evertunnel.authority_maker import AuthorityMaker
from evertunnel.errors import InvalidInputError, NotFoundError, UnavailableError
from evertunnel.keystore import Keystore
from evertunnel.lab.lab import wait_for
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import encode_public_key, generate_key
from evertunnel.signer import LocalSigner, publish_until_stopped
from evertunnel.signer_socket import SignerClient, SignerServer
from evertunnel.storage import access_authorities, tables
from tests.installation import ADDRESSES, ADMIN, ALICE, Installation, Keys

Serve = Callable[[str], SignerClient]


def want(installation: Installation, *, generation: int = 2, **changes: Any) -> str:
    """A row as an action writes it; `changes` to it are made behind the actions' back, as an intruder would."""
    with installation.store.write(installation.now) as tx:
        name = access_authorities.insert_wanted(
            tx,
            generation,
            common_name="Example Conditional Access CA 2",
            not_after=installation.now + timedelta(days=365),
            actor=ADMIN,
        )
        if changes:
            table = tables.access_authorities
            tx.connection.execute(update(table).where(table.c.name == name).values(**changes))
    return name


def grant(installation: Installation, authority: str) -> str:
    """A short-lived certificate to be signed by an authority, written into the row."""
    wanted = Wanted(CertificateKind.SHORT_LIVED, ALICE, encode_public_key(generate_key().public_key()))
    with installation.store.write(installation.now) as tx:
        certificate_id = grant_certificate(tx, wanted, actor=ADMIN)
        row = tables.certificates.c.id == certificate_id
        tx.connection.execute(update(tables.certificates).where(row).values(authority=authority))
    return certificate_id


def test_staged_and_retired_ones_sign_nothing_whatever_the_row_says(installation: Installation) -> None:
    create = {"lifetime_days": 365, "actor": ADMIN, "now": installation.now}
    create_access_authority(installation.store, installation.maker, **create)
    with pytest.raises(InvalidInputError, match=r"access-2 signs nothing: the active one is access$"):
        installation.signer.sign(grant(installation, "access-2"))
    installation.do(activate_access_authority, "access-2", keys_here=["access-2"])
    with pytest.raises(InvalidInputError, match="access signs nothing: the active one is access-2"):
        installation.signer.sign(grant(installation, "access"))
    assert installation.signer.sign(grant(installation, "access-2"))


def test_an_access_authority_signs_no_other_kind(installation: Installation) -> None:
    create = {"lifetime_days": 365, "actor": ADMIN, "now": installation.now}
    create_access_authority(installation.store, installation.maker, **create)
    installation.do(activate_access_authority, "access-2", keys_here=["access-2"])
    certificate_id = grant(installation, "access-2")
    with installation.store.write(installation.now) as tx:
        row = tables.certificates.c.id == certificate_id
        tx.connection.execute(update(tables.certificates).where(row).values(kind="user"))
    with pytest.raises(InvalidInputError, match="this process may not ask for user certificates of that authority"):
        installation.signer.sign(certificate_id)


@pytest.mark.parametrize("name", ["issuing", "../radius/policy-server", "access-3", "access-02", "access/../root"])
def test_a_row_of_another_name_makes_nothing(installation: Installation, name: str) -> None:
    want(installation, name=name)
    before = dict(installation.keys)
    with pytest.raises(NotFoundError, match=r"no access authority .* is wanted"):
        installation.maker.make_authority(name)
    assert installation.keys == before


def test_what_is_there_is_not_made_again(installation: Installation) -> None:
    name = want(installation)
    installation.maker.make_authority(name)
    key = installation.keys[name]  # type: ignore[index]
    for again in (name, "access", "nothing", ""):
        with pytest.raises(NotFoundError, match="is wanted"):
            installation.maker.make_authority(again)
    assert installation.keys[name] is key  # type: ignore[index]


@pytest.mark.parametrize("days", [-1, 0, 3652, 7300])
def test_no_row_makes_one_that_lasts_for_ever(installation: Installation, days: int) -> None:
    name = want(installation, not_after=installation.now + timedelta(days=days))
    with pytest.raises(InvalidInputError, match="lasts ten years at most"):
        installation.maker.make_authority(name)
    assert name not in installation.keys


def test_no_rows_make_any_number(installation: Installation) -> None:
    names = [want(installation, generation=generation) for generation in range(2, 19)]
    with pytest.raises(InvalidInputError, match="too many access authorities are trusted"):
        installation.maker.make_authority(names[0])


def test_its_key_lies_in_a_file_of_the_signers_and_is_there_after_a_restart(
    installation: Installation, tmp_path: Path
) -> None:
    keystore = Keystore(tmp_path)
    (tmp_path / "keys" / "signer").mkdir(mode=0o700)
    for authority, key in installation.keys.items():
        keystore.store_key("signer", authority, key)
    keys = AuthorityKeys(keystore)
    name = want(installation)
    AuthorityMaker(installation.store, keys, ADDRESSES, installation.clock).make_authority(name)
    assert (tmp_path / "keys" / "signer" / "access-2.pem").stat().st_mode & 0o777 == 0o600
    for held in (keys, AuthorityKeys(keystore)):
        assert set(held) == {*Authority, name} and len(held) == 5
        signer = LocalSigner(installation.store, held, ADDRESSES, installation.clock)
        assert name in signer.list_keys()
    installation.do(activate_access_authority, name, keys_here=[name])
    assert signer.sign(grant(installation, name))
    # What a half-made one left behind does not stop the next.
    keystore.store_key("signer", "access-3", generate_key())
    third = want(installation, generation=3)
    AuthorityMaker(installation.store, AuthorityKeys(keystore), ADDRESSES, installation.clock).make_authority(third)
    with installation.store.read() as connection:
        made = access_authorities.get_access_authority(connection, third)
    assert keystore.load_key("signer", third).public_key() == made.certificate.public_key()


@pytest.fixture
def serve(installation: Installation, tmp_path: Path) -> Iterator[Serve]:
    """Serve with every user counting as one of our processes; returns a client."""
    servers: list[SignerServer] = []

    def start(process: str) -> SignerClient:
        path = tmp_path / f"{process}.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        users = {os.getuid(): process}
        servers.append(SignerServer(listener, installation.signer, users, installation.maker.make_authority))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return SignerClient(path)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("process", ["web-public", "gate", "gateway", "agents", "radius", "unknown"])
def test_no_other_process_has_one_made(installation: Installation, serve: Serve, process: str) -> None:
    name = want(installation)
    with pytest.raises(InvalidInputError, match="this process may not ask for authorities"):
        serve(process).make_authority(name)
    assert name not in installation.keys


def test_the_admin_api_has_one_made_over_the_socket(installation: Installation, serve: Serve) -> None:
    client = serve("web-admin")
    with pytest.raises(NotFoundError, match="no access authority 'access-2' is wanted"):
        client.make_authority("access-2")
    options = {"lifetime_days": 365, "actor": ADMIN, "now": installation.now}
    assert create_access_authority(installation.store, client, **options) == "access-2"
    assert "access-2" in client.list_keys()
    del installation.keys[Authority.ROOT.value]  # type: ignore[attr-defined]
    with pytest.raises(UnavailableError, match="the root's key, which signs an access authority, is offline"):
        create_access_authority(installation.store, client, **options)


def test_a_node_that_lacks_the_key_says_which_and_issues_nothing(installation: Installation) -> None:
    """Keys are never in the database: the one of a later authority is copied by hand, or forgotten."""
    other = LocalSigner(installation.store, Keys(installation.keys), ADDRESSES, installation.clock)
    create = {"lifetime_days": 365, "actor": ADMIN, "now": installation.now}
    create_access_authority(installation.store, installation.maker, **create)
    assert (installation.signer.find_missing_keys(), other.find_missing_keys()) == ([], ["access-2"])
    with pytest.raises(InvalidInputError, match="the signer does not have the key of access-2"):
        installation.do(activate_access_authority, "access-2", keys_here=other.list_keys())
    stopped = threading.Event()
    with capture_logs() as logs:
        thread = threading.Thread(target=publish_until_stopped, args=(other, installation.store, stopped))
        thread.start()
        wait_for("the warning", lambda: bool(find_warnings(logs)))
        installation.do(activate_access_authority, "access-2", keys_here=installation.signer.list_keys())
        stopped.set()
        thread.join()
    (warning,) = find_warnings(logs)
    assert "copy keys/signer/access-2.pem from the node that made it" in warning["event"]
    granted = grant(installation, "access-2")
    with pytest.raises(UnavailableError, match=r"access-2 is not on this node.*keys/signer/access-2\.pem"):
        other.sign(granted)
    assert installation.signer.sign(granted)


def find_warnings(logs: list[Any]) -> list[Any]:
    return [entry for entry in logs if entry.get("authority") == "access-2" and entry["log_level"] == "warning"]
