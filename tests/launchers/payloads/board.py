"""A page on this node's loopback (or where `host` says), announced as clusters announce their dashboards."""

import http.server
import os
import pathlib
import platform
import threading

from dagster_pipes import open_dagster_pipes


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = (self.path + "\n").encode() * 20_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


with open_dagster_pipes() as pipes:
    host = pipes.extras.get("host", "127.0.0.1")
    server = http.server.ThreadingHTTPServer((host, 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state = pathlib.Path(os.environ["DAGSTER_SLURM_RUN_DIR"], "ray.0")
    state.mkdir()
    (state / "secret").write_text("sesame\n")
    node = os.environ.get("SLURMD_NODENAME") or platform.node()
    (state / "dashboard").write_text(f"{node} {host} {server.server_port}\n")
    folder = pathlib.Path(pipes.extras["folder"])
    (folder / "job").write_text(os.environ["DAGSTER_SLURM_JOB_ID"])
    (folder / "begun").touch()
    while not (folder / "stop").exists():
        threading.Event().wait(0.1)
