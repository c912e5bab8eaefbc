# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The REST API of a real Patroni as the tests of its transaction see it: what the module gets, and what there is."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api, told
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.restapi import (
    convergence,
    removal,
    roll_back,
    target,
    transaction,
)
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests import faults, patroni
from ansible_collections.pgops.tls.tests.patroni import Member
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509

MARKS = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("patroni") or not shutil.which("etcd"), reason="there is no Patroni here"),
    # Python 3.11 leaves a connection open that ends while it is wrapped, as when Patroni opens its socket again
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
NAMES = ["pg1.example.com", "127.0.0.1"]
CLIENTS = issuing.new_authority("patroni", "P-256", TODAY)  # of the REST API: none of PostgreSQL's


def sign(name: str, request: str, *, authority: Any = None, start: int = TODAY - 300, days: int = 90) -> str:
    """Return the chain that is issued for a request of the REST API or of its clients."""
    is_api = name == target.API
    authority = authority or (AUTHORITIES["server"] if is_api else CLIENTS)
    public_key: Any = x509.load_pem_x509_csr(request.encode()).public_key()
    leaf = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        certificate.SERVER_AUTH if is_api else certificate.CLIENT_AUTH,
        issuing.Holder("" if is_api else target.ROLE, tuple(parse_all(NAMES, "names")) if is_api else ()),
        public_key,
        issuing.Validity(start, start + days * DAY),
    )
    return certificate.read_der(leaf, "leaf").pem + authority.issuing.pem


def all_options(**changes: Any) -> dict[str, Any]:
    """Return what the module would be called with, apart from where the server is."""
    server = AUTHORITIES["server"]
    return {
        "port": 5432,
        "directory": "/p",
        "names": NAMES,
        "key_type": "P-256",
        "renew_before": None,
        "roots": server.root.pem,
        "server_issuing": server.issuing.pem,
        "server_revoked": [],
        "trusted_clients": CLIENTS.issuing.pem + CLIENTS.root.pem,
        "client_issuing": CLIENTS.issuing.pem,
        "client_revoked": [],
        "certificates": {},
        "ends_former_trust": False,
        "renew": False,
        **changes,
    }


@dataclass
class RestApi:
    """The REST API of a member, and the options that the module would get."""

    member: Member
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.member.home / "tls" / "patroni"

    def converge(
        self,
        *,
        check_mode: bool = False,
        now: int = TODAY,
        kind: type[transaction.Transaction] = transaction.Transaction,
        **changes: Any,
    ) -> transaction.Outcome:
        """Call the transaction once."""
        given = all_options(directory=str(self.member.home / "tls"), **{**self.options, **changes})
        node = convergence.node_at(str(self.member.data))
        return convergence.converge(target.read(given), node, now, now, check_mode=check_mode, kind=kind)

    def requested(self, **changes: Any) -> dict[str, str]:
        """Return the certificates for what the first call asks for."""
        return {name: sign(name, csr) for name, csr in self.converge(**changes).requests.items()}

    def settle(self, **changes: Any) -> transaction.Outcome:
        """Converge with the second call, if certificates are needed."""
        outcome = self.converge(**changes)
        if not outcome.requests:
            return outcome
        chains = {name: sign(name, csr) for name, csr in outcome.requests.items()}
        return self.converge(**changes, certificates=chains)

    def roll_back(self, **changes: Any) -> transaction.Outcome:
        return self.converge(kind=roll_back.RollBack, **changes)

    def remove(self, **changes: Any) -> transaction.Outcome:
        return self.converge(kind=removal.Removal, **changes)

    def look(self, path: str = api.LIVENESS, *, has_tls: bool = True) -> api.Answer | None:
        """Return what the REST API answers to this node's client certificate."""
        context = wire.observing_context()
        with contextlib.suppress(OSError):
            context.load_cert_chain(self.directory / "current" / "ctl.crt", self.directory / "current" / "ctl.key")
        return api.look(api.endpoint(f"127.0.0.1:{self.member.api}"), context, path, has_tls=has_tls)

    def served(self) -> str:
        """Return the fingerprint of the leaf that clients see, '' without TLS, 'silent' without an answer."""
        has_tls = "certfile" in yaml.safe_load(self.member.config.read_text())["restapi"]
        answer = self.look(has_tls=has_tls)
        return answer.fingerprint if answer else "silent"

    def verified(self) -> int:
        """Return the status that a client gets that verifies the name, and shows this node's certificate."""
        context = ssl.create_default_context(cadata=AUTHORITIES["server"].root.pem)
        context.load_cert_chain(self.directory / "current" / "ctl.crt", self.directory / "current" / "ctl.key")
        return api.ask(api.endpoint(f"127.0.0.1:{self.member.api}"), context).status

    def disk(self) -> dict[str, tuple[Any, ...]]:
        """Return everything of the collection but keys that wait, and the configuration file."""
        found = faults.everything(self.directory) if self.directory.exists() else {}
        found = {name: one for name, one in found.items() if not name.startswith("pending")}
        config = self.member.config
        return {**found, "yml": (config.stat().st_mode, config.stat().st_uid, 0, config.read_bytes())}


@contextlib.contextmanager
def managed(member: Member) -> Iterator[RestApi]:
    """Give the REST API of a member; put it back as it was before."""
    before = member.config.read_text()
    one = RestApi(member)
    try:
        yield one
    finally:
        member.configure(before)
        member.start_again()
        for path in (one.directory, one.directory.parent):
            faults.put_back(path, {}) if path.exists() else None


def facts(one: RestApi, *, now: int = TODAY, is_managed: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Return what module server says of a member."""
    given = {
        **all_options(directory=str(one.member.home / "tls")),
        "issuing": AUTHORITIES["server"].issuing.pem,
        "revoked": [],
        "state": "present",
        "patroni_api": is_managed,
        "patroni_trusted_clients": CLIENTS.issuing.pem + CLIENTS.root.pem,
        "patroni_issuing": CLIENTS.issuing.pem,
        "patroni_revoked": [],
        "controller_time": now,
    }
    running = convergence.node_at(str(one.member.data)).patroni
    names = parse_all(NAMES, "names")
    found, warnings = told.told(given, running, str(one.member.data), names, now, check_mode=False)
    assert patroni.SECRET not in str([found, warnings])
    return found, warnings


def give(one: RestApi, authority: Any, name: str, names: str = "IP:127.0.0.1", days: int = 10) -> dict[str, str]:
    """Give a member a pair of another authority for its REST API; return the paths."""
    for path, suffix in zip(authority.issue(name, "serverAuth,clientAuth", names, days), ("crt", "key")):
        shutil.copy(path, one.member.home / f"own.{suffix}")
        one.member.give(one.member.home / f"own.{suffix}", 0o600)
    return {"certfile": f"{one.member.home}/own.crt", "keyfile": f"{one.member.home}/own.key"}


def configure(one: RestApi, **keys: str) -> None:
    """Add keys to section restapi, and have Patroni start with them."""
    lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    one.member.configure(one.member.config.read_text().replace("restapi:\n", f"restapi:\n{lines}"))
    one.member.start_again()
