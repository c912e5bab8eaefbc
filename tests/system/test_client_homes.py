# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Homes as they are found: files of others, links that a user planted, and what cannot be used at all."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, target
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.clients import Clients, User, identity, snapshot
from ansible_collections.pgops.tls.tests.servers import TODAY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")

SET_ASIDE_OF_USER = "{}: the damaged journal of an interrupted run is set aside"

# What was there before


def test_files_at_the_default_names_are_kept_beside_ours(clients: Clients, alice: User) -> None:
    files = {"postgresql.crt": 0o640, "postgresql.key": 0o400, "root.crt": 0o644}
    for name, mode in files.items():
        alice.write(f".postgresql/{name}", f"{name} of another server\n", mode)
    result = clients.converge()
    for name, mode in files.items():
        kept = alice.default / f"{name}.before-pgops"
        assert kept.read_text() == f"{name} of another server\n"
        assert stat.S_IMODE(kept.stat().st_mode) == mode
        assert (alice.default / name).is_symlink()
    assert sum("stays beside it as .before-pgops" in change for change in result["changes"]) == 3
    assert clients.call()["changed"] is False


def test_a_second_foreign_file_does_not_overwrite_the_first_that_was_kept(clients: Clients, alice: User) -> None:
    alice.write(".postgresql/root.crt", "first")
    clients.converge()
    (alice.default / "root.crt").unlink()
    alice.write(".postgresql/root.crt", "second")
    clients.call()
    assert (alice.default / "root.crt.before-pgops").read_text() == "first"
    assert (alice.default / "root.crt.before-pgops-2").read_text() == "second"


def test_a_foreign_key_of_root_is_kept_too(clients: Clients, alice: User) -> None:
    shutil.chown(alice.write(".postgresql/postgresql.key", "key", 0o640), "root")
    clients.converge()
    kept = alice.default / "postgresql.key.before-pgops"
    assert (kept.read_text(), kept.stat().st_uid, stat.S_IMODE(kept.stat().st_mode)) == ("key", 0, 0o640)


def test_the_hand_written_part_of_the_service_file_stays_byte_for_byte(clients: Clients, alice: User) -> None:
    text = "# mine \u00fc\r\n[old]\nhost=db0\npassword=hunter2"  # no line end at the end
    alice.write(".pg_service.conf", text, 0o640)
    result = clients.converge()
    content = alice.service_file.read_bytes()
    assert content.startswith(text.encode() + b"\n# BEGIN pgops.tls")
    assert stat.S_IMODE(alice.service_file.stat().st_mode) == 0o640
    assert "hunter2" not in json.dumps(result)
    with alice.service_file.open("ab") as stream:
        stream.write(b"[mine]\nhost=db9\n")
    clients.call(identities=[identity(alice, "app", "other")])
    assert alice.service_file.read_bytes() == content.replace(b"dbname=shop", b"dbname=other") + b"[mine]\nhost=db9\n"


def test_a_service_file_that_is_a_link_is_followed(clients: Clients, alice: User) -> None:
    real = alice.write("dotfiles/services", "[old]\nhost=db0\n")
    alice.service_file.symlink_to(real)
    clients.converge()
    assert alice.service_file.is_symlink()
    assert b"[app]" in real.read_bytes()


# Users who plant things: everything is done with their own rights


@pytest.mark.parametrize("victim", ["/etc", "/root"])
def test_a_link_in_the_place_of_the_directory_gives_the_user_nothing(
    clients: Clients, alice: User, victim: str
) -> None:
    before = sorted(os.listdir(victim))
    alice.default.symlink_to(victim)
    with pytest.raises(TlsError, match=r"\.postgresql"):
        clients.call()
    assert sorted(os.listdir(victim)) == before


@pytest.mark.parametrize("path", ["pgops", "pgops/generations", "pgops/pending", "pgops/generations/.staging"])
def test_links_planted_below_give_the_user_nothing(clients: Clients, alice: User, tmp_path: Path, path: str) -> None:
    secret = tmp_path / "only for root"
    secret.mkdir(mode=0o700)
    (alice.default / path).parent.mkdir(parents=True)
    (alice.default / path).symlink_to(secret)
    subprocess.run(["chown", "-hR", alice.name, alice.default], check=True)
    with contextlib.suppress(TlsError):
        clients.converge()
    assert list(secret.iterdir()) == []


