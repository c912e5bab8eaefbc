# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pebble, a CA that speaks ACME and is as unpleasant as it may be, on ports of loopback, with a DNS of its own."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The program of the guide writes the files that http-01 asks for. This one sets the records of dns-01 in the DNS.
DNS_PROGRAM = """#!/usr/bin/python3
import json, sys, urllib.request
question = json.load(sys.stdin)
for one in question["challenges"]:
    path = {{"add": "set-txt", "remove": "clear-txt"}}[question["action"]]
    body = json.dumps({{"host": one["record"] + ".", "value": one["value"]}}).encode()
    urllib.request.urlopen("http://127.0.0.1:{port}/" + path, body, timeout=10).read()
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and keeps which ones were wanted."""

    wanted: list[str]

    def log_message(self, *_arguments: Any) -> None:
        """Write nothing."""

    def do_GET(self) -> None:
        """Serve a file."""
        self.wanted.append(self.path)
        super().do_GET()


class Pebble:
    """A running CA. ``web`` is what the names of servers serve on the port of http-01."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.web = directory, directory / "web"
        self.web.mkdir()
        self.ports = dict(zip(("api", "management", "http", "tls", "dns", "records"), free_ports(6)))
        self.url = f"https://127.0.0.1:{self.ports['api']}/dir"
        self.wanted: list[str] = []

    @property
    def ca_file(self) -> str:
        """Return the path of the certificate of its own API."""
        return str(self.directory / "api.pem")

    def get(self, path: str) -> str:
        """Return what its management port answers."""
        url = f"https://127.0.0.1:{self.ports['management']}/{path}"
        context = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return str(answer.read().decode())

    def root(self, number: int = 0) -> str:
        """Return one of its roots (PEM): the first one, or that of another chain."""
        return self.get(f"roots/{number}")

    def declared(self, command: list[str], roots: Path) -> dict[str, Any]:
        """Return the source of the servers."""
        found = {"type": "acme", "url": self.url, "ca_file": self.ca_file, "terms_agreed": True, "timeout": 60}
        return {**found, "challenge": "http-01", "command": command, "roots": str(roots)}

    def dns_program(self) -> list[str]:
        """Return a program that sets the records of dns-01."""
        path = self.directory / "set-records"
        path.write_text(DNS_PROGRAM.format(port=self.ports["records"]))
        path.chmod(0o755)
        return [str(path)]


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _number in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def running(directory: Path, **settings: str) -> Iterator[Pebble]:
    """Run Pebble, with settings such as ``PEBBLE_WFE_NONCEREJECT``, a DNS that knows every name, and a web server."""
    found = Pebble(directory)
    _configure(found)
    ports, log = found.ports, (directory / "log").open("w")
    environment = {"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1", **settings}
    none = ["-http01=", "-https01=", "-tlsalpn01=", "-defaultIPv6="]
    dns = [f"-dns01=127.0.0.1:{ports['dns']}", f"-management=127.0.0.1:{ports['records']}"]
    api = [f"-config={directory}/config.json", f"-dnsserver=127.0.0.1:{ports['dns']}"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(log)
        for command in (["pebble-challtestsrv", *none, *dns], ["pebble", *api]):
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait)
            stack.callback(process.kill)
        stack.enter_context(_web(found))
        _wait(found)
        yield found


def _configure(found: Pebble) -> None:
    folder, ports = found.directory, found.ports
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "api.key", "-out", "api.pem", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *key, *names], cwd=folder, check=True, capture_output=True)
    pebble = {
        "listenAddress": f"127.0.0.1:{ports['api']}",
        "managementListenAddress": f"127.0.0.1:{ports['management']}",
        "certificate": found.ca_file,
        "privateKey": str(folder / "api.key"),
        "httpPort": ports["http"],
        "tlsPort": ports["tls"],
    }
    (folder / "config.json").write_text(json.dumps({"pebble": pebble}))


@contextlib.contextmanager
def _web(found: Pebble) -> Iterator[None]:
    handler = type("Handler", (Quiet,), {"wanted": found.wanted})
    serving = functools.partial(handler, directory=str(found.web))
    with http.server.ThreadingHTTPServer(("127.0.0.1", found.ports["http"]), serving) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _wait(found: Pebble) -> None:
    for _attempt in range(300):
        with contextlib.suppress(OSError):
            found.root()
            return
        time.sleep(0.1)
    raise AssertionError(f"Pebble did not start:\n{(found.directory / 'log').read_text()}")
