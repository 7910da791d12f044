"""The root's key leaves while everything is served, and nothing but the root misses it."""

from tests.interop.server import Server

PASSPHRASE = "correct horse battery"


def find_states(server: Server) -> dict[str, str]:
    return {row["name"]: row["key"] for row in server.json("certificate", "authority", "list")}


def test_the_root_goes_and_comes_while_certificates_are_issued(server: Server) -> None:
    out = server.folder / "root.pem"
    assert set(find_states(server).values()) == {"online"}
    done = server.run("certificate", "authority", "offline", "root", "--out", str(out), stdin=f"{PASSPHRASE}\n")
    assert "is good until" in done.stdout and PASSPHRASE not in done.stdout + done.stderr
    assert find_states(server) == {"root": "offline", "issuing": "online", "access": "online", "device": "online"}
    assert "Key:         offline" in server.run("certificate", "authority", "show", "root").stdout
    server.run("device", "add", "laptop1.corp.example")
    server.run("user", "add", "alice@corp.example")
    for owner, name in (("--device", "laptop1.corp.example"), ("--user", "alice@corp.example")):
        server.run("certificate", "issue", owner, name, "--out", str(server.folder / name))
    server.stop()
    server.start()  # and it starts without the key
    assert find_states(server)["root"] == "offline"
    server.run("certificate", "authority", "online", "root", "--in", str(out), stdin=f"{PASSPHRASE}\n")
    assert find_states(server)["root"] == "online"
    assert server.run("audit", "verify").returncode == 0
    assert "Traceback" not in server.log.read_text()


def test_what_is_wrong_with_it_is_one_line(server: Server) -> None:
    wrong = {
        ("offline", "--out", str(server.folder / "x.pem"), "short\n"): "12 characters",
        ("offline", "--out", str(server.state / "x.pem"), f"{PASSPHRASE}\n"): "lies in the state folder",
        ("online", "--in", str(server.folder / "none.pem"), f"{PASSPHRASE}\n"): "cannot be read",
        ("online", "--in", str(server.log), f"{PASSPHRASE}\n"): "does not open",
    }
    for (command, option, path, stdin), words in wrong.items():
        done = server.run("certificate", "authority", command, "root", option, path, stdin=stdin, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert words in done.stderr
    assert server.run("certificate", "authority", "offline", "issuing", "--out", "x", check=False).returncode == 2
    assert "known are root" in server.run("certificate", "authority", "show", "nothing", check=False).stderr
