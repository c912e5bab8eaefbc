# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of pg_hba.conf and pg_ident.conf made up at random: right ones, wrong ones, and everything between."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

TYPES = ["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"]
ODD_TYPES = ["HOST", "hostsll", "host,hostssl", '"host"', "host,", ",host", "@types", "\ufeffhost", "include"]
NAMES = [
    "all", "sameuser", "samerole", "samegroup", "replication", "app", "a,b", "a, b", '"a b"', 'a"b"c', '"a""b"',
    "+staff",
    "@users", "@nested", '@"two words"', "app,@users", '"@users"', '""', "ünï-cødé", "a\\b", '"a#b"', '"all"',
    "日本", "$x;y'",
    "/^a.*$", "/^(app|web)_[0-9]+$", r"/^\w+\.prod$", "/[[:alpha:]]{1,3}x", "/(?i)x(?:y|z)*?", r"/(a)(b)\2",
    '"/a b"', "/",
    r"/\y\u00e9\x41\101", "/[a-f0-9_-]{8,}", "/a{255}", r"/[\w.-]+", "/(?=a)b", "/[]a]", "/[^]-]", "/***=(",
    "/a|", "/()",
]  # fmt: skip
ODD_NAMES = [
    "@missing", "@empty", "@", "@folder", "@broken", "a#b", "a,", ",", '"open', "a\u00a0b", "\x0bx", "/[", "/(",
    "/a)", "/*a",
    "/a**", "/a{3,1}", "/a{256}", r"/\1", r"/(a\1)", r"/\q", "/[[:alfa:]]", "/[z-a]", "/(?<a)", "/***", "/^*",
    "/a\\", '"/["', "/a{1",
    r"/[\y]", r"/\u12", "/[a-\\d]", "/(?zz)a", "a,/[", "/(?=a)*", r"/\18", "/[[:<:]]x", "/[a-b-c]",
    "/[[.a.]-c]", "/[[==]]",
]  # fmt: skip
ADDRESSES = [
    "all", "samehost", "samenet", "10.0.0.0/8", "10.0.0.0 255.0.0.0", "192.0.2.7/32", "::1/128", "fe80::/10",
    ".example.org",
    "db.example.org", "2001:db8::1 ffff::", "0.0.0.0/0", "::/0", "10.1 255.255.255.255", "127.1/8", "0x7f.1/8",
    '"all"',
    "1.2.3.4/+8", "1.2.3.4/08", "::ffff:10.0.0.1/128", "a_b", "999.1.1.1", '""', "1.2.3.4 0.0.0.1",
    "fe80::1%1/64", "-",
    "0177.1 255.0.0.255", "0x7f000001/32", "2130706433 255.0.0.0", "127.0.0.1 10.1", "1.2.3.4/-0", "1.2.3.4/0",
    "fe80::1%lo/64",
    "fe80::1%lo ::", "::1%1 ffff::ffff", "fe80::1%nolink", "::1%lo", '"127.1" "255.255.255.255"', '"127.1/8"',
    "0.0.0.0 0.0.0.0",
    '"samenet"', "LOCALHOST", "1.2.3.4.5", "127.0.0.256", "::ffff:10.1", "0:0:0:0:0:0:0:1/128", "::1 0::1",
    "010.08.0.1",
]  # fmt: skip
ODD_ADDRESSES = [
    "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8x", "::1/129", "db.example.org/8",
    "10.0.0.0 ffff::",
    "::1 255.0.0.0", "10.0.0.0/8,10.1.0.0/16", "10.0.0.0 255.0.0.0,255.0.0.0", "10.0.0.0 mask",
    "10.0.0.0/8 255.0.0.0",
    "@users", "1.2.3.4/8/8", "/8", "1.2.3.4/ 8", "samehost/8", "db.example.org 255.0.0.0", '1.2.3.4/" 8"',
    "1.2.3.4/99999999999",
    "fe80::1%nolink/64", "fe80::1%nolink ffff::", "10.1", "0x7f.1", "::1%lo/128", "010.08.0.1/8", "127.1 255.0.0.0x",
    "all 255.0.0.0",
]  # fmt: skip
# Method -> the options that make it right
METHODS: dict[str, list[str]] = {
    **{name: [""] for name in ("trust", "reject", "scram-sha-256", "md5", "password")},
    **{name: [""] for name in ("ident", "peer", "cert", "pam", "gss")},
    "ldap": [
        "ldapserver=ldap.example.org ldapprefix=cn= ldapsuffix=,dc=x", "ldapbasedn=dc=x",
        "ldapurl=ldap://h/dc=x?uid?sub",
        'ldapprefix="cn=" ldapsuffix=", dc=x"', 'ldapbasedn="dc=x, dc=y" ldapsearchfilter="(uid=$username)"',
        "ldapurl=ldaps://h:636/dc=x??one?(uid=x)", "ldapserver=h ldapbasedn=dc=x ldapsearchattribute=uid ldaptls=1",
    ],
    "radius": [
        "radiusservers=127.0.0.1 radiussecrets=x",
        'radiusservers="127.0.0.1,::1" radiussecrets="a,b" radiusports="1,2"',
        'radiusservers=localhost radiussecrets="""a b"""',
        'radiusservers="127.0.0.1, ::1" radiussecrets=x radiusidentifiers=i',
    ],
    "oauth": [
        "issuer=https://x.example scope=openid validator=one",
        'issuer=https://x.example scope="a b" validator=two map=x',
        "scope=a issuer=b delegate_ident_mapping=1 validator=one",
    ],
}  # fmt: skip
# Method -> the first and the last version that has it, and its types, where those are not all
PLACES: dict[str, tuple[int, int, list[str]]] = {
    "cert": (0, 99, ["hostssl"]), "peer": (0, 99, ["local"]), "gss": (0, 99, TYPES[1:]), "oauth": (18, 99, TYPES),
    "radius": (0, 18, TYPES),
}  # fmt: skip
ODD_METHODS = ["sspi", "bsd", "Trust", "krb5", "trust,md5", '"md5"', "mask", "@methods", "scram"]
VALUES: dict[str, list[str]] = {
    "clientcert": ["verify-ca", "verify-full", "1", "0", "no-verify", "", "Verify-CA", "verify-full "],
    "clientname": ["CN", "DN", "cn", ""],
    "map": ["x", "", '"a b"'],
    "include_realm": ["0", "1", "maybe"],
    "krb_realm": ["X"],
    "compat_realm": ["1"],
    "upn_username": ["1"],
    "pamservice": ["x", ""],
    "pam_use_hostname": ["1", "0"],
    "ldapurl": [
        "ldap://h/dc=x", "ldap://h/dc=x?uid?sub?(a=b)", "ldap://h/x???(a=b)",
        "ldap://h", "ldapi://h/dc=x", "http://h/", "ldap://h:x/dc=x", "ldap:///dc=x?uid?base",
        "ldap://h/",
        "ldap://[::1]:389/dc=x", "ldap://[::1/dc=x", "ldap://h/dc=x?uid?all", "LDAP://h/dc=x",
        "<ldap://h/dc=x>", "ldap://h:/x",
        "ldap://h/x????", "ldap://h/x????a", "ldap://h/x???%zz", "URL:ldap://h/x", "ldap://h/x?u?one?f?e?g",
        "ldap://h?x?y", "",
    ],
    "ldaptls": ["1", "x"],
    "ldapscheme": ["ldap", "ldaps", "http"],
    "ldapserver": ["h", ""],
    "ldapport": ["389", "0", "x", "-1", " 5", "4294967296", "99999999999999999999", "5x", "+0"],
    "ldapbinddn": ["cn=x"],
    "ldapbindpasswd": ["secret", '"s "" x"'],
    "ldapsearchattribute": ["uid"],
    "ldapsearchfilter": ["(uid=x)"],
    "ldapbasedn": ["dc=x", ""],
    "ldapprefix": ["cn="],
    "ldapsuffix": ["x", '"end\\"'],
    "radiusservers": [
        "127.0.0.1", '"127.0.0.1,::1"', '"a b"', '"127.0.0.1,"', '""', '"127.0.0.1 ,  ::1"', "@!", "a,b",
    ],
    "radiusports": ["1812", '"1,2"', '"1,x"', '"1,,2"', "0", '"1,2,3"', '""'],
    "radiussecrets": ["x", '"a,b"', '"a,b,c"', '"""a,b"",c"', '"a b"', '""', '""""""', '"""a"'],
    "radiusidentifiers": ["x", '"a,b"', '"a,b,c"', '",a"'],
    "issuer": ["x"],
    "scope": ["x", '"a b"'],
    "validator": ["one", "two", "three", ""],
    "delegate_ident_mapping": ["1", "0"],
    "validator.x": ["y"],
    "unknown": ["x"],
    "MAP": ["x"],
}  # fmt: skip
# Method -> the options that belong to it
OWN = {
    **{method: [name for name in VALUES if name.startswith(method)] for method in ("ldap", "radius", "pam")},
    "oauth": ["issuer", "scope", "validator", "delegate_ident_mapping", "validator.x", "map"],
    "cert": ["clientcert", "clientname", "map"],
    "md5": ["clientcert", "clientname"],
    "gss": ["include_realm", "krb_realm", "map"],
}
# Without what is not decided: options that change the syntax, named collating elements
EXPRESSION_PARTS = [
    *"abz019-]^$.|*+?(){,}&é", "(", ")", "[", "]", "\\", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?#", "(?i)", "(?c",
    "***", "***=", "[:alpha:]", "[:word:]", "[:x:]", "[[:<:]]", "[^", "[=a=]", "[.-.]", "{2}", "{2,1}", "{0,}", "{255}",
    "{256}", "*?", "\\1", "\\2",
    "\\12", "\\x4", "\\u00e", "\\u00e9", "\\w", "\\D", "\\A", "\\y", "\\q", "\\cx", "\\0", "\\08", "a-z", "z-a",
    "[]", "(a)", "[a",
]  # fmt: skip
# What the texts refer to: path -> content
OTHERS = {
    "users": 'app, web\n# nobody\n"x y" z\n',
    "nested": "web\n@users\n",
    "two words": "x",
    "empty": "# nothing\n",
    "types": "host\n",
    "methods": "md5",
    "broken": "a\n@missing\n",
    "good.conf": "host all all all md5\n\nlocal all all peer\n",
    "bad.conf": "host all all all md5\nhost all all\nlocal all all nothing\n",
    "outer.conf": "include good.conf\ninclude_dir folder\nlocal all all wrong\n",
    "loop.conf": "local all all trust\ninclude loop.conf\n",
    "folder/20.conf": "host all all wrong md5\nhost all all 1.2.3.4 md5\n",
    "folder/10.conf": "include ../users\nlocal all @../users peer\n",
    "folder/.hidden.conf": "wrong\n",
    "folder/readme.txt": "wrong\n",
    "folder/sub.conf/x": "",
    "mappings.conf": "m a b\nm c\n",
    "right/rules.conf": "# none\n",
    "right/.hidden.conf": "wrong\n",
    "right/readme": "wrong\n",
    "deep1.conf": "# the tenth file that is named is the last one to be read\n",
    **{f"deep{number}.conf": f"include deep{number - 1}.conf\n" for number in range(2, 12)},
}
RIGHT_DIRECTIVES = [
    "include_dir right",
    "include deep10.conf",
    "include good.conf",
    "include_if_exists missing.conf",
    'include "good.conf" # x',
    "include folder",
]
DIRECTIVES = [
    "include good.conf", "include bad.conf", "include missing.conf", "include_if_exists missing.conf",
    "include_dir folder",
    "include_if_exists bad.conf", "include_dir missing", 'include "good.conf" # x', "include good.conf more",
    "include outer.conf",
    "include @users", 'include ""', 'include_dir " "', '"include" good.conf', "include,x good.conf,bad.conf",
    "INCLUDE good.conf",
    "include folder", "include mappings.conf", "include loop.conf",
    "include deep11.conf", "include_dir folder extra", "include",
]  # fmt: skip
IDENT_ODD = [
    "m a",
    "m",
    "m a,b c",
    "m,n a b",
    "m a b c",
    "m a b,c",
    "m @users b",
    "m @empty a b",
    "m a @users",
    "m /( b",
    "m b /(",
]
SEPARATORS = [" ", " ", " ", "\t", "   ", " \t", "\r"]  # the last one up to version 18
NOISE = [
    '"',
    ",",
    "#",
    "\\",
    " ",
    "@",
    "/",
    "=",
    "\r",
    "\0",
    "x",
    '""',
    "\\\n",
    "\n",
    "é",
    "\udcff",
    "\u00a0",
    "\\\\\n",
]


