# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OS users with homes of their own, and calls of the client transaction for them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, roll_back, target, transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AS_SERVER = {"authority": AUTHORITIES["server"], "purpose": certificate.SERVER_AUTH}
OTHER = issuing.new_authority("client", "P-256", TODAY)


def sign(
    public_key: Any,
    role: str,
    *,
    authority: issuing.Authority = AUTHORITIES["client"],
    purpose: str = certificate.CLIENT_AUTH,
    start: int = TODAY - 300,
    days: int = 90,
    names: Sequence[str] = (),
) -> str:
    """Return the chain that an authority issues for a role, or for the ``names`` of a server."""
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        purpose,
        issuing.Holder(role, parse_all(names, "names") if names else ()),
        public_key,
        issuing.Validity(start, start + days * DAY),
    )
    return certificate.read_der(leaf, "leaf").pem + authority.issuing.pem


def with_forged_signature(chain: str) -> str:
    """Return a chain whose leaf says the same as before, but nobody has signed it."""
    leaf, *above = certificate.read_pem(chain, "chain")
    forged = leaf._replace(der=leaf.der[:-1] + bytes([leaf.der[-1] ^ 1]))
    return "".join(one.pem for one in (forged, *above))


def chains(result: dict[str, Any], **options: Any) -> dict[str, str]:
    """Return the certificates for all requests of a result."""
    found = {}
    for request in result["requests"]:
        own = {**options, **(AS_SERVER if request["names"] else {}), "names": request["names"]}
        key = x509.load_pem_x509_csr(request["csr"].encode()).public_key()
        found[request["id"]] = sign(key, request["role"] or request["names"][0], **own)
    return found


@dataclass
class User:
    """An OS user made for one test."""

    name: str
    home: Path

    @property
    def default(self) -> Path:
        """Return the directory that libpq looks into."""
        return self.home / ".postgresql"

    @property
    def store(self) -> Path:
        return self.default / "pgops"

    @property
    def service_file(self) -> Path:
        return self.home / ".pg_service.conf"

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.name).pw_uid

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command as this user."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C"}
        return subprocess.run(
            ["runuser", "-u", self.name, "--", *argv],
            capture_output=True,
            text=True,
            env=environment,
            cwd="/",
            check=False,
        )

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of this user's."""
        full = self.home / path
        full.parent.mkdir(exist_ok=True)
        full.write_text(text, encoding="utf-8")
        full.chmod(mode)
        for part in (full, full.parent):
            shutil.chown(part, self.name, pwd.getpwnam(self.name).pw_gid)
        return full


@dataclass
class Clients:
    """The module's options for this host, and calls with them."""

    options: dict[str, Any] = field(default_factory=dict)

    def call(
        self,
        *,
        check_mode: bool = False,
        now: int = TODAY,
        kind: type[transaction.Transaction] = transaction.Transaction,
        **changes: Any,
    ) -> dict[str, Any]:
        """Call the module's logic once."""
        wanted = target.read({**self.options, **changes}, now)
        result = convergence.result(convergence.converge(wanted, now, float(now), check_mode=check_mode, kind=kind))
        json.dumps(result)  # a module's result has to go through JSON
        return result

    def roll_back(self, **options: Any) -> dict[str, Any]:
        """Call what goes back to the generation before."""
        return self.call(kind=roll_back.RollBack, **options)

    def converge(self, **changes: Any) -> dict[str, Any]:
        """Call as the role does: once, and once more with certificates when some are needed."""
        first = self.call(**changes)
        return self.call(certificates=chains(first), **changes) if first["requests"] else first


def snapshot(home: Path) -> dict[str, tuple[Any, ...]]:
    """Return everything below a home with inodes and times, which even an equal write would change."""
    found = {}
    for path, what in faults.everything(home).items():
        info = (home / path).lstat()
        found[path] = (*what, info.st_ino, info.st_mtime_ns, info.st_ctime_ns)
    return found


def used(user: User) -> dict[str, Any]:
    """Return what programs of this user see: the default files, the service file, the files of each role."""
    seen: dict[str, Any] = {"service": user.service_file.read_bytes() if user.service_file.exists() else None}
    for path in sorted([*user.default.glob("*"), *(user.store / "current").glob("**/*")]):
        if path.name != "pgops" and not path.name.endswith(".pgops-new"):
            link = os.readlink(path) if path.is_symlink() else None
            seen[str(path)] = (link, path.read_bytes() if path.is_file() else None, oct(path.stat().st_mode))
    return seen


def identity(user: User, role: str, *databases: str) -> dict[str, Any]:
    return {"role": role, "os_user": user.name, "databases": list(databases)}


def new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_rsa_key() -> bytes:
    return rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", source, target], check=True)
