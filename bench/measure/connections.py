"""New connections without TLS, each with one request."""

from . import load
from .rounds import interleave, sample


def measure(bench, options):
    with bench.fleet(routes=options.routes) as fleet:
        return {"new": interleave(fleet, min(options.rounds, 3), lambda proxy: one(bench, proxy, options))}


def one(bench, proxy, options):
    return sample(
        proxy, lambda: load.wrk(bench, proxy, "/app/100", options.seconds, connections=16, close=True)
    )