def write_others(folder: Path) -> list[Path]:
    """Write the files that texts refer to; return all paths, directories included."""
    for name, content in OTHERS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in OTHERS] + [folder / "folder", folder / "folder" / "sub.conf"]


def hba_file(chance: random.Random, major: int) -> str:
    """Return a text of pg_hba.conf."""
    wrong = chance.choice((0.0, 0.0, 0.02, 0.05, 0.2))  # how much of it is
    return _file(chance, [_rule(chance, wrong, major) for _line in range(chance.randint(0, 6))], wrong)


def ident_file(chance: random.Random, major: int) -> str:
    """Return a text of pg_ident.conf."""
    wrong = chance.choice((0.0, 0.03, 0.3))
    return _file(chance, [_mapping(chance, wrong, major) for _line in range(chance.randint(0, 6))], wrong)


def _either(chance: random.Random, wrong: float, right: Sequence[str], odd: Sequence[str]) -> str:
    return chance.choice(odd if chance.random() < wrong else right)


def _rule(chance: random.Random, wrong: float, major: int) -> str:
    if chance.random() < 0.08:
        return _directive(chance, wrong, major)
    if chance.random() < wrong:
        return _options(chance, major)
    kind = _either(chance, wrong / 2, TYPES, ODD_TYPES)
    fields = [kind, _either(chance, wrong, NAMES, ODD_NAMES), _either(chance, wrong, NAMES, ODD_NAMES)]
    if kind != "local":
        fields.append(_either(chance, wrong, ADDRESSES, ODD_ADDRESSES))
    method = _either(chance, wrong / 2, list(METHODS), ODD_METHODS)
    if chance.random() > wrong and not _fits(kind, method, major):
        method = "md5"
    fields += [method, chance.choice(METHODS.get(method, [""]))]
    for name in chance.sample(sorted(VALUES), chance.choice((0, 0, 0, 1, 1, 2)) if wrong else 0):
        fields.append(f"{name}={chance.choice(VALUES[name])}")
    if kind == "hostssl" and chance.random() < 0.4:
        fields.append(f"clientcert={chance.choice(VALUES['clientcert'][: 8 if wrong else 2])}")
    return _joined(chance, fields, wrong, major)


