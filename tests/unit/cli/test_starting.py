"""Every command waits for what the program loads."""

import subprocess
import sys


def test_the_program_loads_nothing_heavy_before_it_knows_the_command() -> None:
    program = "import sys; import evertunnel.cli.app; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"evertunnel.config", "fastapi", "pydantic", "sqlalchemy", "structlog", "uvicorn", "OpenSSL"}
    assert heavy.isdisjoint(done.stdout.split())
