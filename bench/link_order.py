#!/usr/bin/env python3
"""Finds out which functions Ferrix runs in a cluster, and writes crates/ferrix/link-order.txt, by which the
linker puts them together.

    cluster/cluster up
    cluster/cluster gateway-api
    cargo rustc --release --locked -p ferrix --bin ferrix -- -C strip=none
    cluster/cluster exec bench/link_order.py target/release/ferrix
    cluster/cluster down

The binary needs its symbols. valgrind's callgrind tells which functions run while Ferrix starts, takes in
IngressRoutes and HTTPRoutes, writes their statuses, and answers requests over HTTP/1 and HTTP/2, with TLS and
without. It prints how many there are, and how many of them the file had before.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from measure import cluster, install, instructions, scale
from measure.cluster import Api, Ferrix, core, wait_for
from measure.failure import Failure
from measure.paths import ENVIRONMENT, ROOT

ORDER = ROOT / "crates" / "ferrix" / "link-order.txt"
NAMESPACE = "link-order"
PLAIN, SECURE = 18003, 18004
ROUTES = 30
REQUESTS = 3000
SETTINGS = {
    **scale.SETTINGS,
    "entry_points": [
        {"name": "web", "port": PLAIN, "secure": False},
        {"name": "websecure", "port": SECURE, "secure": True},
    ],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    options = parser.parse_args()
    install.debian()
    api = Api()
    cluster.install(api, options.binary)
    scale.gateway_class(api)
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        program = instructions.counted(Path(folder) / "ferrix", options.binary.resolve(), counts, "--demangle=no")
        use(api, program)
        functions = by_cost(counts.read_text(errors="replace"), options.binary.name)
    before = set(ORDER.read_text().split()) if ORDER.exists() else set()
    ORDER.write_text("\n".join(functions) + "\n")
    print(f"{len(functions)} functions, of which {len(before.intersection(functions))} were there before")


def use(api, program):
    """All that the functions are wanted for."""
    certificate, key = scale.self_signed()
    secret = {"type": "kubernetes.io/tls", "stringData": {"tls.crt": certificate, "tls.key": key}}
    with api.filled([NAMESPACE]), scale.Backend(scale.BACKENDS[0]):
        api.service(NAMESPACE, "backend", scale.BACKENDS[:1])
        api.create(core(NAMESPACE, "secrets"), {"metadata": {"name": "certificate"}, **secret})
        for number in range(ROUTES):
            make_routes(api, number)
        with Ferrix(program, SETTINGS, secrets="cluster") as ferrix:
            scale.gateway(api, NAMESPACE)
            wait_for("the statuses", lambda: all(is_told(api, kind) for kind in ("httproutes", "gateways")))
            for scheme, port in [("http", PLAIN), ("https", SECURE)]:
                for protocol in [["--h1", "-m1"], ["-m8"]]:
                    load(f"{scheme}://link-1.example.com:{port}/", port, protocol)
            for path in ("/report", "/metrics", "/healthz", "/readyz"):
                ferrix.ask(path)


def make_routes(api, number):
    """One of each kind."""
    host = f"link-{number}.example.com"
    for entry_point, tls in [("web", {}), ("websecure", {"tls": "certificate"})]:
        api.ingress_route(NAMESPACE, f"{entry_point}-{number}", entry_point, host, "backend", **tls)
    route = scale.route(f"route-{number}", host, "backend")
    api.create(scale.api_path(NAMESPACE, "httproutes"), route)


def is_told(api, kind):
    """Whether all objects of a kind have a status."""
    return all(it.get("status") for it in api.get(scale.api_path(NAMESPACE, kind))["items"])


def load(url, port, protocol):
    command = ["h2load", *protocol, f"-n{REQUESTS}", "-c4", f"--connect-to=127.0.0.1:{port}", url]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode or f" {REQUESTS} 2xx" not in done.stdout:
        raise Failure(f"{url}: {(done.stderr + done.stdout).strip()[-900:]}")


def by_cost(counts, program):
    """The program's own functions in what callgrind wrote, those first in which the most instructions ran."""
    names, cost = {}, Counter()
    of_program, function, is_call = False, None, False
    for line in counts.splitlines():
        if named := re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line):
            called, what, number, name = named.groups()
            # A name is told once. What is called stands in another function's lines.
            name = names.setdefault((what, number), name)
            if not called and what == "ob":
                of_program = Path(name).name == program
            elif not called:
                # A recursion has a number of its own.
                function = re.sub(r"'\d+$", "", name)
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[\d+*-]", line):
            if of_program and not is_call and re.match(r"[A-Za-z_]", function):
                cost[function] += int(line.split()[1])
            is_call = False
    if not cost:
        raise Failure(f"no function of {program} has a name: it needs its symbols")
    return [name for name, _ in cost.most_common()]


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"link_order: {failure}")