def _options(chance: random.Random, major: int) -> str:
    """Return a rule in which nothing can be wrong but the options of its method."""
    method = chance.choice([one for one in [*OWN, "ldap", "radius", "oauth"] if _fits("hostssl", one, major)])
    options = [chance.choice(["", *METHODS[method] * 3])]
    options += [f"{name}={chance.choice(VALUES[name])}" for name in chance.choices(OWN[method], k=chance.randint(0, 3))]
    return " ".join(["hostssl all all all", method, *options])


def _fits(kind: str, method: str, major: int) -> bool:
    first, last, kinds = PLACES.get(method, (0, 99, TYPES))
    return first <= major <= last and kind in kinds


def _directive(chance: random.Random, wrong: float, major: int) -> str:
    if chance.random() >= wrong:
        return chance.choice(RIGHT_DIRECTIVES) if major >= 16 else ""
    return chance.choice([one for one in DIRECTIVES if major >= 16 or "loop" not in one])


def _mapping(chance: random.Random, wrong: float, major: int) -> str:
    if chance.random() < wrong / 2:
        return chance.choice([*IDENT_ODD, _directive(chance, wrong, major)])
    names = ["people", *(_either(chance, wrong, NAMES, ODD_NAMES) for _field in range(2))]
    # a list is one word too many here
    names = [name if "," not in name or chance.random() < wrong else "app" for name in names]
    return _joined(chance, names, wrong, major)


