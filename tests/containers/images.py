"""Builds the images of the test hosts, one per Debian suite, each named by a hash of its recipe."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import builds

HERE = Path(__file__).resolve().parent
RECIPE = ("Containerfile", "counted-shell", "dpkg.cfg", "hosts", "sshd.conf")
IMAGE_PREFIX = "localhost/pgops-tls"
# Suites that only add to another one: to which, and what they bring of PostgreSQL
ADDED = {"experimental": ("sid", "postgresql-19 libpq5/experimental")}
# Images that add to another suite's: to which, and their recipe in a folder of their own
ON_TOP = {
    "browser": ("trixie", ("browser/Containerfile",)),
    "drivers": ("bookworm", ("drivers/Containerfile", "drivers/Connecting.java", "drivers/connecting.go")),
    "clients": (
        "trixie",
        tuple(f"clients/{name}" for name in ("Containerfile", "connect.go", "connect.js", "connect.py")),
    ),
}
# And with a PostgreSQL that is not Debian's; on a suite whose clients know what libpq of all these versions knows
BUILD_OF = {f"pg{major}": major for major in builds.BUILDS}
ON_TOP |= dict.fromkeys(BUILD_OF, ("bookworm", ("built/Containerfile", "built/database.service")))
MAKING: dict[str, threading.Lock] = {}  # base images: two suites may have the same one


def digest(*names: str, options: str = "") -> str:
    """Return a short hash of the named files of this folder, and of how they are used."""
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in names) + options.encode()).hexdigest()[:12]


def image_exists(name: str) -> bool:
    """Tell whether Podman's storage has the image."""
    return subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0


def run_quietly(log: Path, command: str) -> None:
    """Run a shell pipeline with its output in log; a failure shows the log's end."""
    with log.open("ab") as stream:
        shell = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(shell, check=False, stdout=stream, stderr=stream)
    if done.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
        raise SystemExit(f"{command}\nfailed with {done.returncode}, see {log}:\n{tail}")


def base(suite: str, log: Path) -> str:
    """Return the name of a minimal image of the suite: made here, or a registry's where mmdebstrap is not installed."""
    if not shutil.which("mmdebstrap"):
        return f"debian:{suite}-slim"
    name = f"{IMAGE_PREFIX}-base-{suite}:{digest('dpkg.cfg')}"
    options = f"--variant=minbase --dpkgopt={shlex.quote(str(HERE / 'dpkg.cfg'))}"
    if suite == "sid":  # its mirrors may be snapshots; what is said here stays in the image
        options += """ --aptopt='Acquire::Check-Valid-Until "false"'"""
    with MAKING.setdefault(suite, threading.Lock()):
        if not image_exists(name):
            run_quietly(log, f"mmdebstrap {options} {suite} - | podman import -q - {name}")
    return name


def image(suite: str, logs: Path) -> str:
    """Return the name of the suite's test image; build it when it is missing."""
    if suite in ON_TOP:
        return _on_top(suite, logs)
    own, packages = ADDED.get(suite, (suite, ""))
    options = f"--build-arg BESIDE={suite} --build-arg POSTGRESQL={shlex.quote(packages)}" if packages else ""
    name = f"{IMAGE_PREFIX}-{suite}:{digest(*RECIPE, options=options)}"
    with MAKING.setdefault(f"image of {suite}", threading.Lock()):
        if not image_exists(name):
            log = _new_log(suite, logs)
            _build(name, base(own, log), options, HERE, log)
    return name


def _on_top(suite: str, logs: Path) -> str:
    """Return the name of an image that adds to the one of another suite; build it when it is missing."""
    below, recipe = ON_TOP[suite]
    under = image(below, logs)
    major = BUILD_OF.get(suite)
    build = builds.BUILDS[major].key if major else ""
    name = f"{IMAGE_PREFIX}-{suite}:{digest(*recipe, options=under + build)}"
    if not image_exists(name):
        prefix = builds.unpacked(major, logs.parent / "postgresql") if major else None
        options = f"--build-arg MAJOR={major} --volume {prefix}:/build:ro" if major else ""
        _build(name, under, options, (HERE / recipe[0]).parent, _new_log(suite, logs))
    return name


def _new_log(suite: str, logs: Path) -> Path:
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"image-{suite}.log"
    log.unlink(missing_ok=True)
    return log


def _build(name: str, under: str, options: str, folder: Path, log: Path) -> None:
    started = time.monotonic()
    print(f"   building {name} (a minute or two)", flush=True)
    arguments = f"--network host --build-arg BASE={under} {options} --tag {name} {shlex.quote(str(folder))}"
    run_quietly(log, f"podman build {arguments}")
    print(f"   {name} built in {time.monotonic() - started:.0f} s", flush=True)


def images(suites: list[str], logs: Path) -> dict[str, str]:
    """Return {suite: image name}; missing images are built side by side."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(suites, pool.map(lambda suite: image(suite, logs), suites)))
