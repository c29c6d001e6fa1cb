"""New connections without TLS, each with one request."""

from . import load
from .rounds import a_few, sample


def measure(bench, options):
    with bench.fleet(routes=options.routes) as fleet:
        return {"new": a_few(fleet, options, lambda proxy, seconds: one(bench, proxy, seconds))}


def one(bench, proxy, seconds):
    return sample(
        proxy, lambda: load.wrk(bench, proxy, "/app/100", seconds, connections=16, close=True)
    )
