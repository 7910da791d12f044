"""Logs: a line of JSON an event; a line that cannot be written harms nobody."""

import subprocess
import sys
from pathlib import Path

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
