"""A test that every container skips is found."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent.parent
TEXT = """
import os, pytest
VERSION = int(os.environ["VERSION"])
def test_always(): pass
@pytest.mark.skipif(VERSION < 16, reason="it came with 16")
def test_newer(): pass
@pytest.mark.parametrize("row", [14, 99])
def test_row(row):
    if VERSION < row:
        pytest.skip("later")
"""


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module."""
    monkeypatch.syspath_prepend(str(TESTS))
    return importlib.import_module("outcomes")


def test_what_one_container_skips_another_has_to_run(outcomes: Any, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEXT, encoding="utf-8")
    assert outcomes.ran_nowhere(tmp_path) == []
    for version in ("13", "17"):
        pytest_of = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", tmp_path, tmp_path]
        command = ["env", f"VERSION={version}", *pytest_of, f"--junitxml={tmp_path / version}.xml"]
        subprocess.run(command, check=True, capture_output=True)
    assert outcomes.ran_nowhere(tmp_path) == ["test_it::test_row[99]"]
    (tmp_path / "17.xml").unlink()
    assert outcomes.ran_nowhere(tmp_path) == [f"test_it::test_{name}" for name in ("newer", "row[14]", "row[99]")]
