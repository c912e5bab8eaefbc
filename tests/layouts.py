# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are laid out as others than Debian do it, as far as Debian's programs can be."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.enclosures import Enclosure, enclosure

DEBIAN = Path("/etc/postgresql")
PROGRAMS = "/usr/lib/postgresql/{version}/bin"
UNIT = """[Unit]
Description=PostgreSQL {version} database server

[Service]
Type=notify
User=postgres
Group=postgres
Environment=PGDATA=/var/lib/pgsql/{version}/data/
ExecStart=/usr/pgsql-{version}/bin/postgres -D ${{PGDATA}}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
KillSignal=SIGINT
"""
RPM_SETTINGS = """
port = 5442
fsync = off
unix_socket_directories = '/run/postgresql, /tmp'
logging_collector = on
log_filename = 'postgresql-%a.log'
"""
IMAGE_ID = 999  # of user and group postgres in the official image
IMAGE_SETTINGS = "\nport = 5443\nfsync = off\nlisten_addresses = '*'\n"
IMAGE_RULES = "\nhost all all all scram-sha-256\n"
# What the image has otherwise: OS user, volume and socket. What it has not: systemd, ps, sudo, and files of Debian's
IMAGE_MOUNTS = """
sed "s/^postgres:x:[0-9]*:[0-9]*:/postgres:x:999:999:/" /etc/passwd > "$1/passwd"
sed "s/^postgres:x:[0-9]*:/postgres:x:999:/; s/^\\(systemd-journal:x\\):999:/\\1:1999:/" /etc/group > "$1/group"
chmod 644 "$1/passwd" "$1/group"
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
for path in /run /etc/postgresql /var/lib/postgresql; do mount -t tmpfs -o mode=755 of-the-image $path; done
for path in /usr/bin/ps /usr/bin/systemctl /usr/bin/sudo; do mount --bind /dev/null $path; done
install -d -o 999 -g 999 -m 3777 /run/postgresql
install -d -o 999 -g 999 /var/lib/postgresql /var/lib/postgresql/data
mount -t tmpfs -o mode=700,uid=999,gid=999 volume /var/lib/postgresql/data
"""


@dataclass
class Layout:
    """A server. ``variables`` are those that it needs in the inventory, ``outside`` is what runs it from elsewhere."""

    name: str
    data: Path
    port: int
    socket_directory: str
    tls: Path
    variables: dict[str, Any] = field(default_factory=dict)
    inside: Enclosure | None = None
    process: subprocess.Popen[bytes] | None = None

    def run(self, *argv: object) -> str:
        """Run a command where the server runs, as root; it has to succeed. Return its output."""
        command = [*(self.inside.within() if self.inside else ()), *map(str, argv)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def as_server(self, *argv: object) -> str:
        """Run a command as the OS user of the server."""
        return self.run("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *argv)

    def psql(self, sql: str) -> str:
        """Run SQL over the socket."""
        return self.as_server(
            "psql", "-XAtq", "-h", self.socket_directory, "-p", self.port, "-d", "postgres", "-c", sql
        )

    def restart(self) -> None:
        """Stop the server, if it runs, and start it."""
        if self.inside is None:
            self.run("systemctl", "restart", self.name)
        else:
            self.stop()
            self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        """Start the server as the image's entry point does: without a shell, its log into a pipe."""
        assert self.inside is not None
        drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        command = [*self.inside.within(), *drop, f"{programs()}/postgres", "-D", str(self.data)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _attempt in range(100):
            with contextlib.suppress(AssertionError):
                self.psql("SELECT 1")
                return process
            time.sleep(0.1)
        process.kill()
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self.inside is None:
            subprocess.run(["systemctl", "stop", self.name], check=False)
        elif self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
            self.process = None

    def text(self, path: Path) -> str:
        """Return the content of a file of this host."""
        return self.run("cat", path)

    def exists(self, path: Path) -> bool:
        """Return whether something is at a path of this host."""
        return self.run("sh", "-c", f'[ ! -e "{path}" ] || echo exists') != ""


def programs() -> str:
    """Return the directory of Debian's programs."""
    (found,) = Path("/usr/lib/postgresql").iterdir()
    return f"{found}/bin"


@contextlib.contextmanager
def of_rpm() -> Iterator[Layout]:
    """Lay a server out as the RPM packages of PGDG do, with their unit; /etc/postgresql is not there meanwhile."""
    if not Path("/run/.containerenv").exists():
        pytest.skip("this takes /etc/postgresql away")
    version = Path(programs()).parent.name
    home, unit = Path(f"/var/lib/pgsql/{version}"), Path(f"/etc/systemd/system/postgresql-{version}.service")
    layout = Layout(unit.name, home / "data", 5442, "/run/postgresql", DEBIAN / "tls" / "5442")
    bin_directory, aside = Path(f"/usr/pgsql-{version}/bin"), DEBIAN.with_name("postgresql.aside")
    try:
        bin_directory.mkdir(parents=True)
        for program in Path(programs()).iterdir():
            (bin_directory / program.name).symlink_to(program)
        home.mkdir(parents=True)
        shutil.chown(home, "postgres", "postgres")
        unit.write_text(UNIT.format(version=version))
        layout.run("cp", "-a", DEBIAN, aside)  # no rename: it may be of a lower layer of the container
        shutil.rmtree(DEBIAN)
        layout.as_server(bin_directory / "initdb", "-D", layout.data, "--auth=ident", "--no-sync", "--locale=C.UTF-8")
        with (layout.data / "postgresql.conf").open("a", encoding="utf-8") as stream:
            stream.write(RPM_SETTINGS)
        layout.run("systemctl", "daemon-reload")
        layout.restart()
        yield layout
    finally:
        layout.stop()
        unit.unlink(missing_ok=True)
        for path in (home.parent, bin_directory.parent):
            shutil.rmtree(path, ignore_errors=True)
        if aside.exists():
            shutil.rmtree(DEBIAN, ignore_errors=True)
            layout.run("mv", aside, DEBIAN)


@contextlib.contextmanager
def of_image(folder: Path) -> Iterator[Layout]:
    """Lay a server out as in the official image, with its data in a volume; ``folder`` is for what this needs."""
    directory = Path("/var/lib/postgresql")
    # The programs of the image are all root's. The directory is outside the data, in what has to be a volume, too
    variables = {"ansible_become": False, "postgres_server_directory": str(directory / "tls")}
    with enclosure() as inside:
        inside.run(IMAGE_MOUNTS, folder)
        layout = Layout("image", directory / "data", 5443, "/run/postgresql", directory / "tls", variables, inside)
        initdb = [f"{programs()}/initdb", "-D", layout.data, "--no-sync", "--locale=C.UTF-8"]
        layout.as_server(*initdb, "--auth-local=trust", "--auth-host=scram-sha-256")
        for name, text in (("postgresql.conf", IMAGE_SETTINGS), ("pg_hba.conf", IMAGE_RULES)):
            inside.run('printf %s "$2" >> "$1"', layout.data / name, text)
        try:
            layout.restart()
            yield layout
        finally:
            layout.stop()
