"""Without memory a handshake ends in MemoryError, never in a failure that looks like the peer's."""

import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import resource
from pathlib import Path
from evertunnel.protocols.eap.tls_server import TLSError
from tests.unit.protocols.eap.conftest import House

house = House()
client, conversation = house.new_client(), house.new_conversation()
hello = client.answer(conversation.receive(client.answer_identity()).eap_message)[6:]

def begin():
    handshake = house.context.new_handshake()
    handshake.receive(hello)
    return handshake

begin()
lines = Path("/proc/self/status").read_text().splitlines()
size = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (size + 3_000_000, -1))
kept, seen, filler = [], set(), None
errors = (MemoryError, TLSError)  # made here: without memory not even this can be made
for number in range(5_000):
    try:
        kept.append(begin())
    except errors as error:
        filler = None
        if kept:
            kept.pop()  # we need memory ourselves
        seen.add(type(error).__name__)
        try:
            filler = bytes(number % 97 * 257)  # so that it is short at another place the next time
        except MemoryError:
            pass
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
begin()
print(*seen)
"""


def test_a_handshake_without_memory_is_not_the_peers_failure() -> None:
    root = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "MemoryError\n"), done.stderr
