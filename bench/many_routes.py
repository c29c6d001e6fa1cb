#!/usr/bin/env python3
"""What many routes cost Ferrix in a cluster: time to ready, and memory.

    cluster/cluster up
    cargo build --release --locked -p ferrix
    cluster/cluster exec bench/many_routes.py target/release/ferrix
    cluster/cluster down

Makes routes, each with a Service and an EndpointSlice of one endpoint, unless they are there already,
and starts Ferrix beside the cluster as often as --rounds says. It prints one line a round: seconds from
the start to the first 200 of /readyz, and resident memory in MB (decimal) then, after it has come to
rest, after /report was read, and the most that there ever was.
"""

import argparse
import json
import sys
from pathlib import Path

from measure.cluster import Api, Ferrix, in_parallel, install
from measure.failure import Failure

HTTP = 18003
NAMESPACE = "many-routes"
SETTLED = 15  # seconds without less memory than before
SETTINGS = {"entry_points": [{"name": "web", "port": HTTP, "secure": False}]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--routes", type=int, default=11000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    api = Api()
    install(api, options.binary)
    api.namespace(NAMESPACE)
    in_parallel(lambda number: make(api, number), range(options.routes))
    for _ in range(options.rounds):
        print(json.dumps(measure(options.binary)), flush=True)


def make(api, number):
    name = f"route-{number}"
    api.service(NAMESPACE, name, [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"])
    api.ingress_route(NAMESPACE, name, "web", f"{name}.example.com", name)


def measure(binary):
    with Ferrix(binary, SETTINGS) as ferrix:
        at_ready, _ = ferrix.memory()
        rest = ferrix.settle(SETTLED)
        _, report = ferrix.ask("/report")
        entries = len(json.loads(report)["entries"])
        after, most = ferrix.memory()
    figures = {"ready": round(ferrix.ready, 2), "at_ready": at_ready, "at_rest": rest, "after_report": after}
    return {"entries": entries, **figures, "most": most}


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"many_routes: {failure}")
