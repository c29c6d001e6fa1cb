"""What Ferrix wants to be, beside what was measured. Every goal is a ratio within one run, or a size."""

from statistics import median

from .rounds import cost


def goals(results):
    """Rows: the goal, its limit, what was measured, and whether that meets it (None: not known)."""
    return [row(results, *goal) for goal in GOALS]


def row(results, title, limit, comparison, measured, form):
    try:
        value = measured(results["scenarios"])
    except (KeyError, IndexError, TypeError, ZeroDivisionError):
        # Not run, failed, or its peer failed.
        return title, f"{comparison} {form.format(limit)}", "not measured", None
    met = value <= limit if comparison == "≤" else value >= limit
    return title, f"{comparison} {form.format(limit)}", form.format(value), met


def per(scenarios, scenario, case, name, value=cost):
    return median(value(sample) for sample in scenarios[scenario]["data"][case][name]["samples"])


def cpu(scenario, case, peer):
    return lambda all: per(all, scenario, case, "ferrix") / per(all, scenario, case, peer)


def output(scenario, case):
    """More for the same CPU: the other way round."""
    return lambda all: per(all, scenario, case, "nginx") / per(all, scenario, case, "ferrix")


def flat(protocol):
    def ratio(all):
        of = all["routes"]["data"][protocol]["ferrix"]
        least, most = (median(cost(sample) for sample in of[count]["samples"]) for count in ("1", "10000"))
        return most / least

    return ratio


def p99(share):
    def ratio(all):
        of = all["latency"]["data"]["of_nginx"][share]
        ferrix, nginx = (median(s["p99"] for s in of[name]["samples"]) for name in ("ferrix", "nginx"))
        return ferrix / nginx

    return ratio


def churn(all):
    of = all["churn"]["data"]["ferrix"]["under_load"]
    return median(s["p99"] for s in of["changing"]) / median(s["p99"] for s in of["quiet"])


def workers(case):
    def ratio(all):
        one, two = (per(all, "workers", f"{case}-{count}", "ferrix") for count in (1, 2))
        return two / one

    return ratio


def filtered(all):
    return per(all, "filters", "together", "ferrix") / per(all, "filters", "plain", "ferrix")


def idle(kind):
    return lambda all: all["memory"]["data"][kind]["ferrix"]["bytes_each"] / 1000


def instructions(case):
    def ratio(all):
        of = all["instructions"]["data"][case]
        return of["ferrix"]["per_request"] / of["before"]["per_request"]

    return ratio


def resident(all):
    of = all["routes"]["data"]["memory"]["ferrix"]
    if of["routes"] < 10000:
        raise KeyError("fewer routes")
    return of["bytes"] / 1e6


NGINX, OWN = "{:.2f} × nginx", "{:.2f} × its own"
LEAN, BEFORE = "{:.2f} × nginx with one route", "{:.2f} × the version before"
GOALS = [
    ("HTTP/1, 100 B: CPU per request", 1.0, "≤", cpu("cpu", "h1-100", "before"), BEFORE),
    ("HTTP/1, 100 B: CPU per request", 0.88, "≤", cpu("cpu", "h1-100", "nginx"), NGINX),
    ("HTTP/1, 100 B: CPU per request", 0.95, "≤", cpu("cpu", "h1-100", "lean"), LEAN),
    ("HTTP/1, 100 B: CPU per request", 1.0, "≤", cpu("cpu", "h1-100", "haproxy"), "{:.2f} × HAProxy"),
    ("HTTP/1, 10 KiB: CPU per request", 0.88, "≤", cpu("cpu", "h1-10k", "nginx"), NGINX),
    ("HTTP/1, 10 KiB: CPU per request", 1.0, "≤", cpu("cpu", "h1-10k", "haproxy"), "{:.2f} × HAProxy"),
    ("HTTP/2 over TLS, 100 B: CPU per request", 0.69, "≤", cpu("cpu", "h2-100", "nginx"), NGINX),
    ("10,000 routes against 1, HTTP/1: CPU per request", 1.03, "≤", flat("h1"), OWN),
    ("10,000 routes against 1, HTTP/2: CPU per request", 1.03, "≤", flat("h2"), OWN),
    ("two workers against one, two HTTP/2 connections: CPU per request", 1.1, "≤", workers("h2-few"), OWN),
    ("header fields, rate limit and IP filter: CPU per request", 1.1, "≤", filtered, "{:.2f} × without them"),
    ("p99 at 60 % of nginx's peak", 0.9, "≤", p99("60"), NGINX),
    ("p99 while endpoints change, against quiet", 1.2, "≤", churn, OWN),
    ("new connections per CPU second", 1.0, "≥", output("connections", "new"), NGINX),
    ("WebSocket messages per CPU second", 1.0, "≥", output("websocket", "echo"), NGINX),
    ("full TLS handshakes per CPU second", 1.0, "≥", output("tls", "full"), NGINX),
    ("resumed TLS handshakes per CPU second", 1.0, "≥", output("tls", "resumed"), NGINX),
    ("1 MiB downloads: bytes per CPU second", 1.0, "≥", output("cpu", "down"), NGINX),
    ("1 MiB uploads: bytes per CPU second", 1.0, "≥", output("cpu", "up"), NGINX),
    ("1 MiB downloads over TLS: bytes per CPU second", 1.0, "≥", output("cpu", "down-tls"), NGINX),
    ("1 MiB uploads over TLS: bytes per CPU second", 1.0, "≥", output("cpu", "up-tls"), NGINX),
    ("memory of an idle connection", 3.3, "≤", idle("plain"), "{:.1f} kB"),
    ("memory of an idle TLS connection", 11.5, "≤", idle("tls"), "{:.1f} kB"),
    ("memory of an idle HTTP/2 connection", 20, "≤", idle("http2"), "{:.1f} kB"),
    ("memory with 10,000 routes and 10,000 endpoints", 60, "≤", resident, "{:.0f} MB"),
    ("HTTP/1, 100 B: instructions", 1.02, "≤", instructions("h1-100"), BEFORE),
    ("HTTP/2 over TLS, 100 B: instructions", 1.02, "≤", instructions("h2-100"), BEFORE),
    (
        "allocations per request, HTTP/1",
        12,
        "≤",
        lambda all: all["allocations"]["data"]["h1"]["ferrix"]["per_request"],
        "{:.1f}",
    ),
    (
        "an endpoint's change among 10,000 routes: until it is served",
        5,
        "≤",
        lambda all: all["churn"]["data"]["ferrix"]["delay"]["median_ms"],
        "{:.1f} ms",
    ),
]
