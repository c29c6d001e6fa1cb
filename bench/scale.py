#!/usr/bin/env python3
"""How Ferrix scales with what is in a cluster, and what it keeps apart; writes it into docs/benchmarks.md.

    cluster/cluster up
    cluster/cluster gateway-api
    cargo build --release --locked -p ferrix
    cluster/cluster exec bench/scale.py target/release/ferrix
    cluster/cluster down

    bench/scale.py BINARY probe         these scenarios only, printed; docs/ is left alone
    bench/scale.py BINARY --smoke       tries everything with little; its figures mean nothing

A scenario that fails is named, and the rest goes on. What a scenario made it takes away.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from measure import cluster, machine, report, scale
from measure.attempt import attempt
from measure.failure import Failure
from measure.paths import ROOT


def main():
    options = parse_arguments()
    api = cluster.Api()
    cluster.install(api, options.binary)
    scale.gateway_class(api)
    chosen = [name for name in scale.SCENARIOS if name in (options.scenarios or scale.SCENARIOS)]
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "ferrix": machine.version([str(options.binary.resolve()), "--version"], r"(\d\S+)"),
        "machine": machine.hardware(),
        "scenarios": {},
    }
    for name in chosen:
        results["scenarios"][name] = measure(name, api, options)
        print(report.scale_table({name: results["scenarios"][name]}), flush=True)
    if chosen == list(scale.SCENARIOS) and not options.smoke:
        report.write_scale(results, options.output)
        print(f"written: {options.output / 'benchmarks.md'}", file=sys.stderr)
    failed = [name for name, scenario in results["scenarios"].items() if "error" in scenario["data"]]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("binary", type=Path)
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"all, or some of: {', '.join(scale.SCENARIOS)}")
    add("--output", type=Path, default=ROOT / "docs", help="folder of the report (default: docs)")
    add("--attached", type=int, default=1000, help="routes on one Gateway (default: 1000)")
    add("--probes", type=int, default=3000, help="routes made one at a time (default: 3000)")
    add("--probe-seconds", type=float, default=180, help="no more of them after this (default: 180)")
    add("--changes", type=int, default=20, help="of a route under requests (default: 20)")
    add("--churn-routes", type=int, default=5000, help="routes with churn (default: 5000)")
    add("--churn-namespaces", type=int, default=50, help="in so many namespaces (default: 50)")
    add("--seconds", type=float, default=30, help="of churn, and of rest (default: 30)")
    add("--listener-sets", type=int, default=2500, help="of one listener each (default: 2500)")
    add("--routes-of-set", type=int, default=16, help="of each of them (default: 16)")
    add("--sets-seconds", type=float, default=400, help="no more of them after this (default: 400)")
    add("--down-seconds", type=float, default=2, help="for which a backend is away (default: 2)")
    add("--smoke", action="store_true", help="a little of everything: does it work?")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(scale.SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(scale.SCENARIOS)}")
    if options.smoke:
        options.attached, options.probes, options.changes = 50, 20, 4
        options.churn_routes, options.churn_namespaces, options.seconds = 40, 4, 2
        options.listener_sets, options.routes_of_set, options.down_seconds = 10, 2, 0.5
    return options


def measure(name, api, options):
    scenario = scale.SCENARIOS[name]
    return attempt(name, options.smoke, lambda: scenario(api, options.binary.resolve(), options))


if __name__ == "__main__":
    # Ferrix and the backends are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        main()
    except Failure as failure:
        sys.exit(f"scale: {failure}")
