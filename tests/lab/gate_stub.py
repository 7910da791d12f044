"""An OCSP address that fails in one way. python -m tests.lab.gate_stub PORT MODE [ANSWER-FILE]"""

import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    port, mode = int(sys.argv[1]), sys.argv[2]
    answer = Path(sys.argv[3]).read_bytes() if len(sys.argv) > 3 else b""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if mode == "slow":
                time.sleep(30)
            self.send_response(503 if mode == "503" else 200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    _Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
