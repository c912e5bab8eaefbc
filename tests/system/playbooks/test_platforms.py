# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controllers and hosts that are set up in unusual ways: each works, or is refused with what to do.

More of them elsewhere: inventories that are directories or several (test_inventories.py), hosts that become another
user by su (there, too), jobs at the same time with the authorities on a host of their own (tests/clusters), other
versions of Ansible (tests/containers/controllers.py), and hosts without systemd or of other layouts (test_layouts.py).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.adoption import CONFIGURATION_FILES
from ansible_collections.pgops.tls.tests.enclosures import Enclosure, enclosure
from ansible_collections.pgops.tls.tests.endings import refused, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, PASSPHRASE

UMASK = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
NO_PROGRAMS = "mount --rbind /tmp /tmp; mount -o remount,bind,noexec /tmp"
READ_ONLY = 'mount --rbind "{0}" "{0}"; mount -o remount,bind,ro "{0}"'
SERVER, HOME = "$1", "$2"  # in mounts: the server's data directory, and the home of its client
NO_PIPELINING = ("-e", "ansible_pipelining=false")
VERIFIED = re.compile(r"(\d+) connections from 1 client hosts?: \1 as expected")
_GET_ATTRIBUTES, _SET_ATTRIBUTES, _IMMUTABLE = 0x80086601, 0x40086602, 0x10  # of linux/fs.h


@dataclass(frozen=True)
class Row:
    """A condition. ``refused`` is a pattern of the error on the host, '' where all has to go well.

    ``mounts`` are made for Ansible and all that it runs. ``made`` makes what mounts cannot, with the site.
    """

    variables: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    within: Sequence[str] = ()
    mounts: str = ""
    made: Callable[[Any], contextlib.AbstractContextManager[None]] | None = None
    refused: str = ""


@contextlib.contextmanager
def encrypted(site: Any) -> Iterator[None]:
    """Encrypt the passphrase of the authorities, in a file beside the inventory."""
    folder = site.directory / "group_vars" / "all"
    folder.mkdir(parents=True)
    (folder / "vault.yml").write_text(f"vault_postgres_ca_passphrase: {PASSPHRASE}\n")
    (site.directory / "password").write_text("of the vault\n")
    command = [sys.executable, "-m", "ansible", "vault", "encrypt", "--vault-password-file=password"]
    subprocess.run(
        [*command, "group_vars/all/vault.yml"], cwd=site.directory, env=site.settings, check=True, capture_output=True
    )
    yield
    shutil.rmtree(folder.parent)


@contextlib.contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Set the attribute by which nobody may change a file or directory, as chattr +i does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = array.array("l", [0])
        fcntl.ioctl(descriptor, _GET_ATTRIBUTES, found)
        try:
            fcntl.ioctl(descriptor, _SET_ATTRIBUTES, array.array("l", [found[0] | _IMMUTABLE]))
        except OSError as error:
            pytest.skip(f"this machine allows no such attribute: {error.strerror}")
        yield
        fcntl.ioctl(descriptor, _SET_ATTRIBUTES, found)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def doas(_site: Any) -> Iterator[None]:
    """Let root become others by doas, which lets nobody without a configuration."""
    if not shutil.which("doas"):
        pytest.skip("this machine has no doas")
    configuration = Path("/etc/doas.conf")
    configuration.write_text("permit nopass root\n")
    configuration.chmod(0o600)
    yield
    configuration.unlink()


