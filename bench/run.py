#!/usr/bin/env python3
"""Compares Ferrix with nginx, HAProxy, Envoy, Traefik and Caddy, and writes docs/benchmarks.md.

    bench/run.py                    everything
    bench/run.py cpu latency        these only, printed; docs/ is left alone
    bench/run.py --resume           goes on with a run that was interrupted
    bench/run.py --resume tls       measures tls again within the last run
    bench/run.py --report-only      writes docs/benchmarks.md again from its figures
    bench/run.py --smoke            tries everything for a moment; its figures mean nothing

A peer or a measurement that fails is named in the report, and the rest goes on.
"""

import argparse
import hashlib
import importlib
import json
import resource
import signal
import sys
import time
from pathlib import Path

from measure import install, machine, proxies, report
from measure.attempt import attempt
from measure.paths import CACHE, RESULTS, ROOT

SCENARIOS = ["cpu", "latency", "websocket", "grpc", "tls", "connections", "filters", "syscalls", "memory", "routes"]
SCENARIOS += ["churn", "workers", "allocations", "instructions"]


def main():
    options = parse_arguments()
    if options.report_only:
        published = options.output / "benchmarks" / "results.json"
        report.write(json.loads(published.read_text()), options.output)
        return
    options.built = options.binary is None
    options.binary = install.install(options.binary)
    raise_file_limit()
    path = CACHE / "smoke.json" if options.smoke else RESULTS
    results = load_results(path, options)
    try:
        measure_all(options, results, path)
    finally:
        print(report.text(results))
    # A smoke run tries that the page can be written, where nobody takes it for figures.
    output = CACHE / "smoke" if options.smoke else options.output
    if set(results["scenarios"]) == set(SCENARIOS):
        report.write(results, output)
        print(f"written: {output / 'benchmarks.md'}", file=sys.stderr)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"all, or some of: {', '.join(SCENARIOS)}")
    add("--binary", type=Path, help="a ferrix to measure instead of building one")
    add("--before", type=Path, help="another ferrix, to be measured in turn with the first")
    add("--peers", help="only these, with commas between")
    add("--routes", type=int, default=1000, help="routes loaded (default: 1000)")
    add("--most-routes", type=int, default=10000, help="where routes are the question (default: 10000)")
    add("--rounds", type=int, default=5, help="interleaved rounds, at most 3 of them where that is enough (default: 5)")
    add("--seconds", type=float, default=2, help="of load in a round (default: 2)")
    add("--latency-seconds", type=float, default=2, help="the same for latencies (default: 2)")
    add("--idle", type=int, default=5000, help="idle connections (default: 5000)")
    add("--requests", type=int, default=5000, help="traced, for system calls, allocations and instructions (default: 5000)")
    add("--output", type=Path, default=ROOT / "docs", help="folder of the report (default: docs)")
    add("--resume", action="store_true", help="go on with the last run")
    add("--report-only", action="store_true", help="measure nothing")
    add("--smoke", action="store_true", help="one round of a moment: does everything work?")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    options.peers = options.peers.split(",") if options.peers else list(proxies.NAMES)
    if set(options.peers) - set(proxies.NAMES):
        parser.error(f"peers are {', '.join(proxies.NAMES)}")
    options.peers += ["before"] if options.before else []
    if options.smoke:
        options.rounds, options.seconds, options.latency_seconds = 1, 0.5, 0.5
        options.idle, options.requests = min(options.idle, 200), 500
    return options


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def load_results(path, options):
    """Of the last run, to go on with it, or of a new one."""
    keys = ["routes", "most_routes", "rounds", "seconds", "latency_seconds", "idle", "requests"]
    new = {
        "sittings": 1,
        "binary": hashlib.sha256(options.binary.read_bytes()).hexdigest()[:12],
        "date": time.strftime("%Y-%m-%d"),
        "options": {key: getattr(options, key) for key in keys},
        "peers": options.peers,
        "machine": machine.describe(options.binary, options.built),
        "scenarios": {},
    }
    if not options.resume or not path.exists():
        return new
    last = json.loads(path.read_text())
    # Figures of two programs, or of two ways to measure, do not belong on one page.
    for key in ("binary", "options", "peers"):
        if last[key] != new[key]:
            sys.exit(f"the last run had another {key}: {last[key]}; begin a new one, without --resume")
    return {**last, "sittings": last["sittings"] + 1}


def measure_all(options, results, path):
    chosen = [name for name in SCENARIOS if name in options.scenarios]
    missing = [name for name in SCENARIOS if name not in results["scenarios"]]
    with proxies.Bench(options.binary, options.peers, options.before) as bench:
        # By their names they are measured again.
        for name in chosen or missing:
            results["scenarios"][name] = measure(name, bench, options)
            path.write_text(json.dumps(results, indent=1) + "\n")


def measure(name, bench, options):
    scenario = lambda: importlib.import_module(f"measure.{name}").measure(bench, options)
    return attempt(name, options.smoke, scenario)


if __name__ == "__main__":
    # Proxies are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
