"""System calls per request: strace counts those of a known number of requests.

Under strace a proxy is many times slower, so more requests wait whenever it looks, and the calls that
wait for work are fewer per request than without it. Those that read and write are not.
"""

import re
import signal
import subprocess
import time

from . import load
from .failure import Failure
from .paths import ENVIRONMENT
from .proxies import LOAD_CORE, Proxy

CASES = {"h1": dict(http1=True, tls=False, connections=16, streams=1), "h2": dict(connections=4, streams=4)}


def measure(bench, options):
    results = {case: {} for case in CASES}
    for name in bench.names:
        for case, values in CASES.items():
            try:
                with bench.one(name, routes=options.routes) as proxy:
                    results[case][name] = one(bench, proxy, options.requests, values)
            except Failure as failure:
                results[case][name] = {"error": str(failure)}
    return results


def one(bench, proxy: Proxy, requests, values):
    path = bench.folder / "strace"
    command = ["taskset", "-c", LOAD_CORE, "strace", "-c", "-f", "-qq", "-o", path]
    for pid in proxy.process.tree():
        command += ["-p", str(pid)]
    # Connections to the backend exist, and what happens once has happened.
    load.h2load(bench, proxy, "/app/100", requests=requests // 4, **values)
    tracer = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE)
    time.sleep(1)
    try:
        load.h2load(bench, proxy, "/app/100", requests=requests, **values)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", path.read_text(), re.M)
    calls = {name: int(count) / requests for count, name in rows if name != "total"}
    if not calls:
        raise Failure("nothing was traced")
    most = sorted(calls.items(), key=lambda item: -item[1])
    return {
        "total": round(sum(calls.values()), 3),
        "calls": {name: round(count, 3) for name, count in most if count >= 0.01},
        "requests": requests,
    }