@pytest.mark.parametrize("name", ["app/postgresql.key", "app/postgresql.crt", "root.crt"])
def test_a_link_to_a_foreign_file_is_neither_read_nor_changed(
    clients: Clients, alice: User, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret of root")
    secret.chmod(0o600)
    clients.converge()
    path = alice.store / "generations/0001" / name
    path.unlink()
    path.symlink_to(secret)
    result = clients.converge()
    assert result["changed"]
    assert secret.read_text() == "the secret of root"
    assert (secret.stat().st_uid, stat.S_IMODE(secret.stat().st_mode)) == (0, 0o600)
    assert "the secret of root" not in json.dumps(faults.everything(alice.home), default=str)


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_service_file_that_leads_elsewhere_is_refused(clients: Clients, alice: User, mode: int) -> None:
    victim = alice.home.with_name("victim")
    victim.write_text("")
    victim.chmod(mode)
    alice.service_file.symlink_to(victim)
    with pytest.raises(TlsError, match=r"\.pg_service\.conf: belongs to the user id 0"):
        clients.call()
    assert victim.read_text() == ""


def test_a_journal_made_up_by_the_user_is_carried_out_with_the_users_rights(clients: Clients, alice: User) -> None:
    clients.converge()
    victim = alice.home.with_name("victim")
    victim.write_text("root's")
    change = {"path": str(victim), "before": {"kind": "absent"}, "written": {"kind": "file"}, "aside": None}
    text = json.dumps({"previous": "0001", "staged": None, "changes": [change]})
    alice.write(".postgresql/pgops/journal.json", text, 0o600)
    with pytest.raises(TlsError, match=f"victim: Permission denied.*of OS user '{alice.name}'"):
        clients.call()
    assert victim.read_text() == "root's"


@pytest.mark.parametrize(
    "text",
    [
        '{"changes": [1], "previous": null, "staged": null}',
        '{"changes": [{}], "previous": "0001", "staged": "0002"}',
        '{"changes": [], "previous": [], "staged": {}}',
        '{"changes": {"a": "b"}, "previous": "0001", "staged": null}',
        '{"changes": [{"path": 1, "before": {"kind": "absent"}, "written": {}, "aside": null}], "previous": null}',
    ],
)
def test_a_journal_of_nonsense_is_set_aside_where_the_files_are_whole(clients: Clients, alice: User, text: str) -> None:
    clients.converge()
    path = alice.write(".postgresql/pgops/journal.json", text, 0o600)
    before = snapshot(alice.home)
    foreseen = clients.call(check_mode=True)
    assert snapshot(alice.home) == before
    done = clients.call()
    assert foreseen["changes"] == done["changes"] == [SET_ASIDE_OF_USER.format(alice.name)]
    assert (alice.store / "journal.json.damaged").read_text() == text
    assert not path.exists()
    assert clients.call()["changed"] is False


def warnings(clients: Clients, *, check_mode: bool) -> list[str]:
    wanted = target.read(clients.options, TODAY)
    return convergence.converge(wanted, TODAY, float(TODAY), check_mode=check_mode).warnings


def test_a_damaged_journal_is_told_of(clients: Clients, alice: User) -> None:
    clients.converge()
    alice.write(".postgresql/pgops/journal.json", "damaged", 0o600)
    for check_mode in (True, False):
        [told] = warnings(clients, check_mode=check_mode)
        assert f"{alice.store}/journal.json: expected the journal of an interrupted run, found something else" in told
        assert f"The files of OS user {alice.name!r} are complete nevertheless" in told
    assert warnings(clients, check_mode=False) == []


def spoil_key(alice: User) -> str:
    (alice.store / "current" / "app" / "postgresql.key").write_text("")
    return "postgresql.key does not belong to"


def spoil_link(alice: User) -> str:
    (alice.store / "current").unlink()
    return "root.crt leads nowhere"


@pytest.mark.parametrize("spoil", [spoil_key, spoil_link])
def test_files_that_are_not_whole_are_left_alone_with_one_command(
    clients: Clients, alice: User, spoil: Callable[[User], str]
) -> None:
    clients.converge()
    said = spoil(alice)
    alice.write(".postgresql/pgops/journal.json", "damaged", 0o600)
    before = snapshot(alice.home)
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="found something else than JSON") as failure:
            clients.call(check_mode=check_mode)
        assert said in failure.value.message
    assert snapshot(alice.home) == before
    [command] = re.findall(r"run: (mv .*?)\. Then rerun\.", failure.value.message)
    subprocess.run(shlex.split(command), check=True)
    clients.converge()
    assert clients.call()["changed"] is False


def test_keys_whose_signing_failed_go_once_no_run_can_be_at_work_with_them(clients: Clients, alice: User) -> None:
    clients.converge()
    assert clients.call(new_keys=True)["requests"]
    pending = alice.store / "pending"
    shutil.copy2(pending / "app.key", pending / "gone.key")
    assert clients.call()["changed"] is False
    assert len(list(pending.iterdir())) == 2, "another run may be having them signed"
    for path in pending.iterdir():
        os.utime(path, (TODAY - 7200, TODAY - 7200))
    assert clients.call()["changed"] is False
    assert list(pending.iterdir()) == []


@pytest.mark.parametrize("path", [".pg_service.conf", ".postgresql/postgresql.crt", ".postgresql/pgops"])
def test_a_pipe_is_refused_and_never_waited_for(clients: Clients, alice: User, path: str) -> None:
    alice.default.mkdir()
    os.mkfifo(alice.home / path)
    subprocess.run(["chown", "-R", alice.name, alice.home], check=True)
    with pytest.raises(TlsError, match=path.rsplit("/", maxsplit=1)[-1]):
        clients.call()


