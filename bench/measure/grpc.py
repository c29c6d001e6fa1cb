"""Unary gRPC calls of 100 B over TLS, to a backend that speaks HTTP/2 without TLS."""

from . import load
from .rounds import a_few, sample


def measure(bench, options):
    names = [name for name in bench.names if name != "pingora"]
    with bench.fleet(names, routes=options.routes) as fleet:
        return {"unary": a_few(fleet, options, lambda proxy, seconds: one(bench, proxy, seconds))}


def one(bench, proxy, seconds):
    values = dict(connections=8, streams=32, seconds=seconds)
    return sample(
        proxy, lambda: load.own("grpc", bench, proxy, "/echo.Echo/Unary", tls=True, **values)["requests"]
    )
