from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, keeping, keys, ledger, lineage, store
from ansible_collections.pgops.tls.plugins.module_utils.core import files, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.shared import FIVE_YEARS, PASSPHRASE, STEP

AUTHORITY_FILES = ["issuing.crl", "issuing.crt", "issuing.key", "root.crl", "root.crt", "root.key"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "inventories" / "ca"


def keep(
    directory: Path, now: int, passphrase: str | None = None, key_type: str = "P-256", *, is_dry: bool = False
) -> keeping.KeepingResult:
    return keeping.keep(keeping.Wish(str(directory), key_type, passphrase), now, is_dry=is_dry)


def test_without_openssl_keys_that_are_to_be_encrypted_stop_it_before_anything_is_made(
    directory: Path, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(processes, "PATH", "/nonexistent")
    for is_there in (False, True):
        with pytest.raises(TlsError, match=r"^The command openssl was not found .* Install it"):
            keep(directory, now, PASSPHRASE)
        assert directory.exists() == is_there
        directory.mkdir(exist_ok=True, parents=True)
    assert keep(directory, now).made == ["server", "client"]


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and bytes of everything below a directory."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }


def test_the_first_run_makes_both_authorities(directory: Path, now: int) -> None:
    done = keep(directory, now)
    assert len(done.changes) == 2
    assert done.made == ["server", "client"]
    assert sorted(path.name for path in directory.iterdir()) == ["client", "server"]
    for name in ("server", "client"):
        assert sorted(path.name for path in (directory / name / "0001").iterdir()) == AUTHORITY_FILES
        assert (directory / name / "0001" / "root.crt").read_text() == done.authorities[name].root.pem
    assert done.before == ""
    assert "server CA: 'PostgreSQL server root CA " in done.after


def test_the_second_run_changes_nothing(directory: Path, now: int) -> None:
    first = keep(directory, now)
    before = contents(directory)
    second = keep(directory, now + 86400)
    assert (second.changes, second.made) == ([], [])
    assert second.before == second.after == first.after
    assert contents(directory) == before
    assert {name: lineage.facts(found) for name, found in second.lineages.items()} == {
        name: lineage.facts(made) for name, made in first.lineages.items()
    }


def test_facts_are_public_and_complete(directory: Path, now: int) -> None:
    done = keep(directory, now)
    authority, found = done.authorities["client"], lineage.facts(done.lineages["client"])
    assert found["bundle"] == authority.issuing.pem + authority.root.pem
    assert found["roots"] == authority.root.pem
    assert found["issuing"] == authority.issuing.pem
    assert (found["phase"], found["crls"], found["revoked"]) == ("steady", "", [])
    assert found["issuing_not_after"] == "2032-01-14T08:00:00Z"
    assert "PRIVATE" not in str(found)


def test_modes_do_not_depend_on_the_umask(directory: Path, now: int) -> None:
    before = os.umask(0o077)
    try:
        keep(directory, now)
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (directory / "server" / "0001").iterdir()}
    assert modes == {name: 0o600 if name.endswith(".key") else 0o644 for name in AUTHORITY_FILES}


def test_a_dry_run_returns_authorities_and_writes_nothing(directory: Path, now: int) -> None:
    done = keep(directory, now, is_dry=True)
    assert len(done.changes) == 2
    assert done.authorities["server"].issuing.is_ca
    assert not directory.parent.exists()


def test_a_dry_run_tells_the_truth(directory: Path, now: int) -> None:
    keep(directory, now)
    shutil.rmtree(directory / "client")
    os.chmod(directory / "server" / "0001" / "root.key", 0o644)
    before = contents(directory)
    planned = keep(directory, now, is_dry=True)
    assert contents(directory) == before
    assert [change[:24] for change in planned.changes] == [change[:24] for change in keep(directory, now).changes]


def test_keys_are_never_on_disk_in_clear_with_a_passphrase(directory: Path, now: int) -> None:
    keep(directory, now, PASSPHRASE)
    found = [path.read_bytes() for path in directory.rglob("*.key")]
    assert len(found) == 4
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in text for text in found)
    assert keep(directory, now, PASSPHRASE).changes == []


@pytest.mark.parametrize("wrong", [None, "wrong passphrase", ""])
def test_a_wrong_passphrase_is_found_on_every_run(directory: Path, now: int, wrong: str | None) -> None:
    keep(directory, now, PASSPHRASE)
    before = contents(directory)
    with pytest.raises(TlsError, match="passphrase") as caught:
        keep(directory, now, wrong)
    assert PASSPHRASE not in str(caught.value)
    assert contents(directory) == before


