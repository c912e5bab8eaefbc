"""What ansible-test says of the collection. There is no list of exceptions."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE_HERE = (".git", ".ansible", ".cache", ".venv", "__pycache__")


@pytest.fixture
def source(tmp_path: Path, run: Callable[..., str]) -> Path:
    """Copy the checkout to where ansible-test works: a repository in a real .../ansible_collections/pgops/tls."""
    copy = tmp_path / "ansible_collections" / "pgops" / "tls"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*MADE_HERE))
    shutil.rmtree(copy / "collections")  # a link to the checkout, for runs from it
    run("git", "init", "--quiet", cwd=copy)  # ansible-test asks git which files are not ignored
    return copy


@pytest.fixture
def home() -> Path:
    """Give ansible-test a home, kept for its virtual environments, where it finds the get-pip.py that it looks for."""
    home = ROOT / ".cache" / "ansible-test"
    downloads = home / ".ansible" / "test" / "cache"
    downloads.mkdir(parents=True, exist_ok=True)
    for version in ("24_2", "25_2"):  # of pip, in ansible-core up to 2.19 and from 2.20 on
        shutil.copy(Path(__file__).parent / "get_pip.py", downloads / f"get_pip_{version}.py")
    return home


def test_ansible_test_finds_nothing(source: Path, home: Path, run: Callable[..., str]) -> None:
    assert not list(source.glob("tests/sanity/ignore*")), "fix the code, do not ignore what is wrong with it"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = run("ansible-test", "sanity", "--color=no", f"--python={python}", cwd=source, HOME=home)
    tests = re.findall(r'^Running sanity test "(.+?)"', said, re.MULTILINE)
    assert {"import", "pylint", "validate-modules"} <= set(tests), said
    print(f"{len(tests)} sanity tests")