ROWS = {
    "umask 077": Row(within=UMASK),
    "a passphrase from a vault": Row(
        variables={"postgres_ca_passphrase": "{{ vault_postgres_ca_passphrase }}"},
        options=("--vault-password-file=password",),
        made=encrypted,
    ),
    "no pipelining": Row(options=NO_PIPELINING),
    "no programs in /tmp, and no pipelining": Row(options=NO_PIPELINING, mounts=NO_PROGRAMS),
    "strategy free": Row(environment={"ANSIBLE_STRATEGY": "free"}),
    "become by doas": Row(variables={"ansible_become_exe": "doas", "ansible_become_flags": "-n"}, made=doas),
    "/etc read-only, and the directory elsewhere": Row(mounts=READ_ONLY.format("/etc")),
    "/etc read-only, and the directory in it": Row(
        variables={"postgres_server_directory": "/etc/postgresql/tls/test"},
        mounts=READ_ONLY.format("/etc"),
        refused=r"/etc/postgresql/tls/test: the file system of \S+ is mounted read-only, .*Mount it writable",
    ),
    "configuration on a read-only file system": Row(
        mounts=READ_ONLY.format(SERVER),
        refused=r"/postgresql\.conf: the file system of \S+/data is mounted read-only, .*Mount it writable",
    ),
    "postgresql.conf as a mounted file": Row(
        mounts=f'mount --bind "{SERVER}/postgresql.conf" "{SERVER}/postgresql.conf"',
        refused=r"/postgresql\.conf: a single file is mounted here, .*Mount the directory \S+/data instead of the file",
    ),
    "a home on a read-only file system": Row(
        mounts=READ_ONLY.format(HOME),
        refused=r"/\.postgresql/pgops: the file system of \S+ is mounted read-only, .*Mount it writable",
    ),
    "chattr +i for postgresql.conf": Row(
        made=lambda site: immutable(site.cluster.data / "postgresql.conf"),
        refused=r"/postgresql\.conf: it has the attribute i .*Run chattr -i \S+/postgresql\.conf, then rerun",
    ),
    "chattr +i for pg_hba.conf": Row(
        made=lambda site: immutable(site.cluster.data / "pg_hba.conf"),
        refused=r"/pg_hba\.conf: it has the attribute i .*Run chattr -i \S+/pg_hba\.conf, then rerun",
    ),
    "chattr +i for a home": Row(
        made=lambda site: immutable(site.homes / site.os_users[0]),
        refused=r"/\.postgresql/pgops: (\S+) has the attribute i .*Run chattr -i \1, then rerun",
    ),
}
QUICK = ("postgresql.conf as a mounted file",)


@pytest.fixture(scope="module")
def written(shared_cluster: Any) -> dict[str, str]:
    """Return the configuration files before anything is set up."""
    return {name: (shared_cluster.data / name).read_text() for name in CONFIGURATION_FILES}


@pytest.fixture
def site(site_on: Callable[[Any], Any], shared_cluster: Any, written: dict[str, str]) -> Any:
    """Give a site of which nothing is set up, whatever the test before has done."""
    for name, text in written.items():
        shared_cluster.write(name, text)
    shared_cluster.reload()
    shutil.rmtree(shared_cluster.home / "tls", ignore_errors=True)
    shared_cluster.psql("DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


def enclosed(row: Row, site: Any, stack: contextlib.ExitStack) -> list[str]:
    """Make the mounts of a row; return what begins a command that is to see them."""
    if not row.mounts:
        return list(row.within)
    inside: Enclosure = stack.enter_context(enclosure())
    inside.run(row.mounts, site.cluster.data, site.homes / site.os_users[0])
    return inside.within(site.directory)


def files_of(site: Any, failed: str) -> dict[str, tuple[object, ...]]:
    """Return the files of the host that fails: the server's, or the client's."""
    top = site.cluster.home if failed == "db1" else site.homes
    return {path: traits for path, traits in site.files().items() if path.startswith(str(top))}


@pytest.mark.parametrize("name", [one if one in QUICK else pytest.param(one, marks=ONLY_THOROUGH) for one in ROWS])
def test_it_works_or_is_refused_with_the_remedy(site: Any, name: str) -> None:
    row = ROWS[name]
    failed = "app1" if "home" in name else "db1"
    with contextlib.ExitStack() as stack:
        if row.made is not None:
            stack.enter_context(row.made(site))
        within, before = enclosed(row, site, stack), files_of(site, failed)
        done = site.run(*row.options, within=within, environment=row.environment, **row.variables)
        after = files_of(site, failed)
    if not row.refused:
        assert VERIFIED.search(well(done)), done.stdout
        assert "strategy" not in done.stdout + done.stderr, "Ansible warns of what others than linear do not support"
        return
    assert re.search(rf"fatal: \[{failed}\].*{row.refused}", refused(done)), done.stdout + done.stderr
    assert after == before
