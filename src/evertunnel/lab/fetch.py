"""Fetch a page from one of the laptop's addresses, so that one tunnel carried it; print its size and SHA-256."""

import hashlib
import http.client
import sys


def main() -> None:
    """python -m evertunnel.lab.fetch HOST PATH SOURCE-ADDRESS"""
    host, path, source = sys.argv[1:4]
    connection = http.client.HTTPConnection(host, 80, timeout=5, source_address=(source, 0))
    try:
        connection.request("GET", path)
        body = connection.getresponse().read()
    except OSError as error:
        sys.exit(f"{host} cannot be reached from {source}: {error}")
    sys.stdout.write(f"{len(body)} {hashlib.sha256(body).hexdigest()}\n")


if __name__ == "__main__":
    main()