def test_the_root_keys_are_not_opened(directory: Path, now: int) -> None:
    keep(directory, now, PASSPHRASE)
    (directory / "client" / "0001" / "root.key").write_text("nothing that could be opened")
    assert keep(directory, now, PASSPHRASE).authorities["client"].root_key is None


def test_a_needless_passphrase_is_an_error(directory: Path, now: int) -> None:
    keep(directory, now)
    with pytest.raises(TlsError, match=r"issuing\.key: a passphrase was given, but this key is not encrypted"):
        keep(directory, now, PASSPHRASE)


def test_the_root_key_may_be_elsewhere(directory: Path, now: int) -> None:
    keep(directory, now)
    (directory / "server" / "0001" / "root.key").unlink()
    done = keep(directory, now)
    assert done.changes == []


@pytest.mark.parametrize("name", ["issuing.crt", "issuing.key", "root.crt"])
@pytest.mark.parametrize("authority", ["server", "client"])
def test_any_other_missing_file_is_named(directory: Path, now: int, authority: str, name: str) -> None:
    keep(directory, now)
    path = directory / authority / "0001" / name
    path.unlink()
    with pytest.raises(TlsError, match="this file of the authority is missing") as caught:
        keep(directory, now)
    assert str(caught.value).startswith(f"{path}: ")
    assert not path.exists()


@pytest.mark.parametrize("name", ["issuing.crt", "issuing.key", "root.crt"])
@pytest.mark.parametrize("damage", [b"", b"garbage", "half"])
def test_a_damaged_file_is_named(directory: Path, now: int, name: str, damage: bytes | str) -> None:
    keep(directory, now)
    path = directory / "server" / "0001" / name
    path.write_bytes(damage if isinstance(damage, bytes) else path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TlsError) as caught:
        keep(directory, now)
    assert str(path) in str(caught.value)


def test_a_foreign_key_is_found(directory: Path, now: int) -> None:
    keep(directory, now)
    shutil.copy(directory / "client" / "0001" / "issuing.key", directory / "server" / "0001" / "issuing.key")
    with pytest.raises(TlsError, match=r"server/0001/issuing\.key: this key does not belong to"):
        keep(directory, now)


@pytest.mark.parametrize("name", ["root", "issuing"])
def test_certificates_of_two_authorities_that_were_mixed_up_are_found(directory: Path, now: int, name: str) -> None:
    keep(directory, now)
    for ending in ("crt", "key"):
        shutil.copy(directory / "client/0001" / f"{name}.{ending}", directory / "server/0001" / f"{name}.{ending}")
    with pytest.raises(TlsError, match=r"server/0001/issuing\.crt: expected the certificate of a CA that root\.crt"):
        keep(directory, now)


def test_the_client_authority_in_the_servers_place_is_found(directory: Path, now: int) -> None:
    keep(directory, now)
    shutil.rmtree(directory / "server")
    shutil.copytree(directory / "client", directory / "server")
    with pytest.raises(TlsError, match=r"server/0001/issuing\.crt: .*purpose"):
        keep(directory, now)


def test_two_certificates_in_one_file_are_refused(directory: Path, now: int) -> None:
    keep(directory, now)
    path = directory / "server" / "0001" / "issuing.crt"
    path.write_text(path.read_text() * 2)
    with pytest.raises(TlsError, match="expected one certificate, found 2"):
        keep(directory, now)


def test_another_key_type_than_that_of_the_authorities_is_refused(directory: Path, now: int) -> None:
    keep(directory, now)
    before = contents(directory)
    with pytest.raises(TlsError, match=r"key_type: P-384 was asked for, but the server CA in .* has P-256 keys"):
        keep(directory, now, key_type="P-384")
    assert contents(directory) == before


@pytest.mark.parametrize("key_type", ["P-384", "RSA-3072"])
def test_authorities_have_the_key_type_that_was_asked_for(directory: Path, now: int, key_type: str) -> None:
    made = keep(directory, now, key_type=key_type).authorities
    assert {ca.key_type for authority in made.values() for ca in (authority.root, authority.issuing)} == {key_type}
    assert keep(directory, now, key_type=key_type).changes == []


def test_ed25519_authorities_are_refused_before_anything_is_made(directory: Path, now: int) -> None:
    with pytest.raises(TlsError, match="channel binding"):
        keep(directory, now, key_type="Ed25519")
    assert not directory.exists()


