"""Run the collection's main job on a throw-away PostgreSQL cluster of this machine, or clean up after it.

``demo.py up`` makes a cluster in a temporary directory, runs site.yml on it and prints a psql command that works.
``demo.py down`` stops the cluster and removes everything. Needs nothing but Python's standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".cache" / "demo"
STATE = CACHE / "state.json"  # where the cluster is, and which packages the demo installed
PROGRAMS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
ROLES = ("app", "report")
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/pgops-demo.conf")


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"demo: {text}", flush=True)


def command(argv: list[str], account: str) -> list[str]:
    """Return a command so that ``account`` runs it, which differs from the caller only for root."""
    return ["runuser", "-u", account, "--", *argv] if os.geteuid() == 0 and account != "root" else argv


def run(argv: list[str], account: str = "root") -> str:
    """Run a command without the caller's PG* variables and return its output; stop with that when it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    argv = command(argv, account)
    # a file, not a pipe: a server that it starts would keep a pipe open
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(argv, stdout=output, stderr=subprocess.STDOUT, cwd="/", env=environment, check=False)
        output.seek(0)
        text = output.read()
    if done.returncode != 0:
        sys.exit(f"demo: {shlex.join(argv)} failed with status {done.returncode}:\n{text}")
    return text


def state() -> dict[str, object]:
    """Return what an earlier run noted."""
    return json.loads(STATE.read_text(encoding="utf-8")) if STATE.exists() else {}


def note(**facts: object) -> None:
    """Remember facts for the next run and for cleaning up."""
    CACHE.mkdir(parents=True, exist_ok=True)
    STATE.write_text(json.dumps({**state(), **facts}, indent=1), encoding="utf-8")


def ansible() -> Path:
    """Make the virtual environment with ansible-core and cryptography, once; return its directory of programs."""
    home = CHECKOUT / ".venv"
    if not (home / "bin" / "python").exists():
        say("creating the virtual environment .venv")
        venv.create(home, with_pip=True)
    wanted = CHECKOUT / "requirements.txt"
    installed = home / "requirements.txt"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        say("installing ansible-core and cryptography into .venv (about 20 seconds)")
        run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--requirement", str(wanted)])
        shutil.copyfile(wanted, installed)
    return home / "bin"


def server_programs() -> Path:
    """Return the directory of PostgreSQL's server programs; install the distribution's package if need be."""
    found = _programs_here()
    if found is None:
        _install_package()
        found = _programs_here()
    if found is None:
        sys.exit(
            f"demo: no PostgreSQL server programs (initdb) in {', '.join(PROGRAMS)} or in PATH. Install PostgreSQL."
        )
    return found


def _programs_here() -> Path | None:
    in_path = shutil.which("initdb")
    directories = [path for pattern in PROGRAMS for path in glob.glob(pattern) if (Path(path) / "initdb").exists()]
    newest = max(directories, key=lambda path: int("".join(filter(str.isdigit, path)) or 0), default=None)
    return Path(newest) if newest else Path(in_path).resolve().parent if in_path else None


def _install_package() -> None:
    if os.geteuid() != 0 or not Path("/usr/bin/apt-get").exists():
        sys.exit("demo: PostgreSQL's server programs are missing. Install them (for root on Debian the demo does it).")
    say("installing the distribution's package postgresql (make demo-clean removes it again)")
    before = _packages()
    NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    NO_CLUSTER.write_text("create_main_cluster = false\n", encoding="utf-8")  # the demo makes a cluster of its own
    try:
        for argv in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "postgresql"]):
            run(["/usr/bin/env", "DEBIAN_FRONTEND=noninteractive", "/usr/bin/apt-get", *argv])
    finally:
        NO_CLUSTER.unlink()
        note(packages=sorted(_packages() - before))


