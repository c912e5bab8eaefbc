# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private key that somebody puts where certificates are meant is refused everywhere, in every form, and not seen.

Each form of a key is a host, each option a task; Ansible is as loud as it gets.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import anchors
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

ROOT_PEM = AUTHORITIES["server"].root.pem
LIST = "".join(AUTHORITIES["server"].crls)
REFUSED = "expected only what is public, found a private key"
MIXED = "{{ root }}{{ key }}"
LOUD = {"ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1", "ANSIBLE_INJECT_INVOCATION": "1", "ANSIBLE_NO_LOG": "false"}
SYSLOG = Path("/dev/log")
STEP = 2 if os.environ.get("ALL_FAULTS") else 12  # of the forms of a key; make test-all takes all of them

# Options with which a module comes so far as to read those with PEM
_TRUST = {"roots": "{{ root }}", "issuing": "{{ root }}", "trusted_clients": "{{ root }}", "controller_time": 0}
GOOD: dict[str, dict[str, Any]] = {
    "server": {**_TRUST, "names": ["localhost"], "ssl_conf": "ssl = on\n", "port": 1},
    "client": {**_TRUST, "identities": [{"role": "app", "os_user": "nobody"}]},
    "pgbouncer": {
        "roots": "{{ root }}", "server_issuing": "{{ root }}", "trusted_clients": "{{ root }}",
        "client_issuing": "{{ root }}", "controller_time": 0, "names": ["localhost"], "port": 1,
    },
    "patroni": {
        "roots": "{{ root }}", "server_issuing": "{{ root }}", "trusted_clients": "{{ root }}",
        "client_issuing": "{{ root }}", "controller_time": 0, "names": ["localhost"], "port": 1,
    },
    "endpoint_info": {"host": "localhost", "port": 1},
    "session_info": {"port": 1},
    "certificate": {"directory": "/nonexistent", "authority": "server"},
    "certificate_authority": {"directory": "/nonexistent/ca", "create": False},
    "client_kit": {
        "directory": "/nonexistent/ca",
        "authorities": {name: {"roots": "{{ root }}", "issuing": "{{ root }}"} for name in ("server", "client")},
    },
}  # fmt: skip
AUTHORITY = {
    "roots": ROOT_PEM, "issuing": AUTHORITIES["server"].issuing.pem, "bundle": ROOT_PEM, "crls": "", "revoked": [],
    "shared": False,
}  # fmt: skip


# What some options need to be read
_PATRONI = {"patroni_api": True, "patroni_trusted_clients": "{{ root }}", "patroni_issuing": "{{ root }}"}
_SERVICE = [{"name": "web", "os_user": "nobody", "names": ["localhost"]}]
MORE: dict[str, dict[str, Any]] = {
    "server patroni_trusted_clients": _PATRONI,
    "server patroni_issuing": _PATRONI,
    "client trust": {"identities": [{"role": "app", "os_user": "nobody", "login": "password"}]},
    "client server_issuing": {"identities": _SERVICE},
    "client trusted_clients_crls": {
        "identities": [{**_SERVICE[0], "trusts_clients": True}],
        "server_issuing": "{{ root }}",
    },
}
KIT = {
    "name": "anna", "role": "app", "directory": "/tmp", "csr": MIXED,
    "endpoints": [{"server": "db1", "host": "db1.example.com", "port": 5432}],
}  # fmt: skip
EXISTING = {"certificate": "/etc/ssl/db1.pem", "key": "/etc/ssl/db1.key", "roots": MIXED}
# What a module says of the key, where that is not what the others say
SAYS = {
    "client certificates": f'"certificates: nobody/app: {REFUSED}',
    "client trust": f"\"trust: 'nobody/app': {REFUSED}",
    "server existing": f'"existing.roots: {REFUSED}',
    "patroni certificates": f'"certificates: api: {REFUSED}',
    "pgbouncer certificates": f'"certificates: front: {REFUSED}',
    "certificate requests": f'"requests[db1].csr: {REFUSED}',
    "client_kit kits": f'"kits[anna].csr: {REFUSED}',
    "certificate_authority unrecorded": '"missing": [',  # certificates that hosts show: one with a key is left out
}


def given(module: str, option: str) -> Any:
    """Return what the option is given: a key behind what it takes."""
    return {
        "crls": "{{ list }}{{ key }}",
        "certificates": {{"pgbouncer": "front", "patroni": "api"}.get(module, "nobody/app"): MIXED},
        "trust": {"nobody/app": MIXED},
        "existing": EXISTING,
        "requests": [{"id": "db1", "names": ["db1"], "csr": MIXED}],
        "kits": [KIT],
        "unrecorded": [{"authority": "server", "id": "db1", "certificate": MIXED}],
    }.get(option, MIXED)


def task(module: str, option: str) -> dict[str, Any]:
    options = {**GOOD[module], **MORE.get(f"{module} {option}", {}), option: given(module, option)}
    return {"name": f"{module} {option}", f"pgops.tls.{module}": options, "ignore_errors": True}


TABLE = [(module, option) for module, options in anchors.OPTIONS.items() for option in options]
# A role alone, by each of its ways to a module
ROLES = [("postgres_server", "main"), ("postgres_server", "remove"), ("postgres_client", "main")]
ROLES += [("postgres_client", "roll_back")]


def role(name: str, entry: str) -> dict[str, Any]:
    block = [{"ansible.builtin.import_role": {"name": f"pgops.tls.{name}", "tasks_from": entry}}]
    return {"name": f"{name} {entry}", "block": block, "rescue": [{"ansible.builtin.meta": "noop"}]}


