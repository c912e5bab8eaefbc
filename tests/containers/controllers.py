"""The controllers that playbooks are tried with: which ansible-core on which Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import wheels

PYTHONS = {"bookworm": "3.11", "trixie": "3.13", "sid": "3.14"}  # which Python each suite brings


@dataclass(frozen=True)
class Controller:
    """A suite and what runs on its Python."""

    suite: str
    core: str
    cryptography: str = "50.0.2"

    @property
    def python(self) -> str:
        """Return the version of Python, such as 3.11."""
        return PYTHONS[self.suite]

    @property
    def name(self) -> str:
        """Return what tells this controller from the others."""
        return f"{self.core}-python{self.python}"

    def packages(self, cache: Path) -> Path:
        """Return the folder with everything that is to be on PYTHONPATH."""
        return wheels.unpacked([f"ansible-core=={self.core}", f"cryptography=={self.cryptography}"], self.python, cache)


CONTROLLERS = (
    Controller("bookworm", "2.18.19", cryptography="38.0.4"),  # the oldest of both; meta: end_role came with 2.18
    Controller("bookworm", "2.19.14"),
    Controller("trixie", "2.20.10"),
    Controller("trixie", "2.21.5"),
    Controller("sid", "2.21.5"),
    Controller("sid", "2.22.0rc1"),
)


def grid(results: Mapping[Controller, str]) -> str:
    """Return the results as a table, a line per ansible-core and a column per Python."""
    lines = [["ansible-core", *(f"Python {python}" for python in PYTHONS.values())]]
    for core in dict.fromkeys(controller.core for controller in results):
        of_core = {one.python: result for one, result in results.items() if one.core == core}
        lines.append([core, *(of_core.get(python, "-") for python in PYTHONS.values())])
    return "\n".join("  ".join(cell.ljust(20) for cell in line).rstrip() for line in lines)
