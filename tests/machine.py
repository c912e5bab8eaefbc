"""The commands that the tests need on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

# Command -> the Debian package that it comes from
COMMANDS = {
    "aardvark-dns": "aardvark-dns",
    "certtool": "gnutls-bin",
    "git": "git",
    "ip": "iproute2",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "netavark": "netavark",
    "nft": "nftables",
    "openssl": "openssl",
    "podman": "podman",
    "runc": "runc",
    "ssh": "openssh-client",
}


def packages(commands: Mapping[str, str]) -> None:
    """Install the missing commands where that is possible, else say what is missing."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin:/usr/lib/podman:/usr/libexec/podman"
    missing = sorted(package for command, package in commands.items() if not shutil.which(command, path=path))
    if subprocess.run([sys.executable, "-c", "import ensurepip"], check=False, stderr=subprocess.DEVNULL).returncode:
        missing.append("python3-venv")
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        if shutil.which("podman") and shutil.which("ssh") and "python3-venv" not in missing:
            return  # another distribution or another user: Podman brings what it needs
        raise SystemExit(f"Please install (names of Debian packages): {' '.join(missing)}")
    print(f"== installing system packages: {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", "--no-remove", *missing]):
        subprocess.run(["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL)
