"""What a run costs, on fleets of 1, 4 and 12 servers, beside what Ansible itself cannot do without: "make bench".

Writes the table and the plot of the documentation, and fails when a target is missed.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import authority, results
from bench.fleet import CLIENTS, ROOT, Cost, Fleet

SITE, FLOOR = ROOT / "playbooks" / "site.yml", ROOT / "tests" / "bench" / "floor.yml"
SIZES = (1, 4, 12)  # servers
REPEATS = 3  # of what costs little; the median counts
RATIOS = {12: (1.4, 1.7)}  # a run that changes nothing, to the floor, by servers: without the verification, and with it
RATE, MEMORY, LEDGER_CPU = 1500, 500, 1.0  # certificates a second and core, MB, seconds of CPU


@dataclass
class Measured:
    """What the runs on a fleet cost, and the floors: plays that do nothing, in as many executions."""

    servers: int
    first: Cost
    converged: Cost
    converged_floor: Cost
    no_op: Cost
    no_op_floor: Cost
    renewal: Cost
    renewal_floor: Cost


def measure(servers: int, state: Path) -> Measured:
    """Set up a fleet, and measure."""
    fleet = Fleet(servers, state)
    fleet.start()
    first = fleet.run(SITE)
    quiet = [
        (fleet.run(SITE, "--skip-tags=verify"), floor(fleet, 1, verify=0), fleet.run(SITE), floor(fleet, 1))
        for _time in range(REPEATS)
    ]
    renewal = fleet.run(SITE, postgres_server_renew=True, postgres_client_renew=True)
    converged, converged_floor, no_op, no_op_floor = (median(list(costs)) for costs in zip(*quiet))
    return Measured(servers, first, converged, converged_floor, no_op, no_op_floor, renewal, floor(fleet, 2))


def floor(fleet: Fleet, calls: int, verify: int = 1) -> Cost:
    """Measure a play with as many executions as a run has in which every module is called so often.

    A client host has one more for the verification, if there is one, the CA host one for servers and one for clients.
    """
    return fleet.run(FLOOR, floor_authority=2 * calls - 1, floor_servers=calls, floor_clients=calls + verify)


def median(costs: list[Cost]) -> Cost:
    """Return the run with the median of the seconds of CPU."""
    middle = statistics.median_low(cost.cpu for cost in costs)
    return next(cost for cost in costs if cost.cpu == middle)


def misses(fleets: list[Measured], signing: authority.Costs) -> list[str]:
    """Return a sentence for each target that was missed."""
    found = []
    for one in fleets:
        pairs = ((one.converged, one.converged_floor), (one.no_op, one.no_op_floor))
        for (run, least), wanted_ratio in zip(pairs, RATIOS.get(one.servers, ())):
            ratio = run.cpu / least.cpu
            if ratio > wanted_ratio:
                found.append(
                    f"{one.servers} servers: a run that changes nothing is {ratio:.2f} times the floor, "
                    f"not {wanted_ratio}"
                )
        for run, calls, name in ((one.no_op, 1, "a run that changes nothing"), (one.renewal, 2, "a renewal")):
            wanted = {host: calls + (host in CLIENTS) for host in run.executions}
            if run.executions != wanted:
                found.append(f"{one.servers} servers: {name} has {run.executions} executions, not {wanted}")
    if signing.rate < RATE:
        found.append(f"{signing.rate:.0f} certificates a second and core, not {RATE}")
    if signing.signing.memory > MEMORY:
        found.append(f"signing takes {signing.signing.memory:.0f} MB, not {MEMORY}")
    if signing.no_op.cpu > LEDGER_CPU:
        found.append(f"a run without changes on a long ledger takes {signing.no_op.cpu:.2f} s of CPU, not {LEDGER_CPU}")
    return found


def main(state: Path) -> int:
    """Measure everything, write the results down and name what was missed."""
    shutil.rmtree(state, ignore_errors=True)
    fleets = []
    for servers in SIZES:
        print(f"-- {servers} servers, {len(CLIENTS)} client hosts", flush=True)
        fleets.append(measure(servers, state / str(servers)))
        print("\n".join(results.rows([fleets[-1]])), flush=True)
    print("-- the authority", flush=True)
    signing = authority.measure(state)
    print("\n".join(results.sentences(signing)), flush=True)
    results.write(fleets, signing)
    missed = misses(fleets, signing)
    print("\n".join(f"MISSED: {miss}" for miss in missed) or "all targets were reached", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
