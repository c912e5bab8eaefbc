# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts answer that do not exist: the real modules, with nothing below them but a certificate per host and role.

Started with a directory: it listens on ``socket`` in it. A connection brings the host's name in a line and then the
module, as Ansible pipes it to Python. The answer is what the module prints. ``executions`` lists who ran what.

The modules read their options, decide about certificates and shape their results by their own code, so a result that
changes its shape changes here, too. Only what would touch a server, a home or the network is replaced.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils import basic
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence as clients
from ansible_collections.pgops.tls.plugins.module_utils.client import home, requests, transaction
from ansible_collections.pgops.tls.plugins.module_utils.client import plan as client_plan
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.credential import due
from ansible_collections.pgops.tls.plugins.module_utils.postgres import state
from ansible_collections.pgops.tls.plugins.module_utils.server import convergence as servers
from ansible_collections.pgops.tls.plugins.module_utils.server import plan as server_plan
from ansible_collections.pgops.tls.plugins.module_utils.server import transaction as server_transaction
from ansible_collections.pgops.tls.plugins.module_utils.verification import checks, identity, libpq, verdicts
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate, read_chain, read_pem

PRELOADED = (
    "ansible.modules.ping",
    "ansible.modules.stat",
    "ansible_collections.pgops.tls.plugins.modules.client",
    "ansible_collections.pgops.tls.plugins.modules.connection_info",
    "ansible_collections.pgops.tls.plugins.modules.server",
)
VERSION, LIBPQ = 170_004, 17
# How libpq and PostgreSQL 17 word what must be refused
REFUSED = {
    "plaintext": 'FATAL:  pg_hba.conf rejects connection for host "192.0.2.7", user "app", database "shop", '
    "no encryption",
    "no_certificate": "FATAL:  connection requires a valid client certificate",
    "foreign_certificate": "SSL error: tlsv1 alert unknown ca",
    "another_role": 'FATAL:  certificate authentication failed for user "postgres"',
    "wrong_name": 'server certificate for "db1.example.com" does not match host name "pgops-wrong-name.invalid"',
    "foreign_root": "SSL error: certificate verify failed",
}


class Host:
    """A host that does not exist: its certificates are in a directory, and nothing else is."""

    def __init__(self, directory: Path, request: str) -> None:
        self._directory = directory
        self._request = request

    def _chain(self, name: str) -> list[Certificate]:
        path = self._directory / f"{name}.crt"
        return read_chain(path.read_bytes(), "the chain") if path.exists() else []

    def _install(self, name: str, chain: Sequence[Certificate]) -> list[Certificate]:
        self._directory.mkdir(exist_ok=True)
        (self._directory / f"{name}.crt").write_text("".join(one.pem for one in chain), encoding="ascii")
        return list(chain)

    def server(self, target: Any, _login: object, now: int, _time: float, **_options: object) -> Any:
        """Take the place of ``server.convergence.converge``."""
        before = self._chain("server")
        reasons = due.needed(due.Present(before, bool(before), bool(before)), target.spec, now)
        given = read_pem(target.certificate, "certificate") if target.certificate else []
        after = self._install("server", given) if given else before
        changes = [f"certificate: {one}" for one in reasons]
        plan = server_plan.Plan(reasons, None, None, [], changes, relies_on_log=False)
        return server_transaction.Outcome(
            plan,
            changes,
            None if given or not reasons else self._request,
            after[0] if after else None,
            before[0] if before else None,
            target.ssl_conf,
            state.ServerState(VERSION, {}, None, [], [], [], [], target.databases),
            target,
            [],
        )

    def clients(self, target: Any, now: int, _time: float, **_options: object) -> clients.Converged:
        """Take the place of ``client.convergence.converge``."""
        users: dict[str, list[Any]] = {}
        for one in target.identities:
            users.setdefault(one.os_user, []).append(one)
        return clients.Converged([self._user(name, own, target, now) for name, own in users.items()], [])

    def _user(self, name: str, own: Sequence[Any], target: Any, now: int) -> tuple[Any, transaction.UserOutcome]:
        before, after, reasons = {}, {}, {}
        for one in own:
            found = self._chain(one.name)
            why = due.needed(due.Present(found, bool(found), bool(found)), target.spec(one, forced=target.renew), now)
            reasons.update({one.name: why} if why else {})
            given = target.certificates.get(one.id)
            chain = self._install(one.name, given) if given else found
            before.update({one.name: found[0]} if found else {})
            after.update({one.name: chain[0]} if chain else {})
        waiting = [one for one in own if one.name in reasons and one.id not in target.certificates]
        asked = [requests.Request(one, self._request, reasons[one.name]) for one in waiting]
        changes = [f"{one.id}: {why}" for one in own for why in reasons.get(one.name, ())]
        plan = client_plan.Plan(reasons, waiting, bool(changes), {}, None, [], changes)
        files = home.HomeFiles("0001", {}, {}, {}, {}, b"")
        made = transaction.Transaction(processes.Account(name, 1000, 1000, f"/home/{name}"), own, target, now)
        return made, transaction.UserOutcome(plan, bool(changes), changes, asked, before, after, files)

    def connections(self, expected: Sequence[Any], *_options: object) -> list[checks.Check]:
        """Take the place of ``verification.checks.verify``: everything is as it should be."""
        return [_skipped(one) if one.skip else self._tried(one) for one in expected]

    def _tried(self, one: Any) -> checks.Check:
        known = one.certificates[0]
        answer = identity.Answer(known.server) if known.serial else identity.Answer(note="not known")
        if one.expect == "refused":
            attempt = verdicts.Attempt(None, REFUSED[one.kind])
            return checks.Check(one, attempt, verdicts.of_refused(attempt, one.kind, answer))
        leaf = self._chain(one.identity)[0]
        session = verdicts.Session(True, "TLSv1.3", "TLS_AES_256_GCM_SHA384", str(leaf.serial), f"/CN={one.role}")
        attempt, presented = verdicts.Attempt(session), verdicts.Presented(one.role, leaf.serial)
        return checks.Check(one, attempt, verdicts.of_accepted(attempt, presented, one.host, LIBPQ, answer))


