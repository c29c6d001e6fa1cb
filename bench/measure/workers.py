"""Two workers against one. The machine has two cores, so with two workers load and backend share
the cores with the proxy: CPU per request is comparable, requests per second hardly are."""

from . import load
from .rounds import interleave, sample

CASES = {
    "h1": lambda bench, proxy, seconds: load.wrk(bench, proxy, "/app/100", seconds),
    # Few long-lived connections: they are what makes workers unequal.
    "h2-few": lambda bench, proxy, seconds: load.h2load(
        bench, proxy, "/app/100", seconds, connections=2, streams=50
    ),
}


def measure(bench, options):
    results = {}
    for workers in (1, 2):
        with bench.fleet(routes=options.routes, workers=workers, cores="0,1") as fleet:
            for case, send in CASES.items():
                results[f"{case}-{workers}"] = interleave(
                    fleet,
                    min(options.rounds, 3),
                    lambda proxy: sample(proxy, lambda: send(bench, proxy, min(1, options.seconds))),
                )
    return results