def test_a_lost_authority_is_not_replaced_once_certificates_were_issued(directory: Path, now: int) -> None:
    keep(directory, now)
    shutil.rmtree(directory / "client")
    ledger.append(str(directory), [{"id": "db1"}])
    with pytest.raises(TlsError, match="client: the client CA is missing, although"):
        keep(directory, now)
    assert not (directory / "client").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_keys_that_others_may_read_are_closed(directory: Path, now: int, mode: int) -> None:
    keep(directory, now)
    path = directory / "server" / "0001" / "issuing.key"
    path.chmod(mode)
    done = keep(directory, now)
    assert done.changes == [f"make {path} readable for its owner only (mode 0600)"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert keep(directory, now).changes == []


def test_an_expired_issuing_ca_is_an_error_without_the_key_of_its_root(directory: Path, now: int) -> None:
    keep(directory, now)
    for key in directory.rglob("root.key"):
        key.unlink()
    keep(directory, now + FIVE_YEARS - 1)
    with pytest.raises(TlsError, match=r"issuing CA .* expired on 2032-01-14T08:00:00Z.*0001/root\.key and"):
        keep(directory, now + FIVE_YEARS)


def test_an_ended_issuing_ca_is_a_warning_where_others_are_needed_that_issue(directory: Path, now: int) -> None:
    wish = keeping.Wish(str(directory), "P-256", None, clients=["client", "billing"])
    keeping.keep(wish, now, is_dry=False)
    (directory / "billing/0001/root.key").unlink()
    keep(directory, now + FIVE_YEARS - 86400)
    done = keeping.keep(wish, now + FIVE_YEARS, is_dry=False)
    wanted, ended = done.warnings
    assert wanted == (
        f"A new issuing CA of billing needs the key of its root in {directory}/billing/0001/root.key: it does not "
        "exist. Put it there, and run site.yml."
    )
    assert "expired on 2032-01-14T08:00:00Z" in ended
    assert "It issues nothing, and the other authorities go on. Copy the key of its root to" in ended
    assert list(done.lineages) == ["server", "client", "billing"]


@pytest.mark.parametrize("is_dry", [False, True])
def test_an_ended_issuing_ca_is_an_error_where_all_that_are_needed_have_ended(
    directory: Path, now: int, is_dry: bool
) -> None:
    wish = keeping.Wish(str(directory), "P-256", None, clients=["client"])
    keeping.keep(wish._replace(clients=["client", "left"]), now, is_dry=False)
    for name in ("server", "client"):
        (directory / name / "0001/root.key").unlink()
    before = contents(directory)
    with pytest.raises(TlsError, match=r"server CA .* expired on 2032-01-14T08:00:00Z.*0001/root\.key and"):
        keeping.keep(wish, now + FIVE_YEARS, is_dry=is_dry)
    assert contents(directory) == before, "that of which nobody needs certificates was not replaced either"


def test_an_own_root_that_has_ended_is_an_error_while_others_go_on(directory: Path, now: int) -> None:
    store.create(str(directory), issuing.new_authority("billing", "P-256", now - 2 * FIVE_YEARS), None)
    with pytest.raises(TlsError, match=r"billing CA 'PostgreSQL billing root CA .* expired on .*: billing\.$"):
        keep(directory, now)
    assert not (directory / "server").exists()


def test_a_clock_before_the_authoritys_life_is_an_error(directory: Path, now: int) -> None:
    keep(directory, now)
    with pytest.raises(TlsError, match=r"The clock of this host says .* Correct the clock"):
        keep(directory, now - 301)


@pytest.mark.parametrize("path", ["ca", "./ca", "None/postgres-ca"])
def test_a_relative_directory_is_refused(now: int, path: str) -> None:
    with pytest.raises(TlsError, match="directory: expected an absolute path"):
        keeping.keep(keeping.Wish(path, "P-256", None), now, is_dry=True)


def test_a_file_in_place_of_the_directory_is_refused(directory: Path, now: int) -> None:
    directory.parent.mkdir(parents=True)
    directory.write_text("")
    with pytest.raises(TlsError, match="expected a directory"):
        keep(directory, now)
    with pytest.raises(TlsError, match="expected a directory"):
        keep(directory / "below", now, is_dry=True)


@pytest.mark.parametrize("place", ["server", "client/0001"])
def test_a_file_in_place_of_an_authority_is_an_error_and_not_a_traceback(directory: Path, now: int, place: str) -> None:
    (directory / place).parent.mkdir(parents=True)
    (directory / place).write_text("")
    with pytest.raises(TlsError) as caught:
        keep(directory, now)
    assert str(directory / place) in str(caught.value)


@pytest.mark.parametrize("is_dry", [True, False])
def test_a_directory_that_cannot_be_written_to_is_named(now: int, is_dry: bool) -> None:
    """Runs as another user in a child, since nothing is forbidden to root."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        for place in (Path(directory), Path(directory, "below", "ca")):
            message = _as_nobody(lambda place=place: keep(place, now, is_dry=is_dry))
            assert message.startswith(f"{directory}: expected a directory that user id ")
        assert os.listdir(directory) == []


def test_what_a_killed_run_staged_is_no_authority(directory: Path, now: int) -> None:
    (directory / "server" / ".staging").mkdir(parents=True)
    (directory / "server" / ".staging" / "root.key").write_text("half a key")
    keep(directory, now)
    assert [path.name for path in (directory / "server").iterdir()] == ["0001"]


def test_a_failed_write_leaves_no_authority(directory: Path, now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = files.write_new, iter(range(100))

    def fail_at_the_third(*arguments: Any, **others: Any) -> None:
        if next(calls) == 2:
            raise OSError(28, "No space left on device", "somewhere")
        original(*arguments, **others)

    monkeypatch.setattr(files, "write_new", fail_at_the_third)
    with pytest.raises(TlsError, match="No space left on device"):
        keep(directory, now)
    assert list((directory / "server").iterdir()) == []


def test_another_run_is_waited_for(directory: Path, now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(directory, now)
    original = files.locked
    monkeypatch.setattr(files, "locked", lambda path: original(path, patience=0.0))
    with files.locked(str(directory)), pytest.raises(TlsError, match="another run has held the lock"):
        keep(directory, now)


CHILD = """
import os, shutil, signal, sys
sys.path.insert(0, {collections!r})
from ansible_collections.pgops.tls.plugins.module_utils.authority import keeping

left = int(sys.argv[1])

def die_at_the_last(event, _arguments):
    global left
    if event in ("open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir", "os.listdir", "shutil.rmtree"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def counted(function):
    def replacement(*arguments, **others):
        die_at_the_last("open", ())
        return function(*arguments, **others)
    return replacement

for name in ("fsync", "fchmod", "close", "lseek"):
    setattr(os, name, counted(getattr(os, name)))
children = 0
wish = keeping.Wish(sys.argv[2], "P-256", {passphrase!r})
step = {step}
while True:
    left = int(sys.argv[1]) + children
    children += step
    child = os.fork()
    if child == 0:
        sys.addaudithook(die_at_the_last)
        keeping.keep(wish, {now}, is_dry=False)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status == 0 and step > 1:  # the last steps one by one: few are left when both authorities are there
        children, step = children - 2 * step + 1, 1
        shutil.rmtree(os.path.dirname(sys.argv[2]))
        continue
    print(status, flush=True)
    if sys.stdin.readline() != "again\\n":
        break
"""


def test_a_run_killed_at_any_step_leaves_no_authority_or_a_whole_one(directory: Path, now: int) -> None:
    collections = next(path for path in sys.path if path.endswith(".ansible/collections"))
    source = CHILD.format(collections=collections, passphrase=None, now=now, step=STEP)
    killed = seen = 0
    with subprocess.Popen(
        [sys.executable, "-c", source, "1", str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        while int(child.stdout.readline()) == signal.SIGKILL:
            killed += 1
            seen |= _check_what_is_left(directory)
            keep(directory, now)  # heals
            assert sorted(path.name for path in (directory / "server").iterdir()) == ["0001"]
            assert sorted(path.name for path in (directory / "client").iterdir()) == ["0001"]
            shutil.rmtree(directory.parent)
            child.stdin.write("again\n")
            child.stdin.flush()
        child.stdin.close()
    assert killed > 50 // STEP
    assert seen == 0b111  # none, the server CA alone, both


def _check_what_is_left(directory: Path) -> int:
    """Read what a killed run left; return a bit for the number of authorities in it."""
    found = [name for name in ("server", "client") if store.folders(str(directory), name).numbered]
    for name in found:
        folder = str(directory / name / "0001")
        lineage.read(str(directory), name, None)
        root_key = Path(folder, "root.key")
        keys.from_pem(root_key.read_bytes(), None, str(root_key))
        assert store.loose_keys(str(directory), name) == []
    return 1 << len(found)


def _as_nobody(action: Any) -> str:
    """Return the message of the TlsError that an action ends with when user 65534 does it."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            action()
        except TlsError as error:
            os.write(sending, error.message.encode("utf-8"))
        finally:
            os._exit(0)
    os.close(sending)
    os.waitpid(child, 0)
    with os.fdopen(receiving, "rb") as stream:
        return stream.read().decode("utf-8")