def _skipped(one: Any) -> checks.Check:
    return checks.Check(one, None, verdicts.Verdict(verdicts.SKIPPED, one.skip))


def run(host: Host, module: str, arguments: str, profile: str) -> None:
    """Run a module of this process as a host would; it prints its result and exits."""
    patches: tuple[tuple[Any, str, Any], ...] = (
        (servers, "converge", host.server),
        (clients, "converge", host.clients),
        (checks, "verify", host.connections),
        (libpq, "load", lambda: libpq.Library),
        (libpq.Library, "major", LIBPQ),
        (basic, "_ANSIBLE_ARGS", arguments.encode("utf-8")),
        (basic, "_ANSIBLE_PROFILE", profile),
        (basic.AnsibleModule, "log", lambda *_args, **_options: None),  # to this machine's syslog
    )
    for place, name, value in patches:
        setattr(place, name, value)
    importlib.import_module(module).main()


def read(payload: str) -> tuple[str, str, str]:
    """Return the name of the module that Ansible pipes to Python, its arguments, and their form."""
    line = next(line for line in payload.splitlines() if '{"ANSIBLE_MODULE_ARGS"' in line)
    arguments = re.search(r"""(?P<quote>['"])\{"ANSIBLE_MODULE_ARGS".*(?P=quote)""", line)
    module = re.search(r"(?:module_fqn=|mod_name=)'(?P<name>[\w.]+)'", payload)
    profile = re.search(r"^\s*profile='(?P<name>\w+)'", payload, re.MULTILINE)
    if not arguments or not module:
        raise ValueError("this version of ansible-core pipes modules in another form")
    return module["name"], ast.literal_eval(arguments[0]), profile["name"] if profile else "legacy"


def answer(connection: socket.socket, directory: Path, request: str) -> None:
    """Run the module that a connection brings, and send what it prints."""
    with connection.makefile("rb") as incoming:
        host, _newline, payload = incoming.read().decode("utf-8").partition("\n")
    os.dup2(connection.fileno(), 1)
    module, arguments, profile = read(payload)
    with (directory / "executions").open("a", encoding="utf-8") as executions:
        executions.write(f"{host} {module.rpartition('.')[2]}\n")
    run(Host(directory / "hosts" / host, request), module, arguments, profile)


def serve(directory: Path) -> None:
    """Answer until the process is ended. Each module runs in a process of its own, as on a host."""
    for name in PRELOADED:
        importlib.import_module(name)
    (directory / "hosts").mkdir()
    (directory / "executions").touch()
    make = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/"]
    made = subprocess.run([*make, "-keyout", os.devnull], check=True, capture_output=True, text=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "socket"))
        listening.listen(64)
        while True:
            connection, _address = listening.accept()
            if os.fork() == 0:
                answer(connection, directory, made.stdout)  # the module exits
            connection.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