def _packages() -> set[str]:
    form = "${db:Status-Abbrev} ${Package}\n"
    listed = subprocess.run(
        ["/usr/bin/dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[1] for line in listed.splitlines() if line.startswith("ii")}


def account() -> str:
    """Return who runs the cluster: the caller, or postgres for root, as PostgreSQL refuses to run as root."""
    caller = pwd.getpwuid(os.geteuid()).pw_name
    if caller != "root":
        return caller
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    sys.exit(
        "demo: for root the cluster runs as the OS user postgres, and there is none. Install PostgreSQL's package."
    )


def cluster(programs: Path) -> Path:
    """Make the cluster, or start the one of an earlier run; return the demo's directory."""
    home = Path(str(state().get("home", "/nonexistent")))
    if not (home / "data" / "PG_VERSION").exists():
        home = _new_cluster(programs)
    port = str(state()["port"])
    control = [str(programs / "pg_ctl"), "-D", str(home / "data")]
    if not _is_running(home):
        say(f"starting PostgreSQL on port {port} of this machine")
        run([*control, "-l", str(home / "log"), "-w", "-o", f"-p {port} -k {home}", "start"], account())
    for role in ROLES:
        sql = f"DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        psql = [str(programs / "psql"), "-XAtq", "-h", str(home), "-p", port, "-d", "postgres", "-f", "-"]
        subprocess.run(command(psql, account()), input=sql, text=True, check=True, cwd="/")
    return home


def _is_running(home: Path) -> bool:
    return (home / "data" / "postmaster.pid").exists() and bool(glob.glob(str(home / ".s.PGSQL.*")))


def _new_cluster(programs: Path) -> Path:
    home = Path(tempfile.mkdtemp(prefix="pgops-demo-"))  # short: a socket's path has at most 107 bytes
    owner = pwd.getpwnam(account())
    home.chmod(0o755)
    os.chown(home, owner.pw_uid, owner.pw_gid)
    (home / "client").mkdir(mode=0o700)
    note(home=str(home), port=_free_port())
    say(f"creating a PostgreSQL cluster in {home}")
    options = ["--auth=peer", "--encoding=UTF8", "--no-sync", "--username", owner.pw_name]
    run([str(programs / "initdb"), "--pgdata", str(home / "data"), *options], account())
    return home


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def inventory(home: Path) -> Path:
    """Write the inventory of the demo: this machine is the server, the client and the home of the authorities."""
    caller = pwd.getpwuid(os.geteuid()).pw_name
    identities = [{"role": role, "os_user": caller, "home": str(home / "client")} for role in ROLES]
    hosts = {"hosts": {"localhost": None}}
    content = {
        "all": {
            "vars": {
                "ansible_connection": "local",
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                "ansible_become": False,
                "postgres_ca_directory": str(CACHE / "ca"),
                "postgres_server_port": state()["port"],
                "postgres_server_login_unix_socket": str(home),
                "postgres_server_directory": str(home / "tls"),
                "postgres_server_names": ["localhost", "127.0.0.1"],
                "postgres_client_identities": identities,
            },
            "children": {"postgres_servers": hosts, "postgres_clients": hosts},
        }
    }
    path = CACHE / "inventory.json"
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path


def up() -> int:
    """Make everything and run the main job."""
    programs = ansible()
    server = server_programs()
    home = cluster(server)
    say("running ansible-playbook site.yml")
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(CACHE / "ansible"),
        "ANSIBLE_REMOTE_TMP": str(CACHE / "ansible" / "remote"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
    }
    argv = [str(programs / "ansible-playbook"), "-i", str(inventory(home)), "site.yml"]
    done = subprocess.run(argv, cwd=CHECKOUT, env=environment, check=False)
    if done.returncode != 0:
        return done.returncode
    files = home / "client" / ".postgresql"
    parameters = f"host=localhost port={state()['port']} user={ROLES[0]} dbname=postgres sslmode=verify-full"
    own = f"sslrootcert={files}/root.crt sslcert={files}/postgresql.crt sslkey={files}/postgresql.key"
    say("the server uses TLS. Copy this command to connect. Run make demo-clean to remove the demo:")
    print(f"\n  {server / 'psql'} '{parameters} {own}'\n")
    return 0


def down() -> int:
    """Stop the cluster and remove all that the demo made or installed."""
    found = state()
    home = Path(str(found.get("home", "/nonexistent")))
    programs = _programs_here()
    if programs and _is_running(home):
        say("stopping PostgreSQL")
        run([str(programs / "pg_ctl"), "-D", str(home / "data"), "-m", "immediate", "-w", "stop"], account())
    shutil.rmtree(home, ignore_errors=True)
    _remove_packages([str(name) for name in found.get("packages", ())])  # type: ignore[attr-defined]
    shutil.rmtree(CACHE, ignore_errors=True)
    say("the demo is removed, except the virtual environment .venv (make clean removes it)")
    return 0


def _remove_packages(names: list[str]) -> None:
    """Remove the packages that the demo installed, unless other packages came to need them since."""
    if not names:
        return
    plan = subprocess.run(
        ["/usr/bin/apt-get", "-s", "purge", *names], capture_output=True, text=True, check=True
    ).stdout
    doomed = {line.split()[1] for line in plan.splitlines() if line.startswith("Purg ")}
    if doomed - set(names):
        say(f"kept these packages, because other packages need them now: {' '.join(names)}")
        return
    say(f"removing the {len(names)} packages that the demo installed")
    run(["/usr/bin/env", "DEBIAN_FRONTEND=noninteractive", "/usr/bin/apt-get", "-y", "-q", "purge", *names])


def main() -> int:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    return up() if parser.parse_args().command == "up" else down()


if __name__ == "__main__":
    sys.exit(main())
