"""Folders of unpacked wheels: Python packages for containers that reach no network and have another Python."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

MANYLINUX = ("manylinux_2_28", "manylinux2014")


def unpacked(requirements: list[str], python: str, cache: Path) -> Path:
    """Return a folder for PYTHONPATH with these requirements, and what they need, for a version of Python (3.9.2).

    ``pip install --target`` would ask whether they fit the Python that pip itself runs on; ``pip download`` does not.
    """
    made = cache / f"{python}-{hashlib.sha256(repr(requirements).encode()).hexdigest()[:12]}"
    if made.exists():
        return made
    cache.mkdir(parents=True, exist_ok=True)
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    options += [f"--platform={one}_{platform.machine()}" for one in MANYLINUX]
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        wheels, new = Path(folder) / "wheels", Path(folder) / "new"
        pip = ["python", "-m", "pip", "-qq", "--disable-pip-version-check", "download", f"--dest={wheels}"]
        subprocess.run([*pip, *options, *requirements], check=True)
        for wheel in wheels.glob("*.whl"):
            shutil.unpack_archive(wheel, new, "zip")
        new.rename(made)
    return made
