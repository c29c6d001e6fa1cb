"""WebSocket messages of 100 B that a backend sends back: one message is one each way."""

from . import load
from .rounds import interleave, sample


def measure(bench, options):
    names = [name for name in bench.names if name != "pingora"]
    with bench.fleet(names, routes=options.routes) as fleet:
        return {"echo": interleave(
                fleet,
                min(options.rounds, 3),
                lambda proxy: one(bench, proxy, options.seconds),
                lambda proxy: one(bench, proxy, min(1, options.seconds)),
            )}


def one(bench, proxy, seconds):
    values = dict(connections=64, seconds=seconds)
    return sample(proxy, lambda: load.own("websocket", bench, proxy, "/socket", **values)["requests"])