def _joined(chance: random.Random, fields: list[str], wrong: float, major: int) -> str:
    if chance.random() < wrong:
        at = chance.randrange(len(fields))
        fields[at : at + 1] = chance.choice(
            [[], [fields[at]] * 2, [f'"{fields[at]}"'], [fields[at].upper()], [fields[at][:-1]]]
        )
    separators = SEPARATORS if major < 19 or chance.random() < wrong else SEPARATORS[:-1]
    line = "".join(field + chance.choice(separators) for field in fields)
    while chance.random() < wrong:
        at = chance.randrange(len(line) + 1)
        line = line[:at] + chance.choice(NOISE) + line[at + chance.randint(0, 1) :]
    return line + chance.choice(["", "", "# a note", ' # it"s', "\\\n" if wrong else ""])


def _file(chance: random.Random, lines: list[str], wrong: float) -> str:
    for _extra in range(chance.randint(0, 3)):
        lines.insert(chance.randint(0, len(lines)), chance.choice(["", "# a note", " \t", "#\\", ",", "# x \\\\"]))
    if chance.random() < wrong / 5:
        lines.insert(chance.randint(0, len(lines)), _long(chance))
    end = chance.choice(["\n", "\n", "\r\n"])
    return ("\ufeff" if chance.random() < wrong / 8 else "") + end.join(lines) + chance.choice([end, "", "\\", "\\\n"])


def _long(chance: random.Random) -> str:
    """Return a line with a word, or as a whole, about as long as a server before 16 takes."""
    size = chance.choice([200, 10240, 10240, 10240, 20479]) + chance.randint(-3, 2)
    word = chance.choice(["x", "é", '"a b"', "a,"]) * size
    word = word.encode()[:size].decode("utf-8", "ignore")
    return chance.choice(
        ["local all {} trust", "local all {},a trust", 'local all "{}" trust', "# {}", "local all all md5 {}"]
    ).format(word)


def expression(chance: random.Random) -> str:
    """Return a regular expression, or what looks like one."""
    return "".join(chance.choices(EXPRESSION_PARTS, k=chance.randint(1, 8)))
