"""How the tests of the whole collection run commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*argv: object, cwd: Path = ROOT, **environment: object) -> str:
    """Run a command that has to succeed, with more environment variables; return all that it printed."""
    given = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    done = subprocess.run(
        [*map(str, argv)], cwd=cwd, env=given, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout


@pytest.fixture(scope="session", name="run")
def command() -> Callable[..., str]:
    """Give the function ``run`` of this file."""
    return run
