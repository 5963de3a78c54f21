"""`systemctl --user` and `journalctl --user` over a `UnitSupervisor`, for the command line where no systemd runs.

A server on a unix socket beside it answers; two scripts of these names, to be put on PATH, ask.
"""

import json
import socketserver
import sys
import threading
from pathlib import Path
from typing import Self

from tests.support.unit_supervisor import UnitSupervisor

_SCRIPT = """#!{python}
import json, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect({address!r})
sock.sendall(json.dumps(sys.argv).encode() + b"\\n")
code, out, err = json.loads(sock.makefile().readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


class Systemctl:
    """Answers while it is entered; the scripts are in `bin`."""

    def __init__(self, supervisor: UnitSupervisor, folder: Path, python: str = sys.executable) -> None:
        self._supervisor = supervisor
        self._is_enabled = False
        self.asked: list[str] = []
        self.bin = folder / "bin"
        self.bin.mkdir()
        address = str(folder / "control")
        for name in ("systemctl", "journalctl"):
            script = self.bin / name
            script.write_text(_SCRIPT.format(python=python, address=address))
            script.chmod(0o755)
        self._server = socketserver.ThreadingUnixStreamServer(address, self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        answer = self.answer

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(json.dumps(answer(json.loads(self.rfile.readline()))).encode() + b"\n")

        return Handler

    def answer(self, argv: list[str]) -> tuple[int, str, str]:
        words = argv[2:]
        self.asked.append(" ".join(words))
        if argv[0].endswith("journalctl"):
            return 0, self._supervisor.output.read_text(errors="replace"), ""
        match words[0]:
            case "show":
                return 0, self._properties() if words[1] == "mlxr.service" else "Version=252\n", ""
            case "enable":
                self._is_enabled = True
            case "disable":
                self._is_enabled = False
                self._supervisor.stop()
            case "start" | "restart":
                if words[0] == "restart":
                    self._supervisor.stop()
                self._supervisor.start()
                if not self._supervisor.is_ready:
                    return 1, "", "Job for mlxr.service failed.\n"
            case "stop":
                self._supervisor.stop()
            case "daemon-reload":
                pass
            case _:
                return 1, "", f"Unknown command verb {words[0]}.\n"
        return 0, "", ""

    def _properties(self) -> str:
        supervisor = self._supervisor
        is_active = supervisor.pid is not None and supervisor.is_ready
        values = {
            "ActiveState": "active" if is_active else "inactive",
            "SubState": "running" if is_active else "dead",
            "UnitFileState": "enabled" if self._is_enabled else "disabled",
            "MainPID": supervisor.pid or 0,
            "NRestarts": supervisor.num_restarts,
            "StatusText": supervisor.status,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())
