# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers in a state of others' making: a standby, another cluster on the port, a full log, slow, out of reach."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.postgres import psql
from ansible_collections.pgops.tls.plugins.module_utils.server import proof, visitors
from ansible_collections.pgops.tls.tests.faults import everything
from ansible_collections.pgops.tls.tests.servers import HBA, Server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play all the others")


def as_postgres(server: Server, *argv: object) -> None:
    """Run a program as the server's OS user."""
    command = ["runuser", "-u", server.cluster.account, "--", *map(str, argv)]
    subprocess.run(command, check=True, cwd="/", capture_output=True)


def control(server: Server, log: Path | None = None) -> list[object]:
    """Return the beginning of a command of pg_ctl."""
    return [server.cluster.programs / "pg_ctl", "-D", server.cluster.data, "-l", log or server.cluster.log_path, "-w"]


def settles(server: Server) -> None:
    """Check that the certificate that is served is the one on disk, that a renewal works, and then nothing is to do."""
    for options in ({}, {"renew": True}):
        outcome = server.settle(**options)
        assert outcome.leaf is not None
        assert server.served() == outcome.leaf.sha256
    assert server.converge().changes == []
    server.restart()
    assert server.converge().changes == []


# In recovery


@pytest.fixture
def standby(managed: Server) -> Iterator[Server]:
    """Give a hot standby of a managed server, with a directory of its own, as on another host."""
    copy = type(managed.cluster)(managed.cluster.home / "standby", managed.cluster.programs, managed.cluster.account)
    copy.home.mkdir()
    shutil.chown(copy.home, managed.cluster.account)
    source = f"host={managed.cluster.socket_directory} port={managed.cluster.port} user=postgres"
    as_postgres(managed, copy.programs / "pg_basebackup", "-D", copy.data, "-d", source, "-R", "-c", "fast")
    copy.start()
    try:
        yield Server(copy, copy.home / "tls")
    finally:
        copy.stop()


def test_a_hot_standby_gets_its_own_certificate_settings_and_rules(managed: Server, standby: Server) -> None:
    assert standby.cluster.psql("SELECT pg_is_in_recovery()") == "t"
    assert standby.converge(check_mode=True).plan.reasons == ["no_certificate"]
    standby.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    outcome = standby.settle(hba="# of the standby\n" + HBA)
    assert "postgresql.conf: changed" in outcome.changes
    assert standby.served() != managed.served()
    standby.options["hba"] = "# of the standby\n" + HBA
    settles(standby)
    standby.ssl = {}
    assert standby.settle().plan.relies_on_log, "its log tells of a reload, too"
    assert standby.cluster.psql("SELECT pg_is_in_recovery()") == "t"
    managed.cluster.psql("CREATE TABLE made_later ()")
    assert managed.converge().changes == []


def test_a_standby_that_is_promoted_has_nothing_to_change(standby: Server) -> None:
    standby.settle()
    assert standby.cluster.psql("SELECT pg_promote()") == "t"
    assert standby.converge().changes == []


# Another cluster on the same port


def test_a_new_cluster_on_the_port_is_given_the_certificate_that_is_there(managed: Server, initialised: Path) -> None:
    """As after pg_upgrade: a new data directory, fresh configuration files, the TLS directory of the old cluster."""
    leaf, cluster = managed.served(), managed.cluster
    cluster.stop("fast")
    cluster.data.rename(cluster.home / "old")
    as_postgres(managed, "cp", "-a", initialised, cluster.data)
    options = f"-p {cluster.port} -k {cluster.socket_directory}"
    as_postgres(managed, *control(managed), "start", "-o", options)
    cluster.psql("CREATE ROLE app LOGIN")
    assert cluster.psql("SHOW ssl") == "off"
    checked, outcome = managed.converge(check_mode=True), managed.converge()
    assert (outcome.plan.reasons, outcome.request) == ([], None)
    assert checked.changes == outcome.changes
    assert outcome.changes == [
        "postgresql.conf: changed",
        "pg_hba.conf: changed",
        "reload: the server shows another certificate than the one on disk",
    ]
    assert managed.served() == leaf
    settles(managed)


def test_what_a_run_left_that_died_before_an_upgrade_is_not_written_into_the_new_cluster(
    managed: Server, initialised: Path
) -> None:
    with contextlib.suppress(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "commit", _killed)
        managed.converge(hba="# another\n" + HBA)
    cluster = managed.cluster
    cluster.stop("fast")
    cluster.data.rename(cluster.home / "old")
    as_postgres(managed, "cp", "-a", initialised, cluster.data)
    options = f"-p {cluster.port} -k {cluster.socket_directory}"
    as_postgres(managed, *control(managed), "start", "-o", options)
    cluster.psql("CREATE ROLE app LOGIN")
    rules = (cluster.data / "pg_hba.conf").read_bytes()
    with pytest.raises(TlsError, match="somebody changed it since"):
        managed.converge()
    assert (cluster.data / "pg_hba.conf").read_bytes() == rules
    (managed.directory / "journal.json").unlink()
    managed.settle()
    settles(managed)


