"""evertunnel.toml: what is right is read, what is wrong is one line with file, place and problem."""

from pathlib import Path

import pytest

from evertunnel.config import Config, load_config, split_endpoint
from evertunnel.errors import InvalidInputError

INSTALLATION = """
[installation]
organisation = "Example"
public_name = "vpn.example.com"
public_url = "http://vpn.example.com"
"""


def load(folder: Path, text: str | bytes) -> Config:
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "evertunnel.toml").write_bytes(data)
    return load_config(folder)


def find_error(folder: Path, text: str | bytes) -> str:
    with pytest.raises(InvalidInputError) as caught:
        load(folder, text)
    message = str(caught.value)
    assert message.startswith(f"{folder}/evertunnel.toml")
    assert "\n" not in message
    return message.removeprefix(f"{folder}/evertunnel.toml")


def test_the_installation_is_enough_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, INSTALLATION)
    assert config.listen.radius == "127.0.0.1:1812"
    assert config.listen.gate == "127.0.0.1:8118"
    assert config.processes.signer == "evertunnel-signer"
    assert config.administrators.users == []
    assert config.radius_failures_per_minute == 60


def test_every_process_has_a_user_of_its_own_by_default(tmp_path: Path) -> None:
    processes = load(tmp_path, INSTALLATION).processes
    names = [processes.signer, processes.radius, processes.web_public, processes.web_admin, processes.gateway,
             processes.gate]  # fmt: skip
    assert len(set(names)) == len(names)


def test_what_is_given_is_read(tmp_path: Path) -> None:
    text = INSTALLATION + '[listen]\nradius = "[::1]:18120"\n[administrators]\nusers = ["ann", "1000"]\n'
    config = load(tmp_path, text)
    assert config.listen.radius == "[::1]:18120"
    assert config.administrators.users == ["ann", "1000"]


def test_radius_workers_are_counted_by_whoever_starts_them_unless_given(tmp_path: Path) -> None:
    assert load(tmp_path, INSTALLATION).radius_workers is None
    assert load(tmp_path, "radius_workers = 3\n" + INSTALLATION).radius_workers == 3


def test_a_country_database_is_a_path_that_begins_at_the_state_folder_unless_absolute(tmp_path: Path) -> None:
    assert load(tmp_path, INSTALLATION).country_database == ""
    assert load(tmp_path, 'country_database = "geo.mmdb"\n' + INSTALLATION).country_database == "geo.mmdb"


WRONG: dict[str, tuple[str, str]] = {
    "no failure allowed": (
        "radius_failures_per_minute = 0\n" + INSTALLATION, ": radius_failures_per_minute: must be 1 at least",
    ),
    "a text for a number": (
        'radius_failures_per_minute = "60"\n' + INSTALLATION, ": radius_failures_per_minute: must be a whole number",
    ),
    "nothing in it": ("", ": installation: is missing"),
    "a value missing": ('[installation]\norganisation = "x"', ": installation.public_name: is missing"),
    "a typing error": (INSTALLATION + '[listen]\nradios = "127.0.0.1:1"', ": listen.radios: is not a setting"),
    "an unknown section": (INSTALLATION + "[lisen]\n", ": lisen: is not a setting"),
    "a number for a text": (INSTALLATION + "[processes]\nsigner = 61900", ": processes.signer: must be a text"),
    "a text for a list": (INSTALLATION + '[administrators]\nusers = "ann"', ": administrators.users: must be a list"),
    "a value for a section": ("installation = 3", ": installation: must be a section"),
    "no address": (INSTALLATION + '[listen]\nradius = "1812"', ": listen.radius: '1812' is not address:port"),
    "a name for an address": (INSTALLATION + '[listen]\ngate = "host:1"', ": listen.gate: 'host:1' does not begin"),
    "a section twice": (INSTALLATION + INSTALLATION, ": Cannot declare ('installation',) twice (at line 7"),
    "no workers": ("radius_workers = 0\n" + INSTALLATION, ": radius_workers: must be 1 at least"),
    "too many workers": ("radius_workers = 65\n" + INSTALLATION, ": radius_workers: Input should be less than"),
    "a text for workers": ('radius_workers = "2"\n' + INSTALLATION, ": radius_workers: must be a whole number"),
    "yes for workers": ("radius_workers = true\n" + INSTALLATION, ": radius_workers: must be a whole number"),
    "no TOML": ("radius: 1812", ": Expected '=' after a key in a key/value pair (at line 1"),
    "a quote missing": ('[installation]\norganisation = "x\n', ": Illegal character '\\n' (at line 2"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, what: str) -> None:
    text, words = WRONG[what]
    assert find_error(tmp_path, text).startswith(words)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    assert "cannot be read" in find_error(tmp_path, b"\xff\xfe\x00")


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "evertunnel.toml").mkdir()
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_config(tmp_path)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"does not exist: run `evertunnel --state \S+ init` first"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        ("[::1]:1812", "::1", 1812),
        ("[2001:DB8:0::1]:80", "2001:db8::1", 80),
    ],
)
def test_an_endpoint_is_split(text: str, address: str, port: int) -> None:
    assert split_endpoint(text) == (address, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "1812", "127.0.0.1", "127.0.0.1:", ":1812", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1",
     "127.0.0.1:1812 ", " 127.0.0.1:1812", "127.0.0.1:²", "127.0.0.1:१८१२", "127.0.0.1:1_0", "127.0.0.1:+80",
     "host:80", "::1:80", "[::1]", "[127.0.0.1]:80", "[::1:80", "127.1:80", "127.0.0.01:80", "127.0.0.1:999999"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|brackets"):
        split_endpoint(text)


@pytest.mark.parametrize(
    ("listen", "endpoint"),
    [
        ("", "127.0.0.1:1813"),
        ('radius = "[::1]:18120"', "[::1]:18121"),
        ('radius = "127.0.0.9:1812"\naccounting = "127.0.0.9:9999"', "127.0.0.9:9999"),
    ],
)
def test_accounting_is_on_the_next_port_unless_it_is_set(tmp_path: Path, listen: str, endpoint: str) -> None:
    (tmp_path / "evertunnel.toml").write_text(f"{INSTALLATION}[listen]\n{listen}\n", encoding="utf-8")
    assert load_config(tmp_path).listen.accounting_endpoint == endpoint


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        ('accounting = "127.0.0.9:1813"', "accounting must have the address of radius"),
        ('radius = "127.0.0.1:65535"', "127.0.0.1:65536"),
        ('accounting = "1813"', "listen.accounting"),
    ],
)
def test_an_accounting_port_that_cannot_be_is_said(tmp_path: Path, listen: str, problem: str) -> None:
    (tmp_path / "evertunnel.toml").write_text(f"{INSTALLATION}[listen]\n{listen}\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=problem):
        load_config(tmp_path)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000])
def test_what_no_parser_takes_is_one_line_too(tmp_path: Path, value: str) -> None:
    assert find_error(tmp_path, f"radius_workers = {value}\n{INSTALLATION}")
