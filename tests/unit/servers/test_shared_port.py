"""One port for several workers, on the kernel's own sockets: who gets a packet, and how it is handed over."""

import random
import select
import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest

from evertunnel.servers.logins import Reply
from evertunnel.servers.shared_port import Port, SharedPort, decode_handed_over, encode_handed_over
from evertunnel.servers.workers import Place
from tests.peers import radius

WORKERS = 3
LOOPBACK = ("127.0.0.1", 0)


class Open:
    """A port with all its workers in this process."""

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.shared = SharedPort(family, address, WORKERS)
        self.ports = [self.shared.open(Place(number, WORKERS)) for number in range(WORKERS)]
        self.address = self.ports[0].sockets[0].getsockname()

    def find_worker(self) -> int:
        """Which worker a packet waits at."""
        (worker,) = [at for at, port in enumerate(self.ports) if select.select(port.sockets, [], [], 0)[0]]
        return worker

    def find_receiver(self) -> int:
        """Which worker has the one packet that waits."""
        ((worker, arrivals),) = [(at, found) for at, port in enumerate(self.ports) if (found := read(port))]
        assert len(arrivals) == 1
        return worker


def read(port: Port) -> list[tuple[bytes, object, bool]]:
    """What waits at a worker."""
    return list(port.receive([each.fileno() for each in select.select(port.sockets, [], [], 0)[0]]))


@pytest.fixture
def opened() -> Iterator[Open]:
    made = Open(socket.AF_INET, LOOPBACK)
    with closing(made.shared):
        yield made


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as own:
        own.bind(LOOPBACK)
        own.settimeout(5)
        yield own


def test_what_comes_while_packets_are_answered_waits_for_the_next_turn(opened: Open, client: socket.socket) -> None:
    """Clients that answer at once would else hold a worker for 128 packets, and wake all others for nothing."""
    client.sendto(b"first", opened.address)
    port = opened.ports[opened.find_worker()]
    answered = 0
    for data, source, _ in port.receive([each.fileno() for each in port.sockets]):
        answered += 1
        port.send(Reply(data, source))  # type: ignore[arg-type]
        client.sendto(client.recv(100), opened.address)
    assert answered == 1
    assert [data for data, _, _ in read(port)] == [b"first"]


def build_packet(chance: random.Random, *, state: bytes | None, attributes: int) -> bytes:
    """A packet as gateways have them: attributes of any length, the State anywhere among them."""
    numbers = [1, 4, 5, 30, 31, 33, 61, 77, 79, 80]
    values = [(chance.choice(numbers), chance.randbytes(chance.randint(0, 100))) for _ in range(attributes)]
    if state is not None:
        values.insert(chance.randint(0, attributes), (radius.STATE, state))
    body = radius.encode_attributes(values)
    return bytes((1, chance.randrange(256))) + (20 + len(body)).to_bytes(2, "big") + chance.randbytes(16) + body


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernel_gives_a_packet_to_the_worker_that_answers_it(family: socket.AddressFamily) -> None:
    chance = random.Random(1)
    host = "127.0.0.1" if family is socket.AF_INET else "::1"
    opened = Open(family, (host, 0))
    with closing(opened.shared), closing(socket.socket(family, socket.SOCK_DGRAM)) as client:
        for number in range(600):
            state = Place(number % WORKERS, WORKERS).new_state() if number % 2 else None
            packet = build_packet(chance, state=state, attributes=chance.randint(0, 25))
            client.sendto(packet, opened.address)
            assert opened.find_receiver() == Place(0, WORKERS).find_owner(packet[4:20], state, awake=WORKERS)


def test_those_awake_get_what_is_new_and_conversations_stay(opened: Open, client: socket.socket) -> None:
    chance = random.Random(3)
    for awake in (1, WORKERS, 2, 1):
        opened.ports[2].steer(awake)
        met = set()
        for _ in range(60):
            client.sendto(build_packet(chance, state=None, attributes=3), opened.address)
            met.add(opened.find_receiver())
        assert met == set(range(awake))
        state = Place(2, WORKERS).new_state()
        client.sendto(build_packet(chance, state=state, attributes=3), opened.address)
        assert opened.find_receiver() == 2


@pytest.mark.parametrize("data", [b"", b"\x01", bytes(19), bytes(20), bytes(20) + b"\x18", bytes(20) + b"\x18\x02"])
def test_what_is_cut_off_comes_to_somebody(opened: Open, client: socket.socket, data: bytes) -> None:
    client.sendto(data, opened.address)
    assert opened.find_receiver() in range(WORKERS)


