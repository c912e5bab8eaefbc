# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place with authorities, and the kits that are made there."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping, ledger, lineage
from ansible_collections.pgops.tls.plugins.module_utils.kit import making
from ansible_collections.pgops.tls.tests.shared import NOW
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PASSWORD = "correct horse battery"
ENDPOINT = {"server": "db1", "host": "db1.example.com", "port": 5432}


def csr(key: Any = None, role: str = "") -> str:
    """Return a request (PEM) as somebody brings it, for a key of their own."""
    name = [x509.NameAttribute(x509.NameOID.COMMON_NAME, role)] if role else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
    request = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


@dataclass
class Place:
    """Authorities, and a directory for kits."""

    root: Path
    now: int = NOW
    authorities: dict[str, Any] = field(default_factory=dict)

    @property
    def ca(self) -> Path:
        return self.root / "ca"

    @property
    def directory(self) -> Path:
        return self.root / "kits"

    def keep(self, **options: Any) -> keeping.KeepingResult:
        """Keep the authorities, and learn what kits have to trust."""
        done = keeping.keep(keeping.Wish(str(self.ca), "P-256", None, **options), self.now, is_dry=False)
        self.authorities = {
            name: lineage.facts(one, done.crls.get(name, ""), done.revoked.get(name, ()))
            for name, one in done.lineages.items()
        }
        return done

    def kit(self, name: str = "anna", **changes: Any) -> dict[str, Any]:
        """Return a kit as module client_kit takes it."""
        has_key = "csr" not in changes
        return {
            "name": name,
            "role": "reporting",
            "directory": str(self.directory),
            "databases": ["shop"],
            "endpoints": [ENDPOINT],
            **({"password": PASSWORD} if has_key else {}),
            **changes,
        }

    def options(self, *kits: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Return the options of the module."""
        return {
            "kits": list(kits),
            "directory": str(self.ca),
            "passphrase": None,
            "lifetime": "90d",
            "authorities": self.authorities,
            "sources": {},
            "key_type": "P-256",
            "renew_before": None,
            "renew": False,
            **changes,
        }

    def make(self, *kits: dict[str, Any], is_dry: bool = False, **changes: Any) -> making.Result:
        """Make kits."""
        return making.make(making.Wish(**self.options(*kits, **changes)), self.now, is_dry=is_dry)

    def files(self, name: str = "anna") -> dict[str, bytes]:
        """Return the files in an archive."""
        with zipfile.ZipFile(self.directory / f"{name}.zip") as archive:
            return {one.removeprefix(f"{name}/"): archive.read(one) for one in archive.namelist()}

    def ledger(self) -> list[dict[str, Any]]:
        """Return the lines of the ledger."""
        path = self.ca / ledger.FILE
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def everything(self) -> dict[str, bytes]:
        """Return all files."""
        return {str(path): path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file()}
