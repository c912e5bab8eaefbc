# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A company's CA by ``openssl ca``, with the files that such a CA has."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.pgops.tls.tests import guides

CONFIGURATION = """
[ca]
default_ca = company
[company]
dir = {folder}
database = $dir/index
serial = $dir/serial
new_certs_dir = $dir/issued
certificate = $dir/issuing.pem
private_key = $dir/issuing.key
default_md = sha256
default_days = 365
policy = any
copy_extensions = copy
x509_extensions = leaf
unique_subject = no
[any]
commonName = optional
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
keyUsage = keyCertSign, cRLSign
[leaf]
basicConstraints = CA:false
"""


class Company:
    """A root and an issuing CA of ``openssl ca``, as a security team runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "issued").mkdir(parents=True)
        (folder / "index").touch()
        (folder / "serial").write_text("1000\n")
        (folder / "ca.conf").write_text(CONFIGURATION.format(folder=folder))
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout"]
        self.run("req", "-x509", *key, "root.key", "-out", "root.pem", "-subj", "/CN=Company Root", "-days", "3650")
        self.issue_by("Company Issuing")

    def issue_by(self, name: str) -> None:
        """Have a new CA below the root issue from now on."""
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "issuing.key"]
        self.run("req", "-new", *key, "-out", "issuing.csr", "-subj", f"/CN={name}")
        above = ["-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "1800"]
        extensions = ["-extfile", "ca.conf", "-extensions", "authority"]
        self.run("x509", "-req", "-in", "issuing.csr", *above, *extensions, "-out", "issuing.pem")

    def run(self, command: str, *arguments: str) -> None:
        configuration = ["-config", "ca.conf"] if command in ("ca", "req") else []
        extensions = ["-extensions", "authority"] if "-x509" in arguments else []
        command_line = ["openssl", command, *configuration, *arguments, *extensions]
        subprocess.run(command_line, cwd=self.folder, check=True, capture_output=True)

    def sign(self, request: Path, *arguments: str) -> None:
        """Sign a request as it is, and put certificate and issuing CA beside it."""
        made = self.folder / f"{request.stem}.pem"
        self.run("ca", "-batch", "-notext", "-in", str(request), "-out", str(made), *arguments)
        answer = made.read_text() + (self.folder / "issuing.pem").read_text()
        request.with_suffix(".pem").write_text(answer)

    def sign_issuing(self, requests: Path) -> None:
        """Sign the request for an issuing CA of servers, by the file and the commands of page guide_sources."""
        name = "issuing-ca.cnf"
        (requests / name).write_text(guides.example(name))
        for command, _shown in guides.commands_of("guide_sources", "test_company_root").commands():
            here = command.replace("/etc/company-ca/openssl.cnf", str(self.folder / "ca.conf"))
            here = here.replace("/etc/company-ca", str(self.folder))
            subprocess.run(["bash", "-ec", here], cwd=requests, check=True, capture_output=True)
