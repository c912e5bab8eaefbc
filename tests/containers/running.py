"""Single containers that tests run in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# A first process where systemd cannot be one, because it wants newer cgroups than the machine may have
WITHOUT_SYSTEMD = ("sid", "experimental")
SSHD = ["sh", "-c", "mkdir -p /run/sshd; pg_ctlcluster $(ls /usr/lib/postgresql) main start; exec /usr/sbin/sshd -D"]


@contextmanager
def container(name: str, image: str, volumes: Mapping[Path, str], *, systemd: bool) -> Iterator[list[str]]:
    """Run a container that reaches no network and sees the checkout, and more volumes, read-only.

    Gives the beginning of a command that runs in it: options of ``podman exec`` may follow, then ``name`` and the rest.
    """
    start = ["podman", "run", "--detach", "--replace", "--pull=never", f"--systemd={'always' if systemd else 'false'}"]
    start += [f"--name={name}", "--network=none", "--no-hosts", "--hostname=localhost", "--security-opt=label=disable"]
    start += ["--cap-add=LINUX_IMMUTABLE"]  # for files that not even root can change
    start += [f"--volume={path}:{inside}:ro" for path, inside in {CHECKOUT: "/checkout", **volumes}.items()]
    execute = ["podman", "exec", "--workdir=/checkout", "--env=PYTHONPYCACHEPREFIX=/var/cache/python"]
    try:
        subprocess.run([*start, image, *([] if systemd else SSHD)], check=True, stdout=subprocess.DEVNULL)
        ready = "systemctl -q is-system-running 2>&-" if systemd else "pg_isready -q"
        wait = ["timeout", "90", "sh", "-c", f"until {ready}; do sleep 0.2; done"]
        subprocess.run([*execute, name, *wait], check=True)
        yield execute
    finally:
        subprocess.run(["podman", "rm", "--force", "--time=0", "--volumes", name], check=False, capture_output=True)
