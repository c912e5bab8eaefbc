"""Stands in for the get-pip.py that ansible-test would download.

Pip comes with Python, and its wanted version from the package index. ansible-test runs this in a new virtual
environment, with the options of get-pip.py and the requirements of pip.
"""

from __future__ import annotations

import os
import subprocess
import sys

OPTIONS_OF_GET_PIP = {"--no-setuptools", "--no-wheel"}


def main(arguments: list[str]) -> int:
    """Put pip in place, then have it bring itself to the version that ansible-test asks for."""
    os.environ.pop("GET_PIP", None)  # else this script would start itself
    subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    wanted = [argument for argument in arguments if argument not in OPTIONS_OF_GET_PIP]
    return subprocess.run([sys.executable, "-m", "pip", "install", "-q", *wanted], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
