# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal that was damaged or forged: it is refused, or rolled back, and nothing else happens."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import files
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.tests.properties import COMMON
from hypothesis import example, given
from hypothesis import strategies as st

ANY_TEXT = st.text(st.sampled_from("a.0\0\ud800é \n"), max_size=6)  # no slash: a forged path stays below this test
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | ANY_TEXT
    | st.sampled_from(["file", "link", "absent", "rooted", "0001"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "path", "x"]), inner, max_size=3)
    ),
    max_leaves=4,
)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    store = GenerationStore(str(tmp_path / "store"), files.Owner(os.geteuid(), os.getegid()), 0o700)
    store.switch(store.stage({"key": File(b"key", 0o600)}))
    (tmp_path / "here" / "config").write_text("before")
    return Journal(store)


@pytest.fixture
def written(journal: Journal) -> dict[str, Any]:
    """Return what the journal of a change says."""
    journal.begin(journal.store.stage({"key": File(b"new", 0o600)}))
    journal.put_file(os.path.abspath("config"), b"after")
    found: dict[str, Any] = json.loads(Path(journal.path).read_text())
    Path(journal.path).unlink()
    return found


def damaged(found: Any, data: st.DataObject) -> Any:
    """Return a copy with one value of it, at whatever depth, replaced by junk."""
    if not isinstance(found, (dict, list)) or not found or data.draw(st.integers(0, 3)) == 0:
        return data.draw(JUNK)
    key = data.draw(st.sampled_from(list(found) if isinstance(found, dict) else list(range(len(found)))))
    copy: Any = dict(found) if isinstance(found, dict) else list(found)
    copy[key] = damaged(found[key], data)
    return copy


def undo(journal: Journal, content: bytes) -> None:
    """Do with a journal what a run does; errors of the operating system are explained by who calls this."""
    Path(journal.path).write_bytes(content)
    damage = journal.damage()
    assert not damage or damage.startswith(f"{journal.path}: expected the journal of an interrupted run, found ")
    for work in (journal.originals, journal.roll_back):
        with contextlib.suppress(TlsError, OSError):
            work()
    Path(journal.path).unlink(missing_ok=True)


@given(content=st.binary() | st.text().map(str.encode) | JUNK.map(lambda junk: json.dumps(junk).encode()))
@example(content=b"[" * 100_000)
@example(content=b'{"a":' * 100_000)
@COMMON
def test_any_content_is_refused_as_a_journal(journal: Journal, content: bytes) -> None:
    undo(journal, content)
    assert journal.store.current() == "0001"


@given(data=st.data())
@COMMON
def test_a_damaged_journal_is_refused_or_rolled_back(
    journal: Journal, written: dict[str, Any], data: st.DataObject
) -> None:
    Path("config").unlink(missing_ok=True)
    Path("config").write_text("after")
    undo(journal, json.dumps(damaged(written, data)).encode())
    assert journal.store.current() in ("0001", None)
