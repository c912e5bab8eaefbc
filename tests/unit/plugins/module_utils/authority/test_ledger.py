from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import ledger
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


def lines(directory: Path) -> list[Any]:
    return [json.loads(line) for line in (directory / ledger.FILE).read_text(encoding="utf-8").splitlines()]


def test_batches_follow_each_other(tmp_path: Path) -> None:
    ledger.append(str(tmp_path), [{"id": "a"}, {"id": "b"}])
    ledger.append(str(tmp_path), [{"id": "ö\n\u2028"}])
    assert lines(tmp_path) == [{"id": "a"}, {"id": "b"}, {"id": "ö\n\u2028"}]
    assert (tmp_path / ledger.FILE).read_bytes().count(b"\n") == 3


def test_the_ledger_is_readable_for_others_and_writable_for_its_owner(tmp_path: Path) -> None:
    ledger.append(str(tmp_path), [{"id": "a"}])
    assert (tmp_path / ledger.FILE).stat().st_mode & 0o777 == 0o644 & ~_umask()


def test_a_batch_is_one_write_and_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("pwrite", "fsync"):
        _count(monkeypatch, name, calls)
    (tmp_path / ledger.FILE).write_bytes(b'{"id": "a"}\n')
    ledger.append(str(tmp_path), [{"id": str(number)} for number in range(1000)])
    assert calls == ["pwrite", "fsync"]


@pytest.mark.parametrize("torn", [b"{", b'{"id": "b", "sub', b'{"id": "b"}}', b'"b"', b"\0\0\0", b"{" * 200_000])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / ledger.FILE).write_bytes(b'{"id": "a"}\n' + torn)
    ledger.append(str(tmp_path), [{"id": "c"}])
    assert lines(tmp_path) == [{"id": "a"}, {"id": "c"}]


def test_a_torn_first_line_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_bytes(b'{"id": "a')
    ledger.append(str(tmp_path), [{"id": "c"}])
    assert lines(tmp_path) == [{"id": "c"}]


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_bytes(b'{"id": "a"}\n{"id": "b"}')
    ledger.append(str(tmp_path), [{"id": "c"}])
    assert lines(tmp_path) == [{"id": "a"}, {"id": "b"}, {"id": "c"}]


@pytest.mark.parametrize("size", [65534, 65535, 65536, 65537, 131072])
def test_the_last_line_is_found_however_long_it_is(tmp_path: Path, size: int) -> None:
    torn = b'{"id": "' + b"x" * (size - 8)
    (tmp_path / ledger.FILE).write_bytes(b'{"id": "a"}\n' + torn)
    ledger.append(str(tmp_path), [{"id": "c"}])
    assert lines(tmp_path) == [{"id": "a"}, {"id": "c"}]


def test_only_the_last_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ledger.FILE).write_bytes(b'{"id": "a"}\n' * 100_000 + b'{"id"')
    read = 0

    def counted(descriptor: int, size: int, offset: int, original: Any = os.pread) -> bytes:
        nonlocal read
        found: bytes = original(descriptor, size, offset)
        read += len(found)
        return found

    monkeypatch.setattr(os, "pread", counted)
    ledger.append(str(tmp_path), [{"id": "c"}])
    assert read < 70_000


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = b'{"id": "a"}\n'
    (tmp_path / ledger.FILE).write_bytes(before)
    full = iter([5])

    def write_a_little(descriptor: int, batch: bytes, at: int, original: Any = os.pwrite) -> int:
        try:
            written: int = original(descriptor, batch[: next(full)], at)
        except StopIteration:
            raise OSError(28, "No space left on device") from None
        return written

    monkeypatch.setattr(os, "pwrite", write_a_little)
    with pytest.raises(OSError, match="No space"):
        ledger.append(str(tmp_path), [{"id": "b"}])
    assert (tmp_path / ledger.FILE).read_bytes() == before


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, batch, at: original(descriptor, batch[:7], at))
    ledger.append(str(tmp_path), [{"id": "a"}, {"id": "b"}])
    assert lines(tmp_path) == [{"id": "a"}, {"id": "b"}]


def test_whether_anything_was_issued_is_seen_without_reading(tmp_path: Path) -> None:
    assert not ledger.exists(str(tmp_path))
    (tmp_path / ledger.FILE).touch()
    assert not ledger.exists(str(tmp_path))
    ledger.append(str(tmp_path), [{"id": "a"}])
    assert ledger.exists(str(tmp_path))


def test_a_link_in_place_of_the_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).symlink_to("/dev/null")
    with pytest.raises(TlsError, match=r"ledger\.jsonl: expected a place"):
        ledger.check_writable(str(tmp_path))
    with pytest.raises(OSError, match="symbolic links"):
        ledger.append(str(tmp_path), [{"id": "a"}])


def test_moments_are_in_utc() -> None:
    assert clock.instant(0) == "1970-01-01T00:00:00Z"
    assert clock.instant(4_102_444_800) == "2100-01-01T00:00:00Z"


def _umask() -> int:
    found = os.umask(0o022)
    os.umask(found)
    return found


def _count(monkeypatch: pytest.MonkeyPatch, name: str, calls: list[str]) -> None:
    original = getattr(os, name)

    def counted(*arguments: Any) -> Any:
        calls.append(name)
        return original(*arguments)

    monkeypatch.setattr(os, name, counted)
