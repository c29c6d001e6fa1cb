"""Instructions per request in user mode, of Ferrix only: valgrind counts them between two moments, so
that it does not matter how noisy the machine is. What they cost, and what the kernel does, is not in
them.
"""

import re
import subprocess

from . import filters, load
from .failure import Failure
from .paths import ENVIRONMENT



def http1(path, host=None):
    return lambda bench, proxy, requests: load.h2load(
        bench, proxy, path, requests=requests, http1=True, tls=False, connections=8, streams=1, host=host
    )


def http2(path):
    return lambda bench, proxy, requests: load.h2load(bench, proxy, path, requests=requests, connections=8, streams=8)


def new_connections(path):
    # Under valgrind some thousand a second, and wrk takes a time, not a number.
    return lambda bench, proxy, requests: load.wrk(bench, proxy, path, requests / 1000, connections=8, close=True)


CASES = {
    "h1-100": ("HTTP/1, 100 B", http1("/app/100")),
    "together": (
        "HTTP/1, 100 B, with header fields, rate limit and IP filter",
        http1("/app/100", filters.host("together")),
    ),
    "h1-10k": ("HTTP/1, 10 KiB", http1("/app/10k")),
    "h2-100": ("HTTP/2 over TLS, 100 B", http2("/app/100")),
    "new": ("HTTP/1, 100 B, a new connection each", new_connections("/app/100")),
}


def measure(bench, options):
    results = {case: {} for case in CASES}
    for name in [name for name in bench.names if name in bench.binaries]:
        for case, (_, run) in CASES.items():
            try:
                results[case][name] = {"per_request": one(bench, name, options.requests, run, case == "together")}
            except Failure as failure:
                results[case][name] = {"error": str(failure)}
    return results


def one(bench, name, requests, run, with_filters):
    counts = bench.folder / "callgrind"
    program = counted(bench.folder / "counted", bench.binaries[name], counts, "--instr-atstart=no")
    with bench.one(name, binary=program, routes=100, filters=with_filters) as proxy:
        # Connections to the backend exist, and what happens once has happened.
        run(bench, proxy, requests // 4)
        control(proxy, "--instr=on")
        count = run(bench, proxy, requests)
        control(proxy, "--instr=off")
        control(proxy, "--dump")
    total = 0
    # What was dumped, and what valgrind wrote at the end.
    for file in bench.folder.glob("callgrind*"):
        found = re.search(r"^totals: (\d+)", file.read_text(errors="replace"), re.M)
        total = max(total, int(found[1]) if found else 0)
        file.unlink()
    if not total:
        raise Failure("nothing was counted")
    return total / count


def counted(program, binary, counts, *options):
    """Makes a program that runs another under callgrind."""
    options = " ".join(options)
    callgrind = f"valgrind -q --tool=callgrind {options} --callgrind-out-file={counts}"
    program.write_text(f'#!/bin/sh\nexec {callgrind} {binary} "$@"\n')
    program.chmod(0o755)
    return program


def control(proxy, order):
    command = ["callgrind_control", order, str(proxy.process.pid)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode or "Error" in done.stdout + done.stderr:
        raise Failure(f"callgrind_control: {(done.stdout + done.stderr).strip()[-300:]}")
