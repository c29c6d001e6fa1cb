"""What more routes cost: CPU per request with 1, 1,000 and 10,000 routes, and memory."""

from . import load
from .failure import Failure
from .proxies import Proxy
from .rounds import interleave, sample

# Where every route is tried in turn, ten thousand are no fair question at full load; we ask it all
# the same, because that is what their users get.
COUNTS = [1, 1000, 10000]
# 10,000 certificates for one listener are another question than 10,000 routes: with TLS only those
# are measured whose configuration has one certificate for all.
HTTP2 = ["haproxy", "envoy", "ferrix"]


def measure(bench, options):
    counts = [count for count in COUNTS if count <= options.most_routes]
    results = {"counts": counts, "h1": {}, "h2": {}, "memory": {}, "start": {}}
    for name in bench.names:
        if name == "pingora":
            continue
        results["h1"][name] = by_count(bench, name, counts, options, http2=False)
        if name in HTTP2:
            results["h2"][name] = by_count(bench, name, counts, options, http2=True)
        results["memory"][name] = memory(bench, name, max(counts))
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
    if http2:
        return sample(proxy, lambda: load.h2load(bench, proxy, "/app/100", options.seconds))
    return sample(proxy, lambda: load.wrk(bench, proxy, "/app/100", options.seconds))


def memory(bench, name, count):
    """Resident bytes with so many routes, each to a service of its own with one endpoint."""
    try:
        with bench.one(name, routes=count, services=True, tls=False) as proxy:
            load.wrk(bench, proxy, "/app/100", 1)
            return {"routes": count, "bytes": proxy.process.resident()}
    except Failure as failure:
        return {"error": str(failure)}
