# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every bad input of tests/bad_inputs.py, given to a module as Ansible gives it, on a host where everything is set up.

Each ends with its message, no traceback, no secret, and nothing changed. The modules run in this process: one by one
through ansible-playbook, as the other tests here do with a sample, they would take a quarter of an hour.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.server import holder
from ansible_collections.pgops.tls.plugins.plugin_utils import inventory
from ansible_collections.pgops.tls.tests import bad_inputs, bad_variables, calls, clients
from ansible_collections.pgops.tls.tests.shared import IS_THOROUGH

MODULES = ("server", "client", "certificate", "certificate_authority", "connection_info", "endpoint_info")


class World:
    """A site that is set up, and calls of modules on it."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.user = site.os_users[0]
        self.home = site.homes / self.user
        self.tls = site.cluster.home / "tls"
        self.authorities: dict[str, Any] = {}
        self.tried: set[str] = set()
        self.texts: dict[str, str] = {}

    def good(self, module: str) -> dict[str, Any]:
        """Return options with which a module works."""
        directory = {"directory": str(self.site.authorities), "passphrase": "never-to-be-seen-4711"}
        trust = {
            "roots": self.authorities.get("server", {}).get("roots"),
            "trusted_clients": self.authorities.get("client", {}).get("bundle"),
            "controller_time": time.time(),
        }
        identity = {"role": "app", "os_user": self.user}
        endpoint = {"server": "db1", "host": "localhost", "port": self.site.cluster.port}
        of_client = {**trust, "issuing": self.authorities.get("client", {}).get("issuing")}
        if module == "server":
            return {
                **trust,
                "issuing": self.authorities["server"]["issuing"],
                "port": self.site.cluster.port,
                "login_unix_socket": self.site.cluster.socket_directory,
                "directory": str(self.tls),
                "host": "db1",
                "names": ["localhost", "127.0.0.1"],
                **self.texts,
            }
        return {
            "client": {**of_client, "identities": [{**identity, "endpoints": [endpoint]}]},
            "connection_info": {"expectations": [{**identity, "host": "localhost", "port": self.site.cluster.port}]},
            "certificate": {**directory, "authority": "server", "requests": [{"id": "db1", "names": ["db1"]}]},
            "certificate_authority": directory,
            "endpoint_info": {"host": "localhost", "port": self.site.cluster.port},
        }[module]

    def call(self, module: str, capsys: pytest.CaptureFixture[str], **changes: Any) -> tuple[dict[str, Any], str]:
        """Return a module's result, and everything that it wrote, after a call with other options than good ones."""
        options = {**self.good(module), **changes}
        if module == "server" and options.get("crls"):  # the file has to be declared before what is in it counts
            declared = f"ssl_crl_file = '{self.tls}/current/{settings.LISTS_FILE}'"
            options["ssl_conf"] = options["ssl_conf"].replace("ssl_crl_file = ''", declared)
        return calls.called(module, capsys, {key: value for key, value in options.items() if value is not None})

    def filled(self, value: Any) -> Any:
        """Return a value with this site's OS user in it."""
        if isinstance(value, dict):
            return {self.filled(key): self.filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one) for one in value]
        return value.replace("{user}", self.user) if isinstance(value, str) and len(value) < 1000 else value


@pytest.fixture(scope="module")
def world(site_on: Callable[[Any], Any], shared_cluster: Any, request: pytest.FixtureRequest) -> Iterator[World]:
    """Set a server and a client up with site.yml; in the end, say how many bad inputs there were."""
    made = World(site_on(shared_cluster))
    shared_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE weak LOGIN")
    done = made.site.run()
    assert done.returncode == 0, done.stdout + done.stderr
    authorities = {"ANSIBLE_MODULE_ARGS": made.good("certificate_authority")}
    playbook = [
        {
            "hosts": "db1",
            "gather_facts": False,
            "tasks": [
                {"pgops.tls.certificate_authority": authorities["ANSIBLE_MODULE_ARGS"], "register": "made"},
                {
                    "ansible.builtin.copy": {
                        "content": "{{ made.authorities | to_json }}",
                        "dest": str(made.site.directory / "authorities.json"),
                        "mode": "0644",
                    }
                },
            ],
        }
    ]
    assert made.site.run(playbook=playbook).returncode == 0
    made.authorities = json.loads((made.site.directory / "authorities.json").read_text())
    rules = (shared_cluster.data / "pg_hba.conf").read_text()
    made.texts["hba"] = rules.split("# END")[0].split("stays.\n")[1]
    generation = (made.tls / "current").resolve()
    declared = settings.unpinned((generation / "ssl.conf").read_bytes(), str(made.tls), generation.name)
    made.texts["ssl_conf"] = holder.unmarked(declared).decode()
    yield made
    request.config.pluginmanager.getplugin("terminalreporter").write_line(f"\n{len(made.tried)} bad inputs were tried")


