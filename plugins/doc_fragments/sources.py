# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where certificates come from: the option that both modules of the authorities have."""

from __future__ import annotations


class ModuleDocFragment:
    """Option shared by certificate_authority and certificate."""

    DOCUMENTATION = r"""
options:
  sources:
    description:
      - Authorities whose CA or root is not in O(directory), such as the company's CA or a mount of OpenBao. Their
        roots, issuing CAs and lists of revoked certificates are returned like those of own authorities. Their
        certificates are recorded in C(ledger.jsonl), too.
      - The collection runs authorities that are not listed. Give both modules the same list.
      - Replacing a root, dropping it and revoking a certificate is up to the CA behind a source. These requests are
        refused with what to do there.
      - A certificate from a source has at least the names and the usage that were asked for, and may have more. Any CA
        below the roots may have issued it.
    type: list
    elements: dict
    default: []
    suboptions:
      authority:
        description: The name of the authority, V(server) or a client authority.
        type: str
        required: true
      source:
        description: Where its certificates come from.
        type: dict
        required: true
        suboptions:
          type:
            description:
              - V(own) means an authority in O(directory), as without an entry. With O(sources[].source.directory) and
                O(sources[].source.roots), a company signs its issuing CA, and its root is the company's.
              - V(files) means that people sign. Each request is written to O(sources[].source.directory). A later run
                takes the certificate that was put there.
              - V(openbao) means the PKI secrets engine of OpenBao, or of HashiCorp Vault, which has the same API.
              - V(command) means a program that speaks to any CA.
              - V(acme) means a CA that speaks ACME, such as a public one. It is for the authority V(server) only,
                because ACME cannot prove the name of a role.
              - V(existing) means that something else puts certificates on the servers and renews them. Nothing is
                signed. Module M(pgops.tls.server) takes the files by its option O(pgops.tls.server#module:existing).
                For authority V(server) alone.
            type: str
            choices: [own, files, existing, openbao, command, acme]
            required: true
          dedicated:
            description:
              - Whether the CAs below the roots of this source sign only for roles of this fleet. Required for client
                authorities, because PostgreSQL lets in every certificate below a trusted root whose common name is the
                name of a role. With V(false), servers refuse rules that do not compare whole subjects, see
                O(pgops.tls.server#module:trusted_clients_shared).
            type: bool
          directory:
            description:
              - For V(files) and V(own), the absolute path of the directory for requests and certificates. It is created
                if it is missing.
              - For V(own), C(issuing-ca-AUTHORITY.csr) is the request for an issuing CA. A later run takes the
                certificate that was put there, with the CAs above it. It must be one of a CA that may sign certificates
                and lists, for the purpose of the authority, and outlive the certificates that it is to issue.
              - For V(files), C(ID.csr) is a request, with C(+) for each slash of its id.
              - C(requests.txt) lists all requests with names, usage, key type, and until when each is needed.
              - Certificates are read from all files that end with C(.pem), C(.crt), C(.cer), C(.der), C(.p7b) or
                C(.p7c), as PEM, DER or PKCS#7, with or without their CAs, in any order. The key decides which request
                a certificate is for.
            type: path
          roots:
            description:
              - Absolute path of a file with the certificates of the roots in PEM, and perhaps of CAs below them.
              - Required for V(files), V(existing), V(command) and V(acme). For V(openbao) only if the mount does not
                have the root.
              - For V(own), the company's root below which the issuing CA is to be. To move to another root of the
                company, replace it in this file. Hosts trust the one before until
                O(pgops.tls.certificate_authority#module:phase) has replaced it.
            type: path
          crls:
            description:
              - For V(own) and V(files), absolute path of a file with the company's lists of revoked certificates, in
                PEM or DER. Each run reads it.
              - For V(own), required to revoke a certificate. Servers and clients that check lists want one of every CA
                in a chain, and only the company can sign those of its CAs.
              - For V(files), these lists are deployed when they revoke something, and there is one of each CA.
            type: path
          url:
            description:
              - For V(openbao), the address of the server, such as V(https://bao.example.com:8200).
              - For V(acme), the address of the directory, such as V(https://ca.example.com/acme/directory).
            type: str
          ca_file:
            description:
              - For V(openbao) and V(acme), absolute path of a file with the CAs that verify the server's own
                certificate, in PEM. By default the CAs of the operating system, for V(acme) those of the Python library
                requests.
            type: path
          mount:
            description: For V(openbao), the path of the PKI secrets engine, by default V(pki).
            type: str
          role:
            description: For V(openbao), the name of the role that signs.
            type: str
          token:
            description: For V(openbao), a token that may update C(MOUNT/sign/ROLE). Keep it in a vault.
            type: str
          token_file:
            description: For V(openbao), absolute path of a file with such a token, in place of the token.
            type: path
          approle:
            description: For V(openbao), the login of an AppRole, in place of a token.
            type: dict
            suboptions:
              role_id:
                description: The RoleID.
                type: str
                required: true
              secret_id:
                description: A SecretID. Keep it in a vault.
                type: str
                required: true
          command:
            description:
              - For V(command) and V(acme), the absolute path of a program, then its arguments, which are no secrets. In
                check mode it is not started.
              - For V(command), it reads the requests from its standard input and writes the answers to its standard
                output, both as a JSON object.
              - For V(acme), it reads from its standard input, as a JSON object, what the CA wants to see, and shows
                that. It is called twice, to add and to remove it.
              - The guide "Certificates by a program, or by ACME" describes these objects, and has examples.
            type: list
            elements: str
          timeout:
            description:
              - For V(command) and V(acme), after how many seconds the program is stopped, from 1 to 3600, by default
                120.
              - For V(acme), also how long the CA may take for one certificate.
            type: int
          challenge:
            description:
              - For V(acme), how names are proven. V(http-01) wants a file on port 80 of each name, V(dns-01) a record
                in the DNS.
            type: str
            choices: [http-01, dns-01]
          email:
            description: For V(acme), the address of a new account.
            type: str
          terms_agreed:
            description: For V(acme), agrees to the terms of service of the CA.
            type: bool
"""
