# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server as the tests of its transaction see it: what the module is told, and what there is afterwards."""

from __future__ import annotations

import datetime
import hashlib
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings, wire
from ansible_collections.pgops.tls.plugins.module_utils.server import convergence, roll_back, target, transaction
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

TODAY = int(time.time())  # Unix seconds when the tests began
AUTHORITIES = {name: issuing.new_authority(name, "P-256", TODAY) for name in ("server", "client")}
HBA = "hostssl all app all cert\nhostnossl all all all reject\nhostnossl replication all all reject\n"


def sign(request: str, names: list[str], *, start: int = TODAY - 300, days: int = 90) -> str:
    """Return the chain that the server authority issues for a request."""
    authority = AUTHORITIES["server"]
    public_key: Any = x509.load_pem_x509_csr(request.encode()).public_key()
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        certificate.SERVER_AUTH,
        issuing.Holder("", tuple(parse_all(names, "names"))),
        public_key,
        issuing.Validity(start, start + days * DAY),
    )
    return certificate.read_der(leaf, "leaf").pem + authority.issuing.pem


def revocation_list(authority: issuing.Authority, *, of_root: bool = False) -> str:
    """Return a list (PEM) by which the issuing CA of an authority, or its root, revokes nothing."""
    by: Any = (authority.root, authority.root_key) if of_root else (authority.issuing, authority.issuing_key)
    start = datetime.datetime.fromtimestamp(TODAY, datetime.timezone.utc)
    builder = x509.CertificateRevocationListBuilder(x509.load_der_x509_certificate(by[0].der).subject)
    builder = builder.last_update(start).next_update(start + datetime.timedelta(days=30))
    return builder.sign(by[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def lists(name: str, *serials: int, start: int = TODAY - 300, days: int = 90) -> str:
    """Return the lists (PEM) of an authority's issuing CA, which revokes these serial numbers, and of its root."""
    authority = AUTHORITIES[name]
    if authority.root_key is None:
        raise ValueError(name)
    moment = datetime.datetime.fromtimestamp(start, datetime.timezone.utc)
    entries = [x509.RevokedCertificateBuilder().serial_number(one).revocation_date(moment).build() for one in serials]
    validity = issuing.Validity(start, start + days * DAY)
    below = issuing.Issuer.of(authority.issuing, authority.issuing_key).sign_list(entries, validity, 1)
    return below + issuing.Issuer.of(authority.root, authority.root_key).sign_list((), validity, 1)


@dataclass
class Server:
    """One managed cluster and the options that the module would get."""

    cluster: Any
    directory: Path
    options: dict[str, Any] = field(default_factory=dict)
    ssl: dict[str, str] = field(default_factory=dict)
    role: str = "postgres"
    configuration: Path | None = None  # where postgresql.conf and the others are, if not in the data directory

    def converge(
        self,
        *,
        check_mode: bool = False,
        now: int = TODAY,
        kind: type[transaction.Transaction] = transaction.Transaction,
        **changes: Any,
    ) -> transaction.Outcome:
        """Call the transaction once."""
        login = convergence.Login(self.cluster.port, self.cluster.socket_directory, self.role)
        wanted = target.read(self.all_options(**changes))
        return convergence.converge(wanted, login, now, now, check_mode=check_mode, kind=kind)

    def roll_back(self, **options: Any) -> transaction.Outcome:
        """Call the transaction that goes back to the generation before."""
        return self.converge(kind=roll_back.RollBack, **options)

    def all_options(self, **changes: Any) -> dict[str, Any]:
        """Return what the module would be called with."""
        server, client = AUTHORITIES["server"], AUTHORITIES["client"]
        return {
            "port": self.cluster.port,
            "directory": str(self.directory),
            "names": ["localhost", "127.0.0.1"],
            "key_type": "P-256",
            "roots": server.root.pem,
            "issuing": server.issuing.pem,
            "trusted_clients": client.issuing.pem + client.root.pem,
            "extra_trusted_clients": "",
            "crls": "",
            "revoked": [],
            "certificate": None,
            "ssl_conf": self.ssl_conf(),
            "hba": HBA,
            "hba_mode": "block",
            "upgrade_clientcert": False,
            "ident": "",
            "plaintext": "reject",
            "on_lockout": "refuse",
            "clients": [],
            "databases": [],
            "renew": False,
            "renew_before": None,
            "remove_directory": False,
            "host": "",
            "former_host": "",
            **self.options,
            **changes,
        }

    def ssl_conf(self) -> str:
        current = self.directory / "current"
        files = {"ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "trusted-clients.crt"}
        lists_file = current / "crl.pem" if self.options.get("crls") else ""
        lines = ["ssl = on", *(f"{name} = '{current / file}'" for name, file in files.items())]
        lines.append(f"ssl_crl_file = '{lists_file}'")
        return "\n".join([*lines, *(f"{name} = '{value}'" for name, value in self.ssl.items()), ""])

    def settle(self, **changes: Any) -> transaction.Outcome:
        """Converge with the second call, if a certificate is needed."""
        outcome = self.converge(**changes)
        if outcome.request is None:
            return outcome
        names = changes.get("names", self.options.get("names", ["localhost", "127.0.0.1"]))
        return self.converge(**changes, certificate=sign(outcome.request, names))

    def served(self) -> str:
        return wire.observe(wire.Endpoint("127.0.0.1", self.cluster.port)).leaf.sha256

    def used(self) -> dict[str, bytes]:
        """Return the files of the generation in use, ssl.conf as it was declared."""
        current = self.directory / "current"
        found = {path.name: path.read_bytes() for path in sorted(current.iterdir())} if current.exists() else {}
        if "ssl.conf" in found:
            found["ssl.conf"] = settings.unpinned(found["ssl.conf"], str(self.directory), current.resolve().name)
        return found

    def disk(self) -> dict[str, tuple[int, int, str]]:
        """Return owner, mode and content of every file that the collection may touch, except the waiting key."""
        paths = [*self.directory.rglob("*"), *(self.cluster.data / f"p{name}.conf" for name in CONFIGURATION)]
        paths += self.configuration.iterdir() if self.configuration else []
        return {str(path): _fingerprint(path) for path in sorted(paths) if "pending" not in path.parts}

    def inodes(self) -> dict[str, tuple[int, int]]:
        """Return inode and time of change of every managed file."""
        return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in self.directory.rglob("*")}

    def restart(self) -> None:
        """Restart on the same port: a state that was only half right would be fatal now."""
        program = str(self.cluster.programs / "pg_ctl")
        options = f"-p {self.cluster.port} -k {self.cluster.socket_directory}"
        command = [program, "-D", str(self.cluster.data), "-l", str(self.cluster.log_path), "-w", "-o", options]
        command += ["-m", "fast", "restart"]
        prefix = ["runuser", "-u", self.cluster.account, "--"] if os.geteuid() == 0 else []
        subprocess.run([*prefix, *command], check=True, capture_output=True, cwd="/")


CONFIGURATION = ("ostgresql", "g_hba", "g_ident")


def _fingerprint(path: Path) -> tuple[int, int, str]:
    found = path.lstat()
    if path.is_symlink():
        return found.st_uid, 0, str(path.readlink())
    content = path.read_bytes() if path.is_file() else b""
    return found.st_uid, found.st_mode, hashlib.sha256(content).hexdigest()
