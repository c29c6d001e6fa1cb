"""What more routes cost: CPU per request with 1, 1,000 and 10,000 routes, and memory."""

from . import load
from .failure import Failure
from .proxies import Proxy
from .rounds import interleave, sample

# A proxy that tries its routes one after the other finds ours half way.
COUNTS = [1, 1000, 10000]
# With TLS, nginx makes a context of its own for each of its servers, and what the others' look-up
# costs is seen without it.
HTTP2 = ["haproxy", "envoy", "ferrix"]


def measure(bench, options):
    counts = [count for count in COUNTS if count <= options.most_routes]
    results = {"counts": counts, "h1": {}, "h2": {}, "memory": {}}
    for name in bench.names:
        if name in ("lean", "pingora"):
            continue
        results["h1"][name] = by_count(bench, name, counts, options, http2=False)
        if name in HTTP2:
            results["h2"][name] = by_count(bench, name, counts, options, http2=True)
        # Who cannot load them once is not asked again.
        failed = {"error": results["h1"][name][str(max(counts))].get("error")}
        results["memory"][name] = failed if failed["error"] else memory(bench, name, max(counts))
    return results


def by_count(bench, name, counts, options, http2):
    """The instances of one proxy take turns, so that the ratio between them is sound."""
    fleet = {}
    try:
        for count in counts:
            fleet[str(count)] = start(bench, name, routes=count, plain=not http2, tls=http2)
        return interleave(fleet, options.rounds, lambda proxy: one(bench, proxy, http2, options))
    finally:
        for proxy in fleet.values():
            if isinstance(proxy, Proxy):
                proxy.process.kill()


def start(bench, name, **values):
    try:
        return bench.start(name, **values)
    except Failure as failure:
        return failure


def one(bench, proxy, http2, options):
    # Many configurations: short rounds.
    seconds = min(1, options.seconds)
    if http2:
        return sample(proxy, lambda: load.h2load(bench, proxy, "/app/100", seconds))
    return sample(proxy, lambda: load.wrk(bench, proxy, "/app/100", seconds))


def memory(bench, name, count):
    """Resident bytes with so many routes, each to a service of its own with one endpoint."""
    try:
        with bench.one(name, routes=count, services=True, tls=False) as proxy:
            load.wrk(bench, proxy, "/app/100", 1)
            return {"routes": count, "bytes": proxy.process.resident()}
    except Failure as failure:
        return {"error": str(failure)}
