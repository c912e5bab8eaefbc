"""What the tests need besides themselves: tools, images, containers; and how commands are run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from conftest import COLLECTIONS, ROOT  # importing it links the collection
from containers import images, podman_conf
from machine import COMMANDS, packages
from suites import DRIVER_STAGE, VERSION_OF_SUITE

CACHE, STATE, VENV = ROOT / ".cache", ROOT / ".ansible", ROOT / ".venv"
COVERAGE = CACHE / "coverage"  # what each step has measured
REPORTS = CACHE / "reports"  # which tests each step of units and systems ran and skipped
CONTAINER_PREFIX = "pgops-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]  # two checkouts do not meet
FLEET = f"{CONTAINER_PREFIX}-fleet"  # what begins the names of a fleet's containers, and its network
BUILDING = Lock()  # of images


def say(text: str) -> None:
    """Print a line of progress at once, also into a pipe."""
    print(text, flush=True)


def stream(command: list[str], prefix: str = "") -> tuple[int, list[str]]:
    """Run a command, pass its output on line by line; return its exit code and the lines without colours."""
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            say(prefix + line.rstrip("\n"))
            lines.append(re.sub(r"\x1b\[[0-9;]*m", "", line))
    return process.returncode, lines


def virtual_environment(home: Path, requirements: Path) -> None:
    """Make a virtual environment with pinned tools, anew whenever their list or the interpreter changes."""
    wanted = sys.version + requirements.read_text(encoding="utf-8")
    stamp = home / "made-from"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say(f"== making {home.relative_to(ROOT)} (a minute)")
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-r", str(requirements)], check=True)
    stamp.write_text(wanted, encoding="utf-8")


def prepare(control_sockets: str) -> None:
    """Install what is missing and set the environment of everything that is started from here."""
    packages(COMMANDS)
    virtual_environment(VENV, ROOT / "requirements-test.txt")
    os.environ.update(podman_conf.environment(STATE / "containers.conf"))
    os.environ.update(
        PATH=f"{VENV / 'bin'}:{os.environ['PATH']}",
        ANSIBLE_HOME=str(STATE),
        ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
        ANSIBLE_SSH_CONTROL_PATH_DIR=control_sockets,  # short: the path of a socket has 108 characters at most
        MOLECULE_COMMAND_BORDERS="0",
        MOLECULE_EPHEMERAL_DIRECTORY=str(STATE / "molecule"),
        NO_COLOR="" if sys.stdout.isatty() else "1",
        TEST_KEY=str(STATE / "molecule_key"),
        TEST_PREFIX=FLEET,
    )


def build_images(suites: Iterable[str] = tuple(VERSION_OF_SUITE)) -> dict[str, str]:
    """Return {suite: image}; what is missing is built. Steps that run side by side do that one after the other."""
    with BUILDING:
        built = images.images(list(suites), CACHE / "logs")
        os.environ["TEST_IMAGES"] = json.dumps(json.loads(os.environ.get("TEST_IMAGES", "{}")) | built)
    return built


def remove_containers(prefix: str = FLEET) -> None:
    """Remove the containers of a fleet and its network, also those that an interrupted run left."""
    listing = ["podman", "ps", "--all", "--quiet", f"--filter=name=^{prefix}-"]
    found = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()
    if found:
        subprocess.run(["podman", "rm", "--force", "--time=0", "--volumes", *found], check=True, capture_output=True)
    subprocess.run(["podman", "network", "rm", "--force", FLEET], check=False, capture_output=True)
    shutil.rmtree(STATE / "molecule", ignore_errors=True)  # else Molecule believes that they still run


def shell(_arguments: list[str]) -> None:
    """Open a shell in which molecule, ansible and podman see what the tests see."""
    build_images([*VERSION_OF_SUITE, DRIVER_STAGE])
    subprocess.run([os.environ.get("SHELL", "bash")], check=False)


def clean(_arguments: list[str]) -> None:
    """Remove everything that was made here: containers, images, caches, the virtual environment."""
    if shutil.which("podman"):
        os.environ.update(podman_conf.environment(STATE / "containers.conf"))
        remove_containers(CONTAINER_PREFIX)
        listing = ["podman", "images", "--quiet", f"--filter=reference={images.IMAGE_PREFIX}-*"]
        found = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()
        if found:
            subprocess.run(["podman", "rmi", *set(found)], check=False, capture_output=True)
    for path in (CACHE, STATE, VENV):
        shutil.rmtree(path, ignore_errors=True)
