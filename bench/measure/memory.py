"""Memory of idle connections, in a proxy that has just started; and what is left after they end."""

import time

from . import load
from .failure import Failure

KINDS = ["plain", "tls", "http2"]
# After the connections are gone. Allocators give memory back late, or never.
PATIENCE = 5


def measure(bench, options):
    results = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for name in bench.names:
            try:
                with bench.one(name, routes=options.routes) as proxy:
                    results[kind][name] = one(bench, proxy, kind, options)
            except Failure as failure:
                results[kind][name] = {"error": str(failure)}
    return results


def one(bench, proxy, kind, options):
    # What is made once, such as the pool of connections to the backend, is not the connections'.
    with load.idle(bench, proxy, kind, 20):
        pass
    time.sleep(min(1, options.seconds))
    before = proxy.process.resident()
    with load.idle(bench, proxy, kind, options.idle):
        time.sleep(min(1, options.seconds))
        during = proxy.process.resident()
    time.sleep(min(PATIENCE, 2 * options.seconds))
    after = proxy.process.resident()
    return {
        "connections": options.idle,
        "bytes_each": round((during - before) / options.idle),
        "before": before,
        "during": during,
        "after": after,
    }