def test_a_huge_file_of_the_user_does_not_take_the_memory_of_root(clients: Clients, alice: User) -> None:
    with alice.write(".pg_service.conf", "").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(TlsError, match=r"\.pg_service\.conf: expected at most"):
        clients.call()


def test_a_pipe_among_our_own_files_is_replaced(clients: Clients, alice: User) -> None:
    clients.converge()
    path = alice.store / "generations/0001/app/postgresql.key"
    path.unlink()
    os.mkfifo(path)
    assert clients.converge()["reasons"] == [f"{alice.name}/app: key_missing"]


def test_the_ids_of_the_process_are_its_own_again_afterwards(clients: Clients) -> None:
    before = os.getresuid(), os.getresgid(), os.getgroups()
    clients.converge()
    with contextlib.suppress(TlsError):
        clients.call(identities=[{"role": "app", "os_user": "daemon"}])
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


def test_the_user_itself_may_run_it_and_nobody_else(clients: Clients, alice: User, bob: User) -> None:
    def as_user(user: User) -> int:
        child = os.fork()
        if child == 0:
            status = 3
            try:
                os.initgroups(user.name, pwd.getpwnam(user.name).pw_gid)
                os.setgid(pwd.getpwnam(user.name).pw_gid)
                os.setuid(user.uid)
                status = 0 if clients.converge()["changed"] else 1
            except TlsError as error:
                status = 2 if "become: true" in error.message else 3
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert as_user(bob) == 2
    assert not alice.default.exists()
    assert as_user(alice) == 0


# Bad input


def test_an_os_user_without_home_is_refused(clients: Clients, alice: User) -> None:
    shutil.rmtree(alice.home)
    with pytest.raises(TlsError, match=f"OS user '{alice.name}': the home directory '{alice.home}'.*does not exist"):
        clients.call()


def test_a_home_that_belongs_to_somebody_else_is_refused(clients: Clients, alice: User) -> None:
    shutil.chown(alice.home, "root")
    said = f"{alice.home}: this directory belongs to the user id 0, expected {alice.uid} .*Leave it as it is. Set home"
    with pytest.raises(TlsError, match=said):
        clients.call()


@pytest.mark.parametrize("name", [".postgresql", ".postgresql/pgops", ".postgresql/pgops/generations"])
def test_a_directory_of_ours_that_belongs_to_root_is_named(clients: Clients, alice: User, name: str) -> None:
    clients.converge()
    shutil.chown(alice.home / name, "root")
    with pytest.raises(
        TlsError, match=f"{alice.home / name}: this directory belongs to the user id 0.*restore its owner"
    ):
        clients.call()


@pytest.mark.parametrize("name", [".postgresql/postgresql.crt", ".postgresql/root.crt", ".pg_service.conf"])
def test_a_directory_in_the_place_of_a_file_is_refused(clients: Clients, alice: User, name: str) -> None:
    (alice.home / name).mkdir(parents=True)
    subprocess.run(["chown", "-R", alice.name, alice.home], check=True)
    before = snapshot(alice.home)
    with pytest.raises(TlsError, match=f"{name}: expected a file or nothing, found a directory"):
        clients.call()
    assert snapshot(alice.home) == before


def test_a_file_in_the_place_of_the_directory_is_refused(clients: Clients, alice: User) -> None:
    alice.write(".postgresql", "a file")
    with pytest.raises(TlsError, match=r"\.postgresql: expected a directory, found a file"):
        clients.call()


def test_clocks_too_far_apart_are_refused(clients: Clients, alice: User) -> None:
    with pytest.raises(TlsError, match="301 s ahead of the controller"):
        convergence.converge(target.read(clients.options, TODAY), TODAY, TODAY - 301.0, check_mode=False)
    assert list(alice.home.iterdir()) == []


def test_a_missing_openssl_is_told_before_anything_changes(
    clients: Clients, alice: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "PATH", str(tmp_path))
    with pytest.raises(TlsError, match="The command openssl was not found"):
        clients.call()
    assert list(alice.home.iterdir()) == []


def test_bad_input_for_one_user_changes_nothing_for_another(clients: Clients, alice: User, bob: User) -> None:
    bob.write(".pg_service.conf", "[app]\nhost=mine\n")
    clients.options["identities"].append(identity(bob, "app"))
    with pytest.raises(TlsError, match=f"{bob.service_file}: the service 'app', written by hand"):
        clients.call()
    assert list(alice.home.iterdir()) == []


def test_two_os_users_with_one_home_are_refused(clients: Clients, alice: User, bob: User) -> None:
    subprocess.run(["usermod", "--home", alice.home, bob.name], check=True)
    try:
        with pytest.raises(TlsError, match=f"'{alice.name}' and '{bob.name}' have the same home directory"):
            clients.call(identities=[identity(alice, "one"), identity(bob, "two")])
    finally:
        subprocess.run(["usermod", "--home", bob.home, bob.name], check=True)
