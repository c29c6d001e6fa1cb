"""New TLS connections, each with one request: full handshakes, and resumed ones."""

from . import load
from .rounds import a_few, sample


def measure(bench, options):
    with bench.fleet(routes=options.routes) as fleet:
        return {
            mode: a_few(fleet, options, lambda proxy, seconds: one(bench, proxy, mode, seconds))
            for mode in ("full", "resumed")
        }


def one(bench, proxy, mode, seconds):
    values = dict(mode=mode, connections=16, seconds=seconds)
    return sample(
        proxy, lambda: load.own("handshakes", bench, proxy, "/app/100", tls=True, **values)["requests"]
    )