@pytest.mark.parametrize("module", MODULES)
def test_the_module_works_with_good_input(world: World, module: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.site.files()
    csr = {"_ansible_check_mode": True} if module == "certificate" else {}
    result, _written = world.call(module, capsys, **csr)
    assert not result.get("failed"), result
    assert world.site.files() == before


@pytest.mark.parametrize("bad", bad_inputs.OPTIONS, ids=lambda bad: bad.name)
def test_bad_options_are_refused_by_their_name(world: World, bad: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.site.files()
    dry = {"_ansible_check_mode": True} if bad.target == "certificate" else {}  # or it would want a request first
    result, written = world.call(bad.target, capsys, **dry, **world.filled(bad.given))
    world.tried.add(bad.name)
    assert result.get("failed"), result
    assert re.search(bad.message, result["msg"], re.DOTALL), result["msg"]
    assert not result.get("changed")
    assert "exception" not in result
    assert len(result["msg"]) < 2500
    if bad.name == "client certificates: key":  # the name of an entry is nothing that Ansible could hide
        written = written.partition('"invocation"')[0]
    assert not [line for line in bad_inputs.SECRETS if line in written]
    assert world.site.files() == before


@pytest.mark.parametrize("name", bad_inputs.BAD_REQUESTS)
def test_a_bad_request_is_refused_and_the_others_are_signed(
    world: World, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given, message = bad_inputs.BAD_REQUESTS[name]
    before = world.site.files()
    result, written = world.call("certificate", capsys, requests=[{"id": "db1", **given}])
    world.tried.add(f"request {name}")
    assert not result.get("failed"), result
    assert result["certificates"] == {}
    assert re.search(message, result["refused"]["db1"], re.DOTALL), result
    assert not [line for line in bad_inputs.SECRETS if line in written]
    assert world.site.files() == before


@pytest.mark.parametrize("bad", bad_variables.VARIABLES, ids=lambda bad: bad.name)
def test_bad_variables_are_refused_by_their_name(bad: Any, world: World) -> None:
    host = {"server": "db1", "client": "app1", "pooler": "pool1"}[bad.target]
    group = f"postgres_{bad.target}s"
    hostvars = {host: {"inventory_hostname": host, **bad.given}}
    found = inventory.Fleet(hostvars, {group: [host]}, {}).problems([host])
    world.tried.add(f"variables {bad.name}")
    assert found
    text = "\n".join(found)
    assert all(problem.startswith(f"{host}: ") for problem in found)
    assert re.search(bad.message, text, re.DOTALL), text
    assert not [line for line in bad_inputs.SECRETS if line in text]


# What lies at paths


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # the path of a socket has 108 characters at most
        made.bind(path.name)
        os.chdir("/")


def forbidden(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


FILE_KINDS: dict[str, Callable[[Path], object]] = {
    "directory": lambda path: (path / "inside").mkdir(parents=True),
    "pipe": pipe,
    "socket": listening,
    "loop of links": lambda path: path.symlink_to(path.name),
    "link to zeros": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "link to root's file": lambda path: path.symlink_to("/etc/shadow"),
    "root's file": forbidden,
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "key": lambda path: path.write_text(bad_inputs.KEY),
}
FILE_PLACES = {
    "server": [
        "current", "current/server.crt", "current/server.key", "current/ssl.conf", "current/trusted-clients.crt",
        "pending/server.key", "pending", "generations", "journal.json", "backup",
    ],
    "client": [
        ".postgresql", ".postgresql/pgops", ".postgresql/root.crt", ".postgresql/postgresql.key", ".pg_service.conf",
        ".postgresql/pgops/current", ".postgresql/pgops/journal.json", ".postgresql/pgops/pending",
        ".postgresql/pgops/current/app", ".postgresql/pgops/current/app/postgresql.crt",
        ".postgresql/pgops/current/app/postgresql.key", ".postgresql/pgops/current/manifest.json",
    ],
    "certificate_authority": [
        "server", "client/0001", "server/0001/root.crt", "server/0001/issuing.crt", "client/0001/issuing.key",
    ],
    "certificate": ["ledger.jsonl", "server/0001/issuing.key"],
    "connection_info": [".postgresql/pgops/current/app/postgresql.crt", ".postgresql/pgops/current/root.crt"],
}  # fmt: skip
EVERY_PLACE = [
    (module, place, kind) for module, places in FILE_PLACES.items() for place in places for kind in FILE_KINDS
]
PLANTED = EVERY_PLACE if IS_THOROUGH else EVERY_PLACE[::7]  # no divisor of the kinds: each has its turn


@pytest.fixture
def copied(world: World, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Keep copies of everything, and put it back."""
    tops = {"server": world.tls, "client": world.home, "connection_info": world.home}
    tops.update(certificate=world.site.authorities, certificate_authority=world.site.authorities)
    configuration = world.site.cluster.data / "pg_hba.conf"
    for name, top in (("tls", world.tls), ("home", world.home), ("ca", world.site.authorities)):
        clients.copy(top, tmp_path / name)
    hba = configuration.read_bytes()
    yield tops
    for name, top in (("tls", world.tls), ("home", world.home), ("ca", world.site.authorities)):
        clients.copy(tmp_path / name, top)
    if configuration.read_bytes() != hba:
        configuration.write_bytes(hba)
    world.site.cluster.reload()


@pytest.mark.parametrize("planted", PLANTED, ids=" ".join)
def test_whatever_lies_at_a_path_is_named_or_repaired(
    world: World, copied: dict[str, Path], planted: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    module, place, kind = planted
    path = copied[module] / place
    subprocess.run(["rm", "-rf", path], check=True)
    FILE_KINDS[kind](path)
    before = world.site.files()
    for check_mode in (True, False):
        began = time.monotonic()
        result, written = world.call(module, capsys, _ansible_check_mode=check_mode)
        assert time.monotonic() - began < 30, "it waited for somebody to write into a pipe"
        world.tried.add(f"{module} {place} {kind}")
        assert not [line for line in bad_inputs.SECRETS if line in written]
        if result.get("failed"):
            assert re.search(r"/|requests\[|were not as expected", result["msg"]), result["msg"]
        if check_mode or (result.get("failed") and not result.get("changes")):
            assert world.site.files() == before, result
    used = Path(world.site.cluster.psql("SHOW ssl_cert_file").strip())  # of another generation after a repair
    assert used.name == "server.crt"
    assert used.parent.parent == world.tls / "generations"
