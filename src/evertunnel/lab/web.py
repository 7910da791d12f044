"""The corporate web server: one folder on one address. The ready-made one first asks a DNS server that is not there."""

import functools
import socketserver
import sys
from http.server import SimpleHTTPRequestHandler


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """python -m evertunnel.lab.web ADDRESS FOLDER"""
    address, folder = sys.argv[1:3]
    _Server((address, 80), functools.partial(SimpleHTTPRequestHandler, directory=folder)).serve_forever()


if __name__ == "__main__":
    main()
