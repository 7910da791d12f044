"""Logs: a line of JSON an event; a line that cannot be written harms nobody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import structlog
from evertunnel.logs import set_up_logs
set_up_logs(process="radius")
for number in range(3):
    structlog.get_logger().error("cannot record", number=number)
print("served on")
"""


def run(errors: Path) -> str:
    with errors.open("wb") as file:
        done = subprocess.run([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=file, check=True)
    return done.stdout.decode()


def test_a_line_says_which_process_wrote_it(tmp_path: Path) -> None:
    assert run(tmp_path / "log") == "served on\n"
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 3
    assert all(line.startswith('{"process":"radius","number":') for line in lines)


def test_on_a_full_disk_lines_are_lost_and_the_process_goes_on() -> None:
    assert run(Path("/dev/full")) == "served on\n"


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[31m \x9b31m \u202eecila \u2028 \U000e0041 zo\u00eb", "\x7f", "half a character: \ud800", "\ud800 and \x7f"],
)
def test_what_strangers_are_called_drives_no_terminal_and_reads_back(tmp_path: Path, hostile: str) -> None:
    program = (
        "import structlog\nfrom evertunnel.logs import set_up_logs\nset_up_logs(process='gateway')\n"
        f"structlog.get_logger().warning('ended', who={hostile!r})"
    )
    with (tmp_path / "log").open("wb") as file:
        subprocess.run([sys.executable, "-c", program], stderr=file, check=True)
    (line,) = (tmp_path / "log").read_bytes().decode().splitlines()
    assert [each for each in line if not each.isprintable()] == []
    assert "zo" not in hostile or "zo\u00eb" in line, "who may be read is not made unreadable"
    assert json.loads(line)["who"] == hostile
