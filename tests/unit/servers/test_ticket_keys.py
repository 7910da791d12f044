"""Who forgot ticket keys has them nowhere in memory: every process but the policy server forgets them first thing."""

import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = r"""
import gc, hmac, re
from evertunnel.servers.ticket_keys import TicketKeys
from tests.peers.eap_tls import TLS_12
from tests.unit.protocols.eap.conftest import House

def search(ticket):
    # Every 32 octets of the heap that make the MAC at the end of the ticket (RFC 5077 4).
    found = 0
    with open("/proc/self/mem", "rb", 0) as memory:
        for line in open("/proc/self/maps"):
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not area or "[v" in line or "[stack" in line:
                continue
            begin, end = int(area[1], 16), int(area[2], 16)
            try:
                memory.seek(begin)
                octets = memory.read(end - begin)
            except OSError:
                continue
            for at in range(0, len(octets) - 32, 16):
                key = octets[at : at + 32]
                if key.count(0) < 8 and hmac.digest(key, ticket[:-32], "sha256") == ticket[-32:]:
                    found += 1
    return found

house, keys = House(), TicketKeys(uptime=0.0, periods=4)
context = house.new_context(tickets=keys.find_context(0.0))
client, server, flight = house.new_client(version=TLS_12), context.new_handshake(), b""
while server.peer is None:
    client._in.write(flight)
    client._advance()
    flight = server.receive(client._out.read())
message = flight[9:]  # NewSessionTicket comes first: after its headers lifetime, length, ticket
ticket = message[6 : 6 + int.from_bytes(message[4:6], "big")]
before = search(ticket)
del context, server
keys.forget()
gc.collect()
print(before, search(ticket))
"""


def test_a_forgotten_key_is_nowhere_in_memory() -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert before > 0, "else this shows nothing"
    assert after == 0