@pytest.fixture
def journal() -> Iterator[Callable[[], str]]:
    """Return what the system's log was told since; where there is none, this is one."""
    if SYSLOG.exists() or os.geteuid() != 0:
        yield lambda: _journal() if SYSLOG.exists() else ""
        return
    told: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(SYSLOG))
        log.settimeout(0.2)
        over = threading.Event()
        listener = threading.Thread(target=_listen, args=(log, told, over), daemon=True)
        listener.start()
        try:
            yield lambda: b"\n".join(told).decode(errors="replace")
        finally:
            SYSLOG.unlink()
            over.set()
            listener.join()


def _listen(log: socket.socket, told: list[bytes], over: threading.Event) -> None:
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            told.append(log.recv(1 << 18))


def _journal() -> str:
    command = ["journalctl", "--no-pager", "-o", "cat", "--since", "-15min"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


class Loud:
    """Plays against hosts that are forms of keys, and everything that comes of them."""

    def __init__(self, directory: Path, environment: dict[str, str], forms: list[str]) -> None:
        self.directory, self.environment = directory, {**environment, **LOUD}
        self.hosts = {f"h{number}": anchors.KEYS[form] for number, form in enumerate(forms)}

    def run(self, playbook: Any, *options: str, variables: dict[str, Any], **groups: list[str]) -> str:
        """Return the output of a playbook, and the texts of all files that Ansible has left."""
        everywhere = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "list": LIST, "root": ROOT_PEM,
            "ansible_remote_tmp": str(self.directory / "remote"), **variables,
        }  # fmt: skip
        inventory: dict[str, Any] = {
            "all": {"vars": everywhere, "hosts": {host: {"key": key} for host, key in self.hosts.items()}}
        }
        inventory.update({group: {"hosts": {host: {} for host in hosts}} for group, hosts in groups.items()})
        (self.directory / "inventory.yml").write_text(json.dumps(inventory))
        if not isinstance(playbook, str):
            (self.directory / "playbook.yml").write_text(json.dumps(playbook))
            playbook = "playbook.yml"
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", playbook, "-vvvv", *options]
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        (self.directory / "inventory.yml").unlink()  # the one file that has them on purpose
        left = [path.read_text(errors="replace") for path in self.directory.rglob("*") if path.is_file()]
        return "\n".join([done.stdout, done.stderr, *left])

    def seen_in(self, text: str) -> list[str]:
        """Return the hosts of whose keys a line is in a text."""
        return [host for host, key in self.hosts.items() if any(line in text for line in anchors.body(key))]


def variables() -> dict[str, Any]:
    """Return the variables that take PEM, each with a key."""
    return {**dict.fromkeys(anchors.VARIABLES.values(), MIXED), **dict.fromkeys(anchors.PARTS, EXISTING)}


@pytest.mark.parametrize("mode", ["run", pytest.param("check", marks=ONLY_THOROUGH)])
def test_no_module_shows_it(tmp_path: Path, settings_in: Any, journal: Callable[[], str], mode: str) -> None:
    forms = list(anchors.KEYS)[mode == "check" :: STEP]
    options = ["--diff", *(["--check"] if mode == "check" else [])]
    loud = Loud(tmp_path, settings_in(tmp_path), forms)
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [task(*pair) for pair in TABLE]}]
    output = loud.run(plays, *options, variables={})
    for (module, option), part in zip(TABLE, output.split("\nTASK [")[1:]):
        assert part.startswith(f"{module} {option}"), part[:200]
        said = part.splitlines()
        wanted = SAYS.get(f"{module} {option}", f'"{option}: {REFUSED}')
        assert sum(wanted in line for line in said) == len(forms), part[-5000:]
        assert "-----BEGIN CERTIFICATE" in part or module not in ("server", "client"), "what is public is shown"
    assert loud.seen_in(output) == []
    told = journal()
    assert loud.seen_in(told) == []
    if SYSLOG.exists():
        assert "Invoked with" in told


def test_no_role_shows_it(tmp_path: Path, settings_in: Any, journal: Callable[[], str]) -> None:
    loud = Loud(tmp_path, settings_in(tmp_path), list(anchors.KEYS)[:: STEP + 1])
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [role(*one)]} for one in ROLES]
    more: dict[str, Any] = {
        **dict.fromkeys(anchors.VARIABLES.values(), MIXED),
        "postgres_ca_authorities": {"server": AUTHORITY, "client": AUTHORITY},
        "postgres_client_identities": [{"role": "app", "os_user": "nobody"}],
        "postgres_server_port": 1,
    }
    output = loud.run(plays, "--diff", variables=more)
    for (name, _entry), part in zip(ROLES, output.split("\nPLAY [")[1:]):
        option = {"postgres_server": "extra_trusted_clients", "postgres_client": "roots"}[name]
        assert part.count(f"{option}: {REFUSED}") >= len(loud.hosts), part
    assert loud.seen_in(output) == []
    assert loud.seen_in(journal()) == []


def test_the_check_of_the_input_refuses_it_before_anything_is_sent(
    tmp_path: Path, settings_in: Any, journal: Callable[[], str]
) -> None:
    loud = Loud(tmp_path, settings_in(tmp_path), list(anchors.KEYS))
    servers, clients = list(loud.hosts)[::2], list(loud.hosts)[1::2]
    output = loud.run(
        "pgops.tls.site",
        variables=variables(),
        postgres_servers=servers,
        postgres_clients=clients,
    )
    for variable in (*anchors.VARIABLES.values(), *(".".join(part) for part in anchors.PARTS.items())):
        assert f"{variable}: {REFUSED}" in output, output[-3000:]
    assert "AnsiballZ" not in output, "no module was sent anywhere"
    assert loud.seen_in(output) == []
    assert loud.seen_in(journal()) == []
