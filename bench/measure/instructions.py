"""Instructions per request in user mode, of Ferrix only: valgrind counts them between two moments, so
that it does not matter how noisy the machine is. What they cost, and what the kernel does, is not in
them.
"""

import re
import subprocess

from . import load
from .failure import Failure
from .paths import ENVIRONMENT

HTTP1 = dict(http1=True, tls=False, connections=8, streams=1)
CASES = {
    "h1-100": ("HTTP/1, 100 B", "/app/100", HTTP1),
    "h1-10k": ("HTTP/1, 10 KiB", "/app/10k", HTTP1),
    "h2-100": ("HTTP/2 over TLS, 100 B", "/app/100", dict(connections=8, streams=8)),
}


def measure(bench, options):
    results = {case: {} for case in CASES}
    for name in [name for name in bench.names if name in bench.binaries]:
        for case, (_, path, values) in CASES.items():
            try:
                results[case][name] = {"per_request": one(bench, name, path, options.requests, values)}
            except Failure as failure:
                results[case][name] = {"error": str(failure)}
    return results


def one(bench, name, path, requests, values):
    counts = bench.folder / "callgrind"
    program = bench.folder / "counted"
    program.write_text(
        "#!/bin/sh\nexec valgrind -q --tool=callgrind --instr-atstart=no "
        f"--callgrind-out-file={counts} {bench.binaries[name]} \"$@\"\n"
    )
    program.chmod(0o755)
    with bench.one(name, binary=program, routes=100) as proxy:
        # Connections to the backend exist, and what happens once has happened.
        load.h2load(bench, proxy, path, requests=requests // 4, **values)
        control(proxy, "--instr=on")
        load.h2load(bench, proxy, path, requests=requests, **values)
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
    return total / requests


def control(proxy, order):
    command = ["callgrind_control", order, str(proxy.process.pid)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode or "Error" in done.stdout + done.stderr:
        raise Failure(f"callgrind_control: {(done.stdout + done.stderr).strip()[-300:]}")
