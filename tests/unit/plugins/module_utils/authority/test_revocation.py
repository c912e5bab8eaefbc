# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is revoked: entries of the inventory against the ledger, and the record that outlives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger, revocation, revocation_entries
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.shared import DAY


def line(serial: str, identity: str, subject: str, end: int, authority: str = "client") -> dict[str, Any]:
    """Return a line of the ledger with what matters here."""
    return {
        "serial": serial,
        "authority": authority,
        "id": identity,
        "subject": subject,
        "names": [],
        "not_after": clock.instant(end),
        "issuer": "ab12",
    }


@pytest.fixture
def directory(tmp_path: Path, now: int) -> str:
    """Return a directory whose ledger has a server, a role with two certificates, and one that has ended."""
    lines = [
        line("1a", "db1.example", "db1.example", now + DAY, "server"),
        line("2b", "app1/shop/app", "app", now + DAY),
        line("3c", "app2/shop/app", "app", now + 2 * DAY),
        line("4d", "app1/shop/old", "old", now),
        line("5e", "app10/shop/other", "other", now + DAY),
        line("6f", "app1.example", "app", now + DAY, "server"),
    ]
    ledger.append(str(tmp_path), lines)
    return str(tmp_path)


def look(directory: str, now: int, *listed: dict[str, str]) -> revocation.Revoked:
    return revocation.look(directory, revocation_entries.parse(listed, "revoked"), "revoked", now)


def test_a_serial_number_stands_for_every_certificate_of_its_key(tmp_path: Path, now: int) -> None:
    kept, other = {"key_sha256": "aa"}, {"key_sha256": "bb"}
    lines = [
        {**line("1a", "app1/shop/app", "app", now + DAY), **kept},
        {**line("2b", "app1/shop/app", "app", now + 2 * DAY), **kept},
        {**line("3c", "app1/shop/app", "app", now + 3 * DAY), **other},
        {**line("4d", "app1/shop/app", "app", now), **kept},
    ]
    ledger.append(str(tmp_path), lines)
    found = look(str(tmp_path), now, {"serial": "2b"})
    assert found.serials("client") == ["2b", "1a"]
    revocation.write(str(tmp_path), found)
    assert look(str(tmp_path), now, {"serial": "2b"}).changes == []


@pytest.mark.parametrize(
    ("named", "revoked"), [("3c", ["3c", "1a", "2b"]), ("1a", ["1a", "3c"]), ("4d", ["4d"]), ("5e", ["5e"])]
)
def test_a_key_of_before_the_ledger_knew_keys_may_be_the_one_that_was_kept(
    tmp_path: Path, now: int, named: str, revoked: list[str]
) -> None:
    kept = {"key_sha256": "aa"}
    lines = [
        line("1a", "app1/shop/app", "app", now + DAY),
        line("2b", "app1/shop/app", "app", now + 2 * DAY),
        {**line("3c", "app1/shop/app", "app", now + 3 * DAY), **kept},
        line("4d", "app2/shop/app", "app", now + DAY),
        line("5e", "app1/shop/app", "app", now + DAY, "server"),
    ]
    ledger.append(str(tmp_path), lines)
    assert look(str(tmp_path), now, {"serial": named}).serials("server" if named == "5e" else "client") == revoked


def test_a_role_is_revoked_wherever_it_has_certificates_and_a_server_of_that_name_is_not(
    directory: str, now: int
) -> None:
    found = look(directory, now, {"role": "app", "reason": "keyCompromise"})
    assert found.serials("client") == ["2b", "3c"]
    assert found.serials("server") == []
    assert (found.is_in_use, found.is_new) == (True, True)
    assert found.changes[0] == (
        f"revoke the client certificate of app1/shop/app, serial 2b, valid until {clock.instant(now + DAY)} "
        "(keyCompromise)"
    )


def test_a_host_is_revoked_as_a_server_and_with_its_identities_and_no_other_host_is(directory: str, now: int) -> None:
    assert look(directory, now, {"host": "db1.example"}).serials("server") == ["1a"]
    found = look(directory, now, {"host": "app1"})
    assert found.serials("client") == ["2b"], "app10 and app1.example are other hosts, and old has ended"


@pytest.mark.parametrize("written", ["2b", "2B", "00:2b", "0x2B", "serial=002B"])
def test_a_serial_is_read_as_openssl_writes_it(directory: str, now: int, written: str) -> None:
    assert look(directory, now, {"serial": written}).serials("client") == ["2b"]


def test_without_entries_and_record_nothing_is_in_use_and_the_ledger_is_not_read(tmp_path: Path, now: int) -> None:
    (tmp_path / ledger.FILE).mkdir()  # whoever read it would fail
    assert look(str(tmp_path), now) == revocation.Revoked([], False, False, [], [], [])


def test_what_is_recorded_stays_revoked_without_its_entry_until_it_ends(directory: str, now: int) -> None:
    revocation.write(directory, look(directory, now, {"role": "app"}))
    again = look(directory, now)
    assert again.serials("client") == ["2b", "3c"]
    assert (again.is_new, again.changes, again.warnings) == (False, [], [])
    assert look(directory, now + DAY).serials("client") == ["3c"]
    ended = look(directory, now + 2 * DAY)
    assert ended.serials("client") == []
    assert ended.is_in_use, "lists stay in use for good"


