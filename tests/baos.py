# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OpenBao in development mode on a port of loopback, with TLS, and PKI secrets engines as people set them up."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.containers import wheels

ROOT_TOKEN = "root-token-of-tests-4711"
POLICY = 'path "+/sign/*" { capabilities = ["update"] }'


def program() -> Path:
    """Return the path of the program."""
    return next(wheels.openbao().rglob("bin/bao"))


class Bao:
    """A running server. ``directory`` has its own certificate and the CA of that."""

    def __init__(self, directory: Path, port: int, process: subprocess.Popen[str]) -> None:
        self.directory, self.port, self.process = directory, port, process
        self.url = f"https://127.0.0.1:{port}"
        self.unseal_key = ""

    @property
    def ca_file(self) -> str:
        """Return the path of the CA that verifies its certificate."""
        return str(self.directory / "vault-ca.pem")

    def call(self, method: str, path: str, /, login: str = ROOT_TOKEN, **data: Any) -> dict[str, Any]:
        """Call its API; return the answer. Raises HTTPError."""
        body = json.dumps(data).encode() if data or method == "POST" else None
        headers = {"X-Vault-Token": login}
        request = urllib.request.Request(f"{self.url}/v1/{path}", body, headers, method=method)  # noqa: S310
        context = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
            content = answer.read()
        return json.loads(content) if content else {}

    def write(self, path: str, /, **data: Any) -> dict[str, Any]:
        """Write to a path; return the data of the answer."""
        return self.call("POST", path, **data).get("data") or {}

    def pki(self, mount: str, *, below: str = "", with_root: bool = True) -> str:
        """Enable a PKI secrets engine with a root, or with a CA below the root of another one. Return the root."""
        self.write(f"sys/mounts/{mount}", type="pki", config={"max_lease_ttl": "87600h"})
        name, life = f"{mount} {'Issuing' if below else 'Root'}", {"ttl": "87000h", "key_type": "ec", "key_bits": 256}
        if not below:
            return str(self.write(f"{mount}/root/generate/internal", common_name=name, **life)["certificate"])
        csr = self.write(f"{mount}/intermediate/generate/internal", common_name=name, **life)["csr"]
        signed = self.write(f"{below}/root/sign-intermediate", csr=csr, common_name=name, ttl="86000h")
        root = str(self.call("GET", f"{below}/issuer/default/json")["data"]["certificate"])
        chain = [signed["certificate"], *([root] if with_root else [])]
        self.write(f"{mount}/intermediate/set-signed", certificate="\n".join(chain))
        return root

    def role(self, mount: str, name: str, **settings: Any) -> None:
        """Write a role that signs what servers or clients need, with other settings."""
        fit = {"allow_any_name": True, "enforce_hostnames": False, "allow_ip_sans": True, "key_type": "any"}
        self.write(f"{mount}/roles/{name}", **{**fit, "max_ttl": "8760h", "client_flag": False, **settings})

    def token(self, ttl: str = "1h") -> str:
        """Return a token that may sign, and nothing else."""
        self.write("sys/policies/acl/sign", policy=POLICY)
        made = self.call("POST", "auth/token/create", policies=["sign"], ttl=ttl, explicit_max_ttl=ttl)
        return str(made["auth"]["client_token"])

    def approle(self) -> dict[str, str]:
        """Return the login of an AppRole that may sign."""
        self.token()
        with contextlib.suppress(urllib.error.HTTPError):  # it is enabled already
            self.write("sys/auth/approle", type="approle")
        self.write("auth/approle/role/ansible", token_policies=["sign"])
        role_id = self.call("GET", "auth/approle/role/ansible/role-id")["data"]["role_id"]
        return {"role_id": role_id, "secret_id": self.write("auth/approle/role/ansible/secret-id")["secret_id"]}

    def declared(self, role: str, mount: str = "pki", **more: Any) -> dict[str, Any]:
        """Return the source of an authority."""
        found = {"type": "openbao", "url": self.url, "ca_file": self.ca_file, "mount": mount, "role": role}
        return {key: value for key, value in {**found, "token": self.token(), **more}.items() if value is not None}


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Bao]:
    """Run a server whose storage is its memory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["-dev", "-dev-tls", f"-dev-tls-cert-dir={directory}", f"-dev-root-token-id={ROOT_TOKEN}"]
    log = directory / "log"
    environment = {"HOME": str(directory), "PATH": os.environ["PATH"]}
    with log.open("w") as stream:
        process = subprocess.Popen(
            [program(), "server", *arguments, f"-dev-listen-address=127.0.0.1:{port}"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
        )
    found = Bao(directory, port, process)
    try:
        _wait(found, log)
        yield found
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def with_pki(directory: Path) -> Iterator[Bao]:
    """Run a server with a mount that has its root, ``pki``, and one of a CA ``below`` that; skip where none can run."""
    if Path("/run/.containerenv").exists() and not wheels.INSIDE.is_dir():
        pytest.skip("only the containers of one suite have OpenBao")
    with running(directory) as found:
        found.pki("pki")
        found.pki("below", below="pki")
        for mount in ("pki", "below"):
            found.role(mount, "server")
            found.role(mount, "client", server_flag=False, client_flag=True)
        yield found


def _wait(found: Bao, log: Path) -> None:
    for _attempt in range(300):
        with contextlib.suppress(OSError, ValueError):
            is_up = not found.call("GET", "sys/health")["sealed"]
            keys = [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("Unseal Key")]
            if is_up and keys:
                found.unseal_key = keys[0]
                return
        if found.process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"OpenBao did not start:\n{log.read_text()}")
