"""New connections without TLS, each with one request."""

from . import load
from .rounds import interleave, sample


def measure(bench, options):
    with bench.fleet(routes=options.routes) as fleet:
        return {"new": interleave(
                fleet,
                min(options.rounds, 3),
                lambda proxy: one(bench, proxy, options.seconds),
                lambda proxy: one(bench, proxy, min(1, options.seconds)),
            )}


def one(bench, proxy, seconds):
    return sample(
        proxy, lambda: load.wrk(bench, proxy, "/app/100", seconds, connections=16, close=True)
    )
