# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding libpq; what it does is seen in tests/system/test_connection.py and test_connection_faults.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification import libpq

MISSING_LIBRARY = "libpq-of-nobody.so.5"


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a prefix with a psql, which the search path has only a link to, and no libpq that the loader knows."""
    programs, path = tmp_path / "pgsql" / "bin", tmp_path / "bin"
    for directory in (programs, path):
        directory.mkdir(parents=True)
    (programs / "psql").write_text("#!/bin/sh\n")
    (programs / "psql").chmod(0o755)
    (path / "psql").symlink_to(programs / "psql")
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(libpq, "NAME", MISSING_LIBRARY)
    return programs.parent


@pytest.mark.usefixtures("prefix")
def test_a_host_without_libpq_is_told_what_to_install() -> None:
    with pytest.raises(
        TlsError, match=rf"could not be loaded: {MISSING_LIBRARY}: cannot open.*Install it \(Debian: libpq5"
    ):
        libpq.load()


@pytest.mark.parametrize("directory", ["lib", "lib64"])
def test_libpq_is_found_beside_the_programs_of_a_postgresql_that_the_loader_does_not_know(
    prefix: Path, directory: str
) -> None:
    (prefix / directory).mkdir()
    (prefix / directory / MISSING_LIBRARY).write_text("no library")
    with pytest.raises(TlsError, match=rf"{prefix}/{directory}/{MISSING_LIBRARY}: (file too short|invalid ELF header)"):
        libpq.load()


def test_a_library_that_is_no_libpq_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpq, "NAME", "libc.so.6")
    with pytest.raises(TlsError, match="PQlibVersion"):
        libpq.load()


def test_a_python_that_can_load_no_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_ctypes", None)
    for name in ("ctypes", "ctypes._endian"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(TlsError, match=f"{sys.executable} cannot load libpq.*_ctypes"):
        libpq.load()
