"""CPU per request, by protocol and size of body: the main figure."""

from . import load
from .rounds import interleave, sample

# By name: the title, and what is asked for.
CASES = {
    "h1-100": ("HTTP/1, 100 B", dict(path="/app/100")),
    "h1-10k": ("HTTP/1, 10 KiB", dict(path="/app/10k")),
    "h2-100": ("HTTP/2 over TLS, 100 B", dict(path="/app/100", http2=True)),
    "down": ("1 MiB download", dict(path="/app/1m", large=True)),
    "up": ("1 MiB upload", dict(path="/upload", large=True, upload=True)),
    "down-tls": ("1 MiB download over TLS", dict(path="/app/1m", large=True, tls=True)),
    "up-tls": ("1 MiB upload over TLS", dict(path="/upload", large=True, upload=True, tls=True)),
}


def measure(bench, options):
    results = {}
    with bench.fleet(routes=options.routes) as fleet:
        for name, (_, case) in CASES.items():
            # The reference has no routes, so it knows one backend only.
            chosen = {key: proxy for key, proxy in fleet.items() if key != "pingora" or not case.get("upload")}
            # A large body is many pieces: shorter rounds, and fewer, tell as much.
            rounds = min(options.rounds, 3) if case.get("large") else options.rounds
            seconds = min(1, options.seconds) if case.get("large") else options.seconds
            results[name] = interleave(
                chosen,
                rounds,
                lambda proxy: one(bench, proxy, case, seconds),
                lambda proxy: one(bench, proxy, case, min(1, seconds)),
            )
    return results


def one(bench, proxy, case, seconds):
    return sample(proxy, lambda: send(bench, proxy, case, seconds))


def send(bench, proxy, case, seconds):
    if case.get("http2"):
        return load.h2load(bench, proxy, case["path"], seconds)
    # Few connections for large bodies: more would measure the kernel's buffers.
    connections = 8 if case.get("large") else 64
    if case.get("tls"):
        body = bench.folder / "bodies" / "1m" if case.get("upload") else None
        return load.h2load(bench, proxy, case["path"], seconds, connections, 1, http1=True, body=body)
    script = bench.folder / "upload.lua" if case.get("upload") else None
    return load.wrk(bench, proxy, case["path"], seconds, connections, script=script)
