"""What the authority costs: signing ten thousand requests in one task, and doing nothing beside a long ledger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MODULES_PACKAGE = "ansible_collections.pgops.tls.plugins.modules"
REQUEST_COUNT = 10_000
LEDGER = 100_000  # certificates
PASSPHRASE = "a passphrase of the benchmark"


@dataclass
class Use:
    """What a process used: seconds of CPU, and the most memory it had, in MB."""

    cpu: float
    memory: float


@dataclass
class Costs:
    """What was measured, and how many certificates the ledger had in the end."""

    signing: Use
    no_op: Use
    ledger: int

    @property
    def rate(self) -> float:
        """Return the certificates that were signed in a second of CPU, ledger and start of the module included."""
        return REQUEST_COUNT / self.signing.cpu


def measure(state: Path) -> Costs:
    """Make authorities, have requests signed until the ledger is as long as wanted, and measure the last call."""
    directory = state / "authority" / "postgres-ca"
    directory.parent.mkdir(parents=True)
    kept = {"directory": str(directory), "passphrase": PASSPHRASE}
    _module("certificate_authority", kept, directory.parent)
    requests = _requests()
    for _call in range(LEDGER // REQUEST_COUNT):
        signing = _module("certificate", {**kept, "authority": "server", "requests": requests}, directory.parent)
    ledger = sum(1 for _line in (directory / "ledger.jsonl").open(encoding="utf-8"))
    return Costs(signing, _module("certificate_authority", kept, directory.parent), ledger)


def _requests() -> list[dict[str, Any]]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_request, range(REQUEST_COUNT)))


def _request(number: int) -> dict[str, Any]:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    csr = signed.public_bytes(serialization.Encoding.PEM).decode("ascii")
    return {"id": f"db{number}", "csr": csr, "names": [f"db{number}.example.com"], "reasons": ["no_certificate"]}


def _module(name: str, arguments: dict[str, Any], folder: Path) -> Use:
    """Run a module in a process of its own, as Ansible does, and return what it used."""
    path = folder / "arguments.json"
    path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    with (folder / "result.json").open("wb") as result:
        process = subprocess.Popen(
            [sys.executable, "-m", f"{MODULES_PACKAGE}.{name}", path], stdout=result, env=environment
        )
        _pid, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed: {(folder / 'result.json').read_text(encoding='utf-8')[-2000:]}")
    return Use(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
