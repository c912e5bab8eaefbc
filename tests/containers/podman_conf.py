"""Settings of Podman that this machine needs, in a file of the project: nothing under /etc is touched."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

# What rootful Podman asks for by default: the limit's number and value
ULIMITS = {"nofile": (resource.RLIMIT_NOFILE, 1048576), "nproc": (resource.RLIMIT_NPROC, 4194304)}


def lowered_ulimits() -> list[str]:
    """Return the default_ulimits that have to be lowered because root may not raise its own here."""
    if os.geteuid() != 0:
        return []  # rootless Podman lowers its wishes by itself
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    lowered = []
    for name, (number, wanted) in ULIMITS.items():
        soft, hard = resource.getrlimit(number)
        if hard == resource.RLIM_INFINITY or hard >= wanted:
            continue
        try:
            resource.setrlimit(number, (soft, wanted))  # allowed with CAP_SYS_RESOURCE
        except (ValueError, OSError):
            value = min(hard, pid_max) if name == "nproc" else hard  # Podman itself lowers nproc to pid_max
            lowered.append(f'"{name}={value}:{value}"')
        else:
            resource.setrlimit(number, (soft, hard))
    return lowered


def runtime() -> str | None:
    """Return runc where cgroups are not unified: crun refuses the hybrid layout."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return "runc" if not unified and shutil.which("runc") else None


def environment(target: Path) -> dict[str, str]:
    """Write the settings to target and return the variable that names it; {} where the defaults work."""
    lowered, wanted = lowered_ulimits(), runtime()
    if not lowered and not wanted:
        return {}  # CONTAINERS_CONF would replace the user's own settings
    text = f"[containers]\ndefault_ulimits = [{', '.join(lowered)}]\n" if lowered else ""
    text += f'[engine]\nruntime = "{wanted}"\n' if wanted else ""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return {"CONTAINERS_CONF": str(target)}