def test_the_record_keeps_what_has_ended_as_lists_do(directory: str, now: int) -> None:
    revocation.write(directory, look(directory, now, {"role": "app"}))
    ledger.append(directory, [line("7a", "app3/shop/app", "app", now + 9 * DAY)])
    later = look(directory, now + DAY, {"role": "app"})
    revocation.write(directory, later)
    assert [one["serial"] for one in revocation.read(directory) or ()] == ["2b", "3c", "7a"]
    assert later.serials("client") == ["3c", "7a"]
    old = look(directory, now + 10 * DAY, {"serial": "2b"})
    assert (old.is_new, [one.rpartition(". ")[2] for one in old.warnings]) == (False, ["Remove this entry."])


def test_what_has_ended_is_recorded_only_where_the_entry_says_that_the_record_lost_it(directory: str, now: int) -> None:
    assert look(directory, now, {"serial": "4d"}).changes == []
    found = look(directory, now, {"serial": "4d", "authority": "client"})
    revocation.write(directory, found)
    assert len(found.changes) == 1
    assert look(directory, now, {"serial": "4d", "authority": "client"}).changes == []


def test_the_second_run_with_the_same_entries_changes_nothing(directory: str, now: int) -> None:
    entries = [{"role": "app"}, {"serial": "1a"}, {"host": "app10"}]
    revocation.write(directory, look(directory, now, *entries))
    path = Path(directory) / ledger.REVOKED
    before = path.stat()
    again = look(directory, now + 60, *entries)
    revocation.write(directory, again)
    assert (again.is_new, again.changes, again.warnings) == (False, [], [])
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_serial_that_is_recorded_is_not_looked_for_again(directory: str, now: int) -> None:
    revocation.write(directory, look(directory, now, {"serial": "1a"}))
    (Path(directory) / ledger.FILE).unlink()
    (Path(directory) / ledger.FILE).mkdir()
    assert look(directory, now, {"serial": "1a"}).serials("server") == ["1a"]


@pytest.mark.parametrize("entry", [{"role": "ap"}, {"role": "db1.example"}, {"host": "db1"}, {"serial": "2"}])
def test_what_no_certificate_was_ever_issued_for_is_refused(directory: str, now: int, entry: dict[str, str]) -> None:
    ((kind, value),) = entry.items()
    with pytest.raises(TlsError, match=rf"^revoked: {kind}: {value}: no certificate of it is in ledger\.jsonl"):
        look(directory, now, {"role": "app"}, entry)
    assert revocation.read(directory) is None


def test_an_entry_whose_certificates_have_ended_is_a_warning(directory: str, now: int) -> None:
    found = look(directory, now, {"role": "old"})
    assert found.warnings == [
        f"revoked: role: old: its last certificate expired on {clock.instant(now)}. Remove this entry."
    ]
    assert not found.is_in_use, "nothing was revoked"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, r"revoked\[0\]: expected exactly one of role, host, serial, found none"),
        ({"role": "a", "host": "b"}, r"revoked\[0\]: expected exactly one of .*, found role and host"),
        ({"serial": "xyz"}, r"revoked\[0\]\.serial: found 'xyz', expected a serial number"),
        ({"serial": "0"}, r"revoked\[0\]\.serial: found '0'"),
        ({"host": "a", "authority": "client"}, r"revoked\[0\]\.authority: found 'client', .* a serial or a role"),
        ({"serial": "2b", "authority": "Both"}, r"revoked\[0\]\.authority: found 'Both', expected the name of an"),
        ({"role": "a\nb"}, r"revoked\[0\]\.role: found 'a\\nb'"),
        (
            {"role": "a", "reason": "because"},
            r"revoked\[0\]\.reason: found 'because', expected one of unspecified, key",
        ),
        ("app", r"revoked\[0\]: found 'app', expected a dictionary"),
    ],
)
def test_an_entry_that_cannot_be_is_named(entry: Any, message: str) -> None:
    with pytest.raises(TlsError, match=message):
        revocation_entries.parse([entry], "revoked")


def test_names_of_any_letters_are_found_in_the_ledger(directory: str, now: int) -> None:
    name = 'Rôle "x"; \\ $(id)'
    ledger.append(directory, [line("8b", f"app1/shop/{name}", name, now + DAY)])
    assert look(directory, now, {"role": name}).serials("client") == ["8b"]


@pytest.mark.parametrize("content", ["[]", "{}", "nonsense", '{"serial": "xyz"}', "\x00"])
def test_a_damaged_record_stops_the_run(directory: str, now: int, content: str) -> None:
    (Path(directory) / ledger.REVOKED).write_text(content)
    with pytest.raises(TlsError, match=r"revoked\.jsonl: expected one JSON object a line"):
        look(directory, now)


def test_half_a_last_line_of_the_ledger_is_no_certificate(directory: str, now: int) -> None:
    with (Path(directory) / ledger.FILE).open("a") as stream:
        stream.write(json.dumps(line("9c", "app1/shop/app", "app", now + DAY)))
    assert look(directory, now, {"role": "app"}).serials("client") == ["2b", "3c"]


def test_a_damaged_line_of_the_ledger_that_matters_stops_the_run(directory: str, now: int) -> None:
    with (Path(directory) / ledger.FILE).open("a") as stream:
        stream.write('{"subject": "app", "serial\n')
    assert look(directory, now, {"role": "other"}).serials("client") == ["5e"]
    with pytest.raises(TlsError, match=r"ledger\.jsonl: expected a JSON object for each certificate"):
        look(directory, now, {"role": "app"})


def test_a_line_across_two_blocks_is_found(directory: str, now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_BLOCK", 300)
    assert look(directory, now, {"role": "app"}, {"serial": "5e"}).serials("client") == ["2b", "3c", "5e"]