def test_a_state_of_no_worker_or_behind_many_attributes_comes_to_somebody(opened: Open, client: socket.socket) -> None:
    many = [(radius.PROXY_STATE, b"x")] * 60
    for state in (b"\xff" * 16, Place(1, WORKERS).new_state()):
        body = radius.encode_attributes([*(many if state[0] != 255 else []), (radius.STATE, state)])
        client.sendto(bytes(20) + body, opened.address)
        assert opened.find_receiver() in range(WORKERS)


def test_one_gateway_on_one_port_is_served_by_all_workers(opened: Open, client: socket.socket) -> None:
    chance, met = random.Random(2), [0] * WORKERS
    for _ in range(300):
        client.sendto(build_packet(chance, state=None, attributes=3), opened.address)
        met[opened.find_receiver()] += 1
    assert min(met) > 50


def test_every_worker_answers_from_the_address_that_was_asked(opened: Open, client: socket.socket) -> None:
    client.connect(opened.address)  # takes nothing from elsewhere
    for number, port in enumerate(opened.ports):
        port.send(Reply(bytes((number,)), client.getsockname()))
        assert client.recv(10) == bytes((number,))


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_that_somebody_has_is_not_shared_with_him(shares: bool) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        other.bind(LOOPBACK)
        with pytest.raises(OSError, match="in use"):
            SharedPort(socket.AF_INET, other.getsockname(), WORKERS)


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_two_of_us_do_not_share_a_port(opened: Open, workers: int) -> None:
    with pytest.raises(OSError, match="in use"):
        SharedPort(socket.AF_INET, opened.address, workers)


def test_a_packet_is_handed_over_as_it_came(opened: Open) -> None:
    for source in (("192.0.2.1", 1812), ("2001:db8::1", 65_535, 0, 0), ("fe80::1%eth0", 5, 7, 3)):
        for data in (b"", b"\n", bytes(range(256)) * 16):
            opened.ports[0].hand_over(2, (data, source, False))  # type: ignore[arg-type]
            assert read(opened.ports[2]) == [(data, source, True)]
            assert decode_handed_over(encode_handed_over(data, source)) == (data, source)  # type: ignore[arg-type]
    assert [read(port) for port in opened.ports] == [[], [], []]


def test_what_was_handed_over_is_not_handed_on(opened: Open) -> None:
    opened.ports[0].hand_over(1, (b"x", ("192.0.2.1", 1), True))
    assert [read(port) for port in opened.ports] == [[], [], []]
    assert opened.ports[0].take_dropped() == {"handed_over_twice": 1}
    assert opened.ports[0].take_dropped() == {}


def fill(port: Port, worker: int) -> int:
    """Hand over to somebody who does not read, until it is dropped; returns how many were taken."""
    for number in count():
        assert number < 100_000, "nothing bounds it"
        port.hand_over(worker, (bytes(1_000), ("192.0.2.1", 1), False))
        if port.take_dropped():
            return number
    raise AssertionError


def test_a_worker_that_does_not_read_stops_nobody_and_takes_bounded_memory(opened: Open) -> None:
    taken = fill(opened.ports[0], 1)
    assert 50 < taken < 10_000
    opened.ports[0].hand_over(1, (b"x", ("192.0.2.1", 1), False))
    opened.ports[2].hand_over(1, (b"x", ("192.0.2.1", 1), False))
    assert opened.ports[0].take_dropped() == opened.ports[2].take_dropped() == {"not_handed_over": 1}
    opened.ports[0].hand_over(2, (b"others", ("192.0.2.1", 1), False))
    assert read(opened.ports[2]) == [(b"others", ("192.0.2.1", 1), True)]


def drain(port: Port) -> int:
    """How many packets waited."""
    total = 0
    while found := read(port):
        total += len(found)
    return total


def test_the_next_worker_reads_what_waited_for_the_one_that_died(opened: Open, client: socket.socket) -> None:
    taken = fill(opened.ports[0], 1)
    state = Place(1, WORKERS).new_state()
    client.sendto(build_packet(random.Random(3), state=state, attributes=2), opened.address)
    opened.ports[1] = opened.shared.open(Place(1, WORKERS))  # another process, the same sockets
    assert drain(opened.ports[1]) == taken + 1
    opened.ports[0].hand_over(1, (b"again", ("192.0.2.1", 1), False))
    assert read(opened.ports[1]) == [(b"again", ("192.0.2.1", 1), True)]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_worker_keeps_its_own_sockets_and_the_ends_to_write_to(workers: int) -> None:
    with closing(SharedPort(socket.AF_INET, LOOPBACK, workers)) as shared:
        kept = [set(shared.list_sockets(Place(number, workers))) for number in range(workers)]
        for number in range(workers):
            reads = set(shared.open(Place(number, workers)).sockets)
            assert len(reads) == (1 if workers == 1 else 2)
            assert reads <= kept[number]
            for other in range(workers):
                assert other == number or not reads & kept[other]
