"""The story of the lab: each step with what was expected, what was seen, and how long it took."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from evertunnel.errors import DomainError, UnavailableError
from evertunnel.lab.lab import DEVICE, DEVICE_TUNNEL, SECOND_GATEWAY, USER, USER_TUNNEL, Lab, wait_for
from evertunnel.lab.network import CORP_INFRASTRUCTURE_ADDRESS, CORP_INTRANET_ADDRESS, MANAGE_LINK

_GONE_WITHIN_SECONDS = 10.0
# The gate's answers count for three seconds.
_ANSWER_LIVES_SECONDS = 3.5
SECOND_TUNNEL = "lab-second-device-tunnel"
_POLICY_NAME = "Nobody called alice"
# As Entra exports it.
_POLICY = {
    "displayName": _POLICY_NAME,
    "state": "enabledForReportingButNotEnforced",
    "conditions": {
        "users": {"includeUsers": [USER]},
        "applications": {"includeApplications": ["VPN"]},
        "clientAppTypes": ["all"],
    },
    "grantControls": {"operator": "OR", "builtInControls": ["block"]},
}


class Demo:
    """Runs the story. Steps that differ are counted, not hidden."""

    def __init__(self, lab: Lab, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._say = say
        self._connect: subprocess.Popen[str] | None = None
        self._differ = 0
        self._vouched_at = 0.0
        self._began = time.monotonic()

    def run(self, *, keep: bool) -> int:
        """Returns the number of steps that differed. Takes all down again unless `keep`, also when interrupted."""
        signal.signal(signal.SIGTERM, _interrupt)
        self._lab.down()
        try:
            self._tell()
            if keep:
                self._step("to look around: allow device", "device tunnel up", self._allow_device)
        except KeyboardInterrupt:
            self._say("interrupted")
            self._differ += 1
        except DomainError as error:
            self._say(f"DIFFERS  {error}")
            self._differ += 1
        finally:
            self._end_connect()
            if keep:
                command = sys.argv[0]
                self._say(f"kept: {command} --state {self._lab.state} session list; {command} lab down ends it")
            else:
                self._lab.down()
        return self._differ

    def _tell(self) -> None:
        self._step("the lab is built", "built", self._build)
        self._step("device tunnel before anyone signs in", "up", self._device_tunnel)
        self._step("page through the device tunnel", "same bytes", self._page_through_device_tunnel)
        self._step("alice signs in on a laptop of unknown state", "refused: device_not_compliant", self._refused)
        self._step("laptop reported compliant; alice signs in", "certificate, tunnel up", self._sign_in)
        self._step("page through the user tunnel", "same bytes", self._page_through_user_tunnel)
        self._step("laptop reported not compliant", "user tunnel gone, device tunnel up", self._lose_compliance)
        self._step("alice connects again", "refused: device_not_compliant", self._refused)
        self._step("compliant again; alice signs in", "certificate, tunnel up", self._sign_in)
        self._step("a policy against her, report-only so far, is switched on", "user tunnel gone", self._switch_policy)
        self._step("alice connects again", "refused: blocked_by_access_policy", self._refused)
        self._step("the policy is removed; alice signs in", "certificate, tunnel up", self._remove_policy)
        self._step("deny user alice", "confirmed, tunnel gone", self._deny_user)
        self._step("alice connects again", "refused: user_denied", self._refused)
        self._step("allow user alice; she signs in", "certificate, tunnel up", self._allow_user)
        self._step("kill -9 of the policy server", "back, nothing lost", self._kill_policy_server)
        self._step("deny device", "confirmed, both tunnels gone", self._deny_device)
        self._step("the laptop brings its device tunnel up again", "refused: device_denied", self._device_refused)
        self._step("allow device", "device tunnel up", self._allow_device)
        self._step("a second gateway on another host enrols by code", "connected", self._add_second_gateway)
        self._step("device tunnel over the second gateway", "up, same bytes", self._second_device_tunnel)
        self._step("deny device", "gw1 confirmed, gw2 confirmed, both tunnels gone", self._deny_on_both)
        self._step("allow device; tunnel over the second gateway", "up, same bytes", self._second_device_tunnel)
        self._step("its link to the server is cut; deny device", "gw1 confirmed, gw2 NOT CONFIRMED", self._cut_off)
        self._step("another tunnel over the second gateway", "refused", self._refused_cut_off)
        self._step("the link is back", "gw2 confirmed by itself, tunnel gone", self._link_back)
        self._step("audit verify", "unchanged", self._verify_audit)

    def _step(self, what: str, expected: str, act: Callable[[], str]) -> None:
        began = time.monotonic()
        seen = act()
        # What follows the expected words in brackets is measured, not expected.
        same = re.sub(r" \(.*?\)(?=,|$)", "", seen) == expected
        self._differ += not same
        line = f"{'ok     ' if same else 'DIFFERS'}  {time.monotonic() - began:5.1f} s  {what}: {seen}"
        self._say(line if same else f"{line} (expected: {expected})")

    def _build(self) -> str:
        self._lab.up(lambda _text: None)
        return "built"

    def _device_tunnel(self) -> str:
        began = time.monotonic()
        address = self._lab.bring_up_device_tunnel()
        milliseconds = (time.monotonic() - began) * 1000
        wait_for("the device's session", lambda: self._is_listed("device"))
        return f"up ({address}, {milliseconds:.0f} ms)"

    def _page_through_device_tunnel(self) -> str:
        return self._compare(CORP_INFRASTRUCTURE_ADDRESS, DEVICE_TUNNEL)

    def _page_through_user_tunnel(self) -> str:
        return self._compare(CORP_INTRANET_ADDRESS, USER_TUNNEL)

    def _compare(self, host: str, tunnel: str) -> str:
        address = self._lab.find_address(tunnel)
        if address is None:
            return "the tunnel is not up"
        seen = self._lab.fetch(host, address)
        return f"same bytes ({seen[:20]}...)" if seen == self._lab.page else seen

    def _sign_in(self) -> str:
        self._lab.run("device", "report", DEVICE, "--compliant")
        return self._bring_up_user_tunnel()

    def _bring_up_user_tunnel(self) -> str:
        self._end_connect()
        self._connect = self._lab.start_connect()
        connect = self._connect
        wait_for(
            "the user tunnel",
            lambda: self._lab.find_address(USER_TUNNEL) is not None or connect.poll() is not None,
        )
        if connect.poll() is not None:
            assert connect.stderr is not None
            return connect.stderr.read().strip()
        wait_for("the user's session", lambda: self._is_listed("user"))
        issued = self._latest("certificate")["outcome"] == "granted"
        return "certificate, tunnel up" if issued else "tunnel up without a certificate"

    def _refused(self) -> str:
        self._end_connect()
        done = self._lab.start_connect()
        code = done.wait(timeout=60)
        if code != 1:
            return f"connect ended with {code}"
        found = self._latest("certificate")
        shown = self._lab.run("attempt", "show", found["id"]).stdout
        words = re.search(r"Cause: (.*)\n", shown)
        return f"{found['outcome']}: {found['reason']} ({words[1].split('.')[0] if words else 'no cause'})"

    def _lose_compliance(self) -> str:
        began = time.monotonic()
        self._lab.run("device", "report", DEVICE, "--not-compliant")
        wait_for("the end of the user tunnel", self._user_tunnel_is_gone, seconds=_GONE_WITHIN_SECONDS)
        seconds = time.monotonic() - began
        device = "up" if self._is_listed("device") and self._lab.find_address(DEVICE_TUNNEL) else "gone too"
        return f"user tunnel gone ({seconds * 1000:.0f} ms with the command), device tunnel {device}"

    def _switch_policy(self) -> str:
        file = self._lab.folder / "policy.json"
        file.write_text(json.dumps(_POLICY), encoding="utf-8")
        self._lab.run("policy", "access", "import", str(file))
        if self._user_tunnel_is_gone():
            return "user tunnel gone although the policy only reports"
        began = time.monotonic()
        self._lab.run("policy", "access", "switch", _POLICY_NAME, "on")
        wait_for("the end of the user tunnel", self._user_tunnel_is_gone, seconds=_GONE_WITHIN_SECONDS)
        return f"user tunnel gone ({(time.monotonic() - began) * 1000:.0f} ms with the command)"

    def _remove_policy(self) -> str:
        self._lab.run("policy", "access", "remove", _POLICY_NAME)
        return self._bring_up_user_tunnel()

    def _deny_user(self) -> str:
        done = self._lab.run("deny", "user", USER, "--reason", "demonstration", check=False)
        wait_for("the end of the user tunnel", self._user_tunnel_is_gone, seconds=_GONE_WITHIN_SECONDS)
        return f"{_describe_denial(done)}, tunnel gone"

    def _allow_user(self) -> str:
        self._lab.run("allow", "user", USER)
        return self._bring_up_user_tunnel()

    def _kill_policy_server(self) -> str:
        sessions = self._list("session", "list")
        pid = _find_child(self._lab.processes.find("serve") or 0, "61702")
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        seen = self._bring_up_user_tunnel()
        if seen != "certificate, tunnel up":
            return seen
        back = time.monotonic() - began
        remaining = {row["id"] for row in self._list("session", "list", "--past")}
        lost = [row for row in sessions if row["id"] not in remaining]
        return f"back, {'nothing lost' if not lost else f'{len(lost)} sessions lost'} (next login after {back:.1f} s)"

    def _deny_device(self) -> str:
        done = self._lab.run("deny", "device", DEVICE, "--reason", "demonstration", check=False)
        wait_for(
            "the end of both tunnels",
            lambda: self._user_tunnel_is_gone() and not self._is_listed("device"),
            seconds=_GONE_WITHIN_SECONDS,
        )
        return f"{_describe_denial(done)}, both tunnels gone"

    def _device_refused(self) -> str:
        try:
            self._lab.bring_up_device_tunnel()
        except UnavailableError:
            wait_for("the record of the refusal", lambda: self._latest("device tunnel")["outcome"] == "refused")
            found = self._latest("device tunnel")
            return f"refused: {found['reason']}"
        return "the tunnel came up"

    def _allow_device(self) -> str:
        self._lab.run("allow", "device", DEVICE)
        self._lab.bring_up_device_tunnel()
        wait_for("the device's session", lambda: self._is_listed("device"))
        return "device tunnel up"

    def _add_second_gateway(self) -> str:
        self._lab.add_second_gateway(lambda _text: None)
        wait_for("the second gateway", lambda: self._find_state(SECOND_GATEWAY) == "connected")
        return "connected"

    def _second_device_tunnel(self) -> str:
        self._lab.run("allow", "device", DEVICE, check=False)
        address = self._lab.bring_up_device_tunnel(name=SECOND_TUNNEL, second=True)
        self._vouched_at = time.monotonic()
        wait_for("the session", lambda: self._is_listed("device", SECOND_GATEWAY))
        same = self._lab.fetch(CORP_INFRASTRUCTURE_ADDRESS, address) == self._lab.page
        return f"up ({address}), {'same bytes' if same else 'another page'}"

    def _deny_on_both(self) -> str:
        done = self._lab.run("deny", "device", DEVICE, "--reason", "demonstration", check=False)
        wait_for("the end of both tunnels", lambda: not self._is_listed("device"), seconds=_GONE_WITHIN_SECONDS)
        return f"{_describe_each(done)}, both tunnels gone"

    def _cut_off(self) -> str:
        self._lab.network.set_link("gateway2", MANAGE_LINK, up=False)
        return _describe_each(
            self._lab.run("deny", "device", DEVICE, "--reason", "demonstration", "--wait", "1", check=False)
        )

    def _refused_cut_off(self) -> str:
        # A tunnel that an older answer lets in holds strongSwan up: it waits for the RADIUS server to count it.
        time.sleep(max(0.0, self._vouched_at + _ANSWER_LIVES_SECONDS - time.monotonic()))
        wait_for("the refusal", self._is_refused_cut_off, seconds=30)
        return "refused"

    def _is_refused_cut_off(self) -> bool:
        try:
            self._lab.try_another_device_tunnel()
        except UnavailableError:
            return True
        return False

    def _link_back(self) -> str:
        began = time.monotonic()
        self._lab.network.set_link("gateway2", MANAGE_LINK, up=True)
        wait_for("the confirmation", lambda: self._find_pending(SECOND_GATEWAY) == 0, seconds=_GONE_WITHIN_SECONDS)
        milliseconds = (time.monotonic() - began) * 1000
        wait_for("the end of the tunnel", lambda: not self._is_listed("device"))
        return f"gw2 confirmed by itself ({milliseconds:.0f} ms after the link), tunnel gone"

    def _find_state(self, gateway: str) -> str:
        return next(row["state"] for row in self._list("gateway", "list") if row["name"] == gateway)

    def _find_pending(self, gateway: str) -> int:
        return next(int(row["pending_effects"]) for row in self._list("gateway", "list") if row["name"] == gateway)

    def _verify_audit(self) -> str:
        done = self._lab.run("audit", "verify", check=False)
        batches = done.stdout.split()[0] if done.returncode == 0 else "?"
        return f"unchanged ({batches} batches)" if done.returncode == 0 else done.stdout.strip()

    def _end_connect(self) -> None:
        if self._connect is not None and self._connect.poll() is None:
            self._connect.send_signal(signal.SIGTERM)
            self._connect.wait(timeout=20)
            wait_for("the end of the session", lambda: not self._is_listed("user"))
        self._connect = None

    def _user_tunnel_is_gone(self) -> bool:
        ended = self._connect is None or self._connect.poll() is not None
        return ended and not self._is_listed("user")

    def _is_listed(self, kind: str, gateway: str = "") -> bool:
        return any(
            row["kind"] == kind and row["state"] == "up" and gateway in ("", row["gateway"])
            for row in self._list("session", "list")
        )

    def _latest(self, kind: str) -> dict[str, str]:
        return next(row for row in self._list("attempt", "list", "--limit", "20") if row["kind"] == kind)

    def _list(self, *command: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(self._lab.run(*command, "--json").stdout)
        return found


def _describe_denial(done: subprocess.CompletedProcess[str]) -> str:
    found = re.search(r"confirmed after (\d+) ms", done.stdout)
    return f"confirmed ({found[1]} ms after the commit)" if found and done.returncode == 0 else "not confirmed"


def _describe_each(done: subprocess.CompletedProcess[str]) -> str:
    """What `deny` said of each gateway."""
    found = re.findall(r"^  (\S+): (?:confirmed after (\d+) ms|(NOT CONFIRMED))", done.stdout, re.MULTILINE)
    said = [f"{name} {no or f'confirmed ({ms} ms after the commit)'}" for name, ms, no in found]
    return ", ".join(said) or done.stdout.strip()


def _find_child(parent: int, user: str) -> int:
    """The process below `parent` that runs as a user."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,uid"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines()[1:]:
        pid, above, uid = line.split()
        if int(above) == parent and uid == user:
            return int(pid)
    raise UnavailableError(f"no process of user {user} runs below {parent}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(lab: Lab, *, keep: bool) -> int:
    """Run and print; the exit code."""
    began = time.monotonic()
    differ = Demo(lab, lambda line: print(line, flush=True)).run(keep=keep)
    sys.stdout.write(
        f"{'All as expected' if not differ else f'{differ} differ'}; {time.monotonic() - began:.0f} s in all.\n"
    )
    return 1 if differ else 0
