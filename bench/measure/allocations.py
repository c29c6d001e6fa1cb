"""Allocations per request, of Ferrix only: the peers have allocators of their own, whose requests to
the system are not comparable.

Ferrix is built once more, with an allocator that counts. What a run with many requests has counted,
less what a run with few has, is the requests'.
"""

import re
import time

from . import install, load
from .failure import Failure

CASES = {"h1": dict(http1=True, tls=False, connections=16, streams=1), "h2": dict(connections=4, streams=4)}


def measure(bench, options):
    if "ferrix" not in bench.names:
        return {}
    binary = install.build_counting()
    results = {}
    for case, values in CASES.items():
        try:
            few, many = (counted(bench, binary, values, n) for n in (options.requests, 5 * options.requests))
            results[case] = {"ferrix": {"per_request": (many - few) / (4 * options.requests)}}
        except Failure as failure:
            results[case] = {"ferrix": {"error": str(failure)}}
    return results


def counted(bench, binary, values, requests):
    """All allocations from start to end, by the statistics that the allocator prints at the end."""
    environment = {"MIMALLOC_SHOW_STATS": "1"}
    with bench.one("ferrix", binary=binary, environment=environment, routes=10) as proxy:
        load.h2load(bench, proxy, "/app/100", requests=requests, **values)
        proxy.process.end()
        time.sleep(0.1)
        return total(proxy.process.log.read_text())


def total(statistics):
    """The last column of the lines of all sizes, such as `binS  7: ... 112 B  500.3 K  ok`."""
    counts = re.findall(r"^  bin.*?(\d+(?:\.\d+)?) ?([KMG]?)i? +(?:ok|not all freed)$", statistics, re.M)
    if not counts:
        raise Failure("the allocator printed no statistics")
    units = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}
    return sum(float(number) * units[unit] for number, unit in counts)