def _killed(*_arguments: object) -> None:
    raise KeyboardInterrupt


# A full log disk


SMALL = 1 << 28  # bytes


@pytest.fixture
def full_log(managed: Server) -> Iterator[Server]:
    """Give a managed server whose log is on a file system without any space left."""
    if shutil.disk_usage("/dev/shm").total > SMALL:
        pytest.skip("/dev/shm is not a container's: to fill it would take the memory of this machine")
    directory = Path("/dev/shm/pgtls-log")
    directory.mkdir()
    shutil.chown(directory, managed.cluster.account)
    managed.cluster.stop("fast")
    options = f"-p {managed.cluster.port} -k {managed.cluster.socket_directory}"
    as_postgres(managed, *control(managed, directory / "log"), "start", "-o", options)
    for name, step in (("filler", 1 << 16), ("filler", 1), ("log", 1)):  # the last page of the log has room, too
        with contextlib.suppress(OSError), (directory / name).open("ab", buffering=0) as stream:
            while stream.write(b"." * step):
                pass
    try:
        yield managed
    finally:
        shutil.rmtree(directory)


def test_with_a_full_log_disk_a_renewal_is_proven_by_the_handshake(full_log: Server) -> None:
    before = full_log.served()
    size = Path("/dev/shm/pgtls-log/log").stat().st_size
    outcome = full_log.settle(renew=True)
    assert outcome.leaf is not None
    assert full_log.served() == outcome.leaf.sha256 != before
    assert Path("/dev/shm/pgtls-log/log").stat().st_size == size, "the disk is full"
    assert full_log.converge().changes == []


