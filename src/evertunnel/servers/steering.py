"""Lets the kernel give each packet to the worker that answers it, so that few have to be handed over.

A classic BPF program for SO_ATTACH_REUSEPORT_CBPF (socket(7)). It says what `workers.Place.find_owner` says, without
checking anything: only a shortcut, for `find_owner` is asked again about every packet whose Authenticator was right.
"""

import ctypes
import socket
import struct

from evertunnel.protocols.radius.attributes import STATE
from evertunnel.protocols.radius.packet import HEADER_BYTES

_SO_ATTACH_REUSEPORT_CBPF = 51
_AUTHENTICATOR_AT = 4
# Packets of gateways have a dozen. A State behind more of them is found by `find_owner`, and handed over.
_ATTRIBUTES_LOOKED_AT = 32

# linux/filter.h: A is what is computed with, X the place of an attribute.
_X_IS, _A_IS_LENGTH, _A_IS_OCTET, _A_IS_OCTET_AT_X = 0x01, 0x80, 0x30, 0x50
_A_ABOVE_X, _A_EQUALS, _JUMP, _A_MODULO, _A_PLUS_X, _X_IS_A, _RETURN_A = 0x2D, 0x15, 0x05, 0x94, 0x0C, 0x07, 0x16

Instruction = tuple[int, int, int, int]


def build_program(count: int) -> list[Instruction]:
    """The first octet of the State, or else the first of the Authenticator modulo the number of workers.

    What it returns for a packet that is too short is 0, and for an unknown worker some worker: both drop such packets.
    """
    program: list[Instruction] = [(_X_IS, 0, 0, HEADER_BYTES)]
    for left in reversed(range(_ATTRIBUTES_LOOKED_AT)):
        program += [
            (_A_IS_LENGTH, 0, 0, 0),
            (_A_ABOVE_X, 1, 0, 0),  # a jump by condition reaches 255 instructions only
            (_JUMP, 0, 0, 7 + 10 * left),  # no attribute is left
            (_A_IS_OCTET_AT_X, 0, 0, 0),
            (_A_EQUALS, 0, 2, STATE),
            (_A_IS_OCTET_AT_X, 0, 0, 2),
            (_RETURN_A, 0, 0, 0),
            (_A_IS_OCTET_AT_X, 0, 0, 1),
            (_A_PLUS_X, 0, 0, 0),
            (_X_IS_A, 0, 0, 0),
        ]
    return [*program, (_A_IS_OCTET, 0, 0, _AUTHENTICATOR_AT), (_A_MODULO, 0, 0, count), (_RETURN_A, 0, 0, 0)]


def steer(listener: socket.socket, count: int) -> None:
    """Attach the program to the sockets that share a port, of which `listener` is one. Raises OSError."""
    program = build_program(count)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    listener.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, struct.pack("HL", len(program), ctypes.addressof(code))
    )
