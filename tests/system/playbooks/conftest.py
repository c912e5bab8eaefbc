# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole job, run by Ansible on this machine alone: a cluster and OS users of its own are the fleet."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.daemons import run_as
from ansible_collections.pgops.tls.tests.shared import COLLECTIONS, PASSPHRASE, SITE
from ansible_collections.pgops.tls.tests.system.conftest import running_cluster

LOOPBACK = ("localhost", "127.0.0.1")


def settings(directory: Path) -> dict[str, str]:
    """Return the environment of Ansible: everything it writes goes below ``directory``, and nothing is kept silent."""
    return {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_DEPRECATION_WARNINGS": "1",
        "ANSIBLE_HOME": str(directory / "home"),
        "ANSIBLE_INJECT_FACT_VARS": "0",  # as later versions of Ansible will have it
        "ANSIBLE_LOCAL_TEMP": str(directory / "home" / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # where another ansible-core than the machine's may be
    }


@dataclass
class Site:
    """An inventory with the server db1 and the client host app1, both this machine, and who runs playbooks on it."""

    directory: Path
    cluster: Any
    os_users: list[str]
    homes: Path

    def inventory(self) -> dict[str, Any]:
        """Return the inventory, for tests to change."""
        server = {"postgres_server_port": self.cluster.port, "postgres_server_names": list(LOOPBACK)}
        client = {"postgres_client_identities": [{"role": "app", "os_user": self.os_users[0]}]}
        return {
            "all": {
                "vars": {
                    "ansible_connection": "local",
                    "ansible_python_interpreter": sys.executable,
                    "ansible_remote_tmp": str(self.directory / "remote"),
                    "postgres_ca_passphrase": PASSPHRASE,
                    "postgres_server_login_unix_socket": self.cluster.socket_directory,
                    "postgres_server_directory": str(self.cluster.home / "tls"),
                }
            },
            "postgres_servers": {"hosts": {"db1": server}},
            "postgres_clients": {"hosts": {"app1": client}},
        }

    def server_on(self, cluster: Any, *names: str) -> dict[str, Any]:
        """Return the variables of another server on this machine. It answers by ``names``, or by loopback ones."""
        return {
            "postgres_server_port": cluster.port,
            "postgres_server_names": list(names or LOOPBACK),
            "postgres_server_login_unix_socket": cluster.socket_directory,
            "postgres_server_directory": str(cluster.home / "tls"),
        }

    def run(
        self,
        *options: str,
        inventory: dict[str, Any] | None = None,
        playbook: object = None,
        environment: dict[str, str] | None = None,
        sources: Sequence[str] = ("inventory.yml",),
        within: Sequence[str] = (),
        **variables: object,
    ) -> subprocess.CompletedProcess[str]:
        """Run site.yml, one of the collection by its name, or a playbook that is given as data.

        ``variables`` are those of all hosts; ``sources`` are inventories, of which inventory.yml is written. ``within``
        is a command that Ansible's is given to.
        """
        wanted = inventory or self.inventory()
        wanted["all"]["vars"].update(variables)
        (self.directory / "inventory.yml").write_text(json.dumps(wanted))
        path: object = playbook if isinstance(playbook, str) else SITE
        if playbook is not None and not isinstance(playbook, str):
            path = self.directory / "playbook.yml"
            Path(path).write_text(json.dumps(playbook))
        return subprocess.run(
            [
                *within,
                sys.executable,
                "-m",
                "ansible",
                "playbook",
                *(f"-i{one}" for one in sources),
                str(path),
                *options,
            ],
            cwd=self.directory,
            env={**self.settings, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )

    def connect(self, number: int, target: str) -> subprocess.CompletedProcess[str]:
        """Connect as one of the OS users."""
        return run_as(self.os_users[number], "psql", "-XAtqc", "SELECT 1", target)

    @property
    def settings(self) -> dict[str, str]:
        """Return the environment of Ansible."""
        return settings(self.directory)

    @property
    def authorities(self) -> Path:
        """Return the directory of the authorities."""
        return self.directory / "postgres-ca"

    def files(self) -> dict[str, tuple[object, ...]]:
        """Return what can be told apart of every file that a run may change: of authorities, server and homes."""
        found = {}
        configuration = [self.cluster.data / name for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")]
        for top in (*self.directory.glob("postgres-ca*"), self.cluster.home / "tls", self.homes, *configuration):
            for path in [top, *top.rglob("*")]:
                if os.path.lexists(path):
                    found[str(path)] = _traits(path)
        return found


def _traits(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    traits = (status.st_ino, status.st_mode, status.st_uid, status.st_mtime_ns)
    if path.is_symlink():
        return (*traits, os.readlink(path))
    return (*traits, hashlib.sha256(path.read_bytes()).hexdigest()) if path.is_file() else traits


@pytest.fixture(scope="module")
def os_users() -> Iterator[tuple[list[str], Path]]:
    """Make two OS users with homes below one directory."""
    if os.geteuid() != 0:
        pytest.skip("making OS users takes root")
    names = [f"pgtls{os.getpid()}{letter}" for letter in "ab"]
    homes = Path(tempfile.mkdtemp(prefix="pgtls-homes-", dir="/tmp"))
    homes.chmod(0o755)
    try:
        for name in names:
            subprocess.run(["useradd", "--no-create-home", "--home-dir", str(homes / name), name], check=True)
            (homes / name).mkdir()
            os.chown(homes / name, pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid)
        yield names, homes
    finally:
        for name in names:
            subprocess.run(["userdel", name], check=False)
        shutil.rmtree(homes, ignore_errors=True)


@pytest.fixture(scope="module")
def site_on(os_users: tuple[list[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Site]:
    """Return what makes a site on a cluster, whose OS users have nothing from the authorities of another site."""
    names, homes = os_users

    def made(cluster: Any) -> Site:
        for name in names:
            shutil.rmtree(homes / name / ".postgresql", ignore_errors=True)
        return Site(tmp_path_factory.mktemp("site"), cluster, names, homes)

    return made


@pytest.fixture(scope="module")
def billing(initialised: Path) -> Iterator[Any]:
    """Run another cluster beside the first one, on a port of its own."""
    with running_cluster(initialised) as running:
        yield running


@pytest.fixture(scope="session")
def settings_in() -> Callable[[Path], dict[str, str]]:
    """Return what gives the environment of Ansible, for tests that run it in their own way."""
    return settings


@pytest.fixture
def without() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """Return what takes the right to run commands from everybody for a while."""
    return _without


@contextlib.contextmanager
def _without(*commands: str) -> Iterator[None]:
    if not Path("/run/.containerenv").exists():
        pytest.skip("other programs of this machine may need these commands")
    modes = {path: path.stat().st_mode for path in map(Path, commands)}
    try:
        for path in modes:
            path.chmod(0o644)
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
