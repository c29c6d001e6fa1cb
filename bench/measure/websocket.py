"""WebSocket messages of 100 B that a backend sends back: one message is one each way."""

from . import load
from .rounds import a_few, sample


def measure(bench, options):
    names = [name for name in bench.names if name != "pingora"]
    with bench.fleet(names, routes=options.routes) as fleet:
        return {"echo": a_few(fleet, options, lambda proxy, seconds: one(bench, proxy, seconds))}


def one(bench, proxy, seconds):
    values = dict(connections=64, seconds=seconds)
    return sample(proxy, lambda: load.own("websocket", bench, proxy, "/socket", **values)["requests"])