def test_with_a_full_log_disk_settings_are_proven_by_a_new_certificate(
    full_log: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    full_log.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    outcome = full_log.settle()
    assert outcome.plan.reasons == ["reload_not_observable"]
    assert full_log.cluster.psql("SHOW ssl_min_protocol_version") == "TLSv1.3"
    assert full_log.converge(hba="# another\n" + HBA).changes == ["pg_hba.conf: changed"]
    assert full_log.converge(hba="# another\n" + HBA).changes == []


# Slow to reload


def postmaster(server: Server) -> int:
    return int((server.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])


@contextlib.contextmanager
def stopped(server: Server, seconds: float) -> Iterator[None]:
    """Let the main process of the server do nothing for a while."""
    process = postmaster(server)
    os.kill(process, signal.SIGSTOP)
    timer = threading.Timer(seconds, os.kill, (process, signal.SIGCONT))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        os.kill(process, signal.SIGCONT)


def at_switch(monkeypatch: pytest.MonkeyPatch, server: Server, seconds: float) -> contextlib.ExitStack:
    """Let the server stop when the link is switched."""
    stack, switch = contextlib.ExitStack(), Journal.switch

    def slow(journal: Journal) -> None:
        stack.enter_context(stopped(server, seconds))
        switch(journal)

    monkeypatch.setattr(Journal, "switch", slow)
    return stack


def test_a_server_that_is_slow_to_reload_is_waited_for(managed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_switch(monkeypatch, managed, 2.0):
        outcome = managed.settle(renew=True)
    assert outcome.leaf is not None
    assert managed.served() == outcome.leaf.sha256
    monkeypatch.undo()
    settles(managed)


def test_a_server_that_does_not_reload_in_time_is_told_of_and_all_files_are_put_back(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, disk = managed.served(), managed.disk()
    request = managed.converge(renew=True).request
    assert request is not None
    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    monkeypatch.setattr(psql, "CONNECT_TIMEOUT", 2)
    with at_switch(monkeypatch, managed, 300), pytest.raises(TlsError) as failure:
        managed.settle(renew=True)
    assert "All files are as before, but the server could NOT be proven to use them" in failure.value.message
    assert failure.value.details["rolled_back"] is False
    left = str(managed.directory / "generations" / "0002")  # the server may come to read it yet
    assert {path: found for path, found in managed.disk().items() if not path.startswith(left)} == disk
    monkeypatch.undo()
    assert managed.served() == served
    assert managed.converge().changes == []
    settles(managed)


def test_a_server_that_answers_nobody_is_told_of_before_anything_changes(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psql, "CONNECT_TIMEOUT", 2)
    disk = managed.disk()
    with stopped(managed, 300), pytest.raises(TlsError) as failure:
        managed.converge(renew=True)
    assert "timeout expired. The server must be running" in failure.value.message
    assert managed.disk() == disk
    assert managed.converge().changes == []


# Where the server is out of reach, or its paths mean other files


def test_a_server_without_a_socket_is_told_apart_from_one_that_is_down(managed: Server) -> None:
    cluster = managed.cluster
    disk = managed.disk()
    options = f"-p {cluster.port} -c unix_socket_directories="
    as_postgres(managed, *control(managed), "restart", "-m", "fast", "-o", options)
    with pytest.raises(TlsError) as failure:
        managed.converge()
    assert f"there is no socket .s.PGSQL.{cluster.port} in" in failure.value.message
    assert f"Something listens on port {cluster.port} of this host" in failure.value.message
    assert "set unix_socket_directories and restart the server" in failure.value.message
    assert managed.disk() == disk
    managed.restart()
    assert managed.converge().changes == []


@pytest.mark.parametrize("is_another_here", [False, True])
def test_a_server_in_another_root_directory_is_refused_before_its_paths_are_used_here(
    jail: Server, initialised: Path, is_another_here: bool
) -> None:
    here = jail.cluster.data
    if is_another_here:
        as_postgres(jail, "cp", "-a", initialised, here)
        jail.cluster.write("postmaster.pid", "1\n")
    before = everything(here)
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="It runs in a chroot or a container") as failure:
            jail.converge(check_mode=check_mode)
        assert f"says that its data directory is {here}, but there is no postmaster.pid" in failure.value.message
    assert everything(here) == before
    assert not jail.directory.exists()


def test_who_gets_in_is_not_told_from_the_files_of_another_server(jail: Server) -> None:
    with pytest.raises(TlsError, match="It runs in a chroot or a container"):
        visitors.of_server(jail.cluster.port, jail.cluster.socket_directory, None)


def test_who_gets_in_is_not_told_without_the_file_of_the_rules(managed: Server) -> None:
    (managed.cluster.data / "pg_hba.conf").rename(managed.cluster.data / "pg_hba.away")
    with pytest.raises(TlsError, match="the server runs with this file, but it no longer exists"):
        visitors.of_server(managed.cluster.port, managed.cluster.socket_directory, None)


def test_a_server_that_was_restarted_while_a_run_waited_for_the_lock_is_no_other_one(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    locate = psql.locate
    monkeypatch.setattr(psql, "locate", lambda *login: locate(*login)._replace(pid=1))
    assert managed.converge().changes == []


def _wait_for(holds: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert running.poll() is None, "it ended"
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def jail(server: Server) -> Iterator[Server]:
    """Give a server in another root directory, with its socket where this host sees it."""
    cluster = server.cluster
    cluster.stop("fast")
    root = cluster.home / "jail"
    for path in ("tmp", "dev/shm", "etc", "run"):
        (root / path).mkdir(parents=True, mode=0o755)
    (root / "tmp").chmod(0o1777)
    (root / "dev/shm").chmod(0o1777)
    (root / "etc/passwd").write_text(Path("/etc/passwd").read_text())
    programs = [cluster.programs / "postgres", Path("/bin/sh")]
    listed = "".join(subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout)
    needed = {word for line in listed.splitlines() for word in line.split() if word.startswith("/") and ":" not in word}
    share = f"/usr/share/postgresql/{cluster.programs.parent.name}"
    for path in [*needed, *map(str, programs), share, str(cluster.programs.parent / "lib"), "/usr/share/zoneinfo"]:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-rL", path, target], check=True)
    data = root / str(cluster.data).lstrip("/")
    data.parent.mkdir(parents=True)
    shutil.move(cluster.data, data)
    (root / "run").chmod(0o777)
    start = [cluster.programs / "postgres", "-D", cluster.data, "-p", cluster.port, "-k", "/run"]
    identity = ["--userspec", cluster.account, root]
    with (cluster.home / "jail.log").open("wb") as log:
        running = subprocess.Popen(["chroot", *map(str, [*identity, *start])], stdout=log, stderr=log, cwd="/")
    try:
        for name in (f".s.PGSQL.{cluster.port}", f".s.PGSQL.{cluster.port}.lock"):
            (cluster.home / name).symlink_to(root / "run" / name)
        _wait_for(lambda: "ready to accept connections" in (cluster.home / "jail.log").read_text(), running)
        yield server
    finally:
        running.send_signal(signal.SIGQUIT)
        running.wait()
