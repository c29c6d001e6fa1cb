"""What each filter costs: CPU per request beside the plain route of the same proxy in the same run, and
beside that of the peers which have the like of it. The configurations are in ../peers/filters."""

import http.client
import re
from dataclasses import dataclass, field

from . import load
from .failure import Failure
from .rounds import a_few, sample

NAMES = ["nginx", "haproxy", "envoy", "ferrix"]


@dataclass
class Case:
    """A route, which is asked for by its name, and what is asked of it."""

    title: str
    # Who has it.
    names: str = "nginx haproxy envoy ferrix"
    # The route without a filter of which the same is asked.
    plain: str = "plain"
    path: str = "/app/100"
    headers: dict = field(default_factory=dict)
    # What two answers in a row show if the filter is at work: to this path, with these fields besides, to
    # a client of this address.
    shows: str = "200 "
    shown_by: tuple = ("", {}, "127.0.0.1")
    # Whether the cookie of a session goes along, which an answer before has set.
    session: bool = False


# By the key in ../peers/filters, of alice, until 2100.
TOKEN = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImJlbmNoIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwic3ViIjoiYWxpY2UiLCJhdWQiOiJiZW5jaCIsImV4cCI6NDEwMjQ0NDgwMH0."
    "0mAy932PuUCT2y1pN0jvs5K6l2Cn_FcrR090ZGEXCwyUDM1Xg8DivbE1KT-25V8OiEIligKjhnIZv3qc90Z6Ug"
)

# Sealed by the key in ../peers/filters, of alice, until 2100.
SESSION = (
    "ferrix-2e9c94fe=1.e-nOFA86NQb4-t4jpkd1czz_o5addKup9qnbfo3gpVI85CrDGLKJhfsp2-cfd9Go4KrpEqx4Y48p-I6epaWJuhdnTYxtMGD3f41-2jCRxDVuQQZJSFjLJjRxJwmwqTy0n4T3IHei"
    "Armkrdn5DSDj03FfvDzzcbJbgke8v1jO-XOM4zvuvdoEVIfJoCVW1Q0f82AblcG0u56_1PBsSTIAo1jmAdn_hvVqn3Tbm4xB9DfM1Mw-BPo5XMYCVxcXxwb75QKlqyf52pxmBAvMUw"
)


def identity(title, names, header, right, wrong):
    """What lets whoever has this field pass, and nobody who has another."""
    return Case(title, names, headers={header: right}, shows="401 ", shown_by=("", {header: wrong}, "127.0.0.1"))


def balanced(title, names, shows="200 ", **more):
    """What a Service with two endpoints asks for, which tell their address."""
    return Case(title, names, shows=shows, shown_by=("/app/address", {}, "127.0.0.1"), **more)


def compression(title, names, coding):
    headers = {"Accept-Encoding": coding}
    return Case(title, names, "text", "/app/text", headers, shows=f"(?i)content-encoding: {coding}\n")


# Two answers that one endpoint has given, or two.
SAME = r"(?s)\n(127\.0\.0\.[12])\n.*\n\1$"
IN_TURN = r"(?s)\n127\.0\.0\.([12])\n.*\n127\.0\.0\.(?!\1)[12]$"


# The plain routes first, and what is promised beside the first of them.
CASES = {
    "plain": Case("no filter, 100 B"),
    "together": Case(
        "header fields, rate limit and IP filter", shows="tenant: shop", shown_by=("/app/tenant", {}, "127.0.0.1")
    ),
    "request-headers": Case(
        "`requestHeaderModifier`", shows="tenant: shop", shown_by=("/app/tenant", {"X-Tenant": "other"}, "127.0.0.1")
    ),
    "response-headers": Case("`responseHeaderModifier`", shows="(?i)x-frame-options: DENY\n"),
    "redirect": Case("`requestRedirect`", shows="(?i)location: https://redirect.example.com/app/100\n"),
    "rewrite": Case("`urlRewrite`", path="/app/rewritten"),
    "respond": Case("`respond`", path="/app/responded"),
    "cors": Case(
        "`cors`",
        headers={"Origin": "https://www.example.com"},
        shows="(?i)access-control-allow-origin: https://www.example.com\n",
    ),
    "rate-limit": Case("`rateLimit`"),
    "concurrency": Case("`concurrency`", "nginx ferrix"),
    "ip-filter": Case("`ipFilter`", shows="403 ", shown_by=("", {}, "127.0.0.66")),
    "bandwidth": Case("`bandwidth`", "nginx ferrix"),
    "cache": Case("`cache`, what it has", path="/app/kept", shows=r"(?s)\n([0-9a-f]{32})x.*\n\1x"),
    "access-log": Case("`accessLog`, with a log", "nginx ferrix", headers={"X-Tenant": "shop"}),
    "error-pages": Case(
        "`errorPages`, no failure", "nginx haproxy ferrix", shows="a page", shown_by=("/app/none", {}, "127.0.0.1")
    ),
    "faults": Case("`faults`, none", "haproxy envoy ferrix"),
    "dry-run": Case("no filter, behind a rule with `dryRun`", "ferrix"),
    "mirror": Case("`requestMirror`", "nginx envoy ferrix"),
    "external-auth": Case("`externalAuth`", "nginx envoy ferrix"),
    "basic-auth": identity(
        "`basicAuth`", "nginx haproxy envoy ferrix", "Authorization", "Basic YWxpY2U6c2VjcmV0", "Basic YWxpY2U6eA=="
    ),
    "api-key": identity("`apiKey`", "nginx haproxy envoy ferrix", "X-Api-Key", "key-of-acme", "key-of-globex"),
    "jwt": identity("`jwt`", "haproxy envoy ferrix", "Authorization", f"Bearer {TOKEN}", "Bearer x"),
    "jwt-together": identity(
        "`jwt`, header fields, rate limit and IP filter",
        "haproxy envoy ferrix",
        "Authorization",
        f"Bearer {TOKEN}",
        "Bearer x",
    ),
    "oidc": identity("`oidc`, with a session", "ferrix", "Cookie", SESSION, "a=b"),
    "endpoints": balanced("no filter, two endpoints", "nginx haproxy envoy ferrix", IN_TURN),
    "least-requests": balanced("two endpoints, `LeastRequests`", "nginx haproxy envoy ferrix"),
    "consistent-hash": balanced(
        "two endpoints, `ConsistentHash`", "nginx haproxy envoy ferrix", SAME, headers={"X-User": "alice"}
    ),
    "sticky-cookie": balanced("two endpoints, `session` by a cookie", "haproxy envoy ferrix", SAME, session=True),
    "text": Case("no filter, 10 KiB of text", plain="text", path="/app/text"),
    "gzip": compression("`compression`, gzip", "nginx haproxy envoy ferrix", "gzip"),
    "brotli": compression("`compression`, brotli", "nginx envoy ferrix", "br"),
    "zstd": compression("`compression`, zstd", "envoy ferrix", "zstd"),
    "upload": Case("no filter, 10 KiB up", plain="upload"),
    "body-size": Case(
        "`bodySize`",
        "nginx haproxy ferrix",
        "upload",
        shows="413 ",
        shown_by=("", {"Content-Length": "20000000"}, "127.0.0.1"),
    ),
    "request-buffering": Case("`requestBuffering`", plain="upload"),
}
PLAIN = {case.plain for case in CASES.values()}


def host(case):
    """Of the route of a case; nothing for the plain one, which is there anyway."""
    return None if case in PLAIN else f"{case}.example.com"


def measure(bench, options):
    names = [name for name in NAMES if name in bench.names]
    values = dict(routes=1, tls=False, filters=True)
    # Of Ferrix a process has an access log or has none.
    with (
        bench.fleet(names, **values) as fleet,
        bench.fleet([name for name in names if name == "ferrix"], **values, access_log=True) as with_log,
    ):
        runs, results = {}, {case: {} for case in CASES}
        for key, case in CASES.items():
            for name in [name for name in names if name in case.names]:
                proxy = with_log.get(name, fleet[name]) if key == "access-log" else fleet[name]
                runs[key, name], results[key][name] = prepare(key, proxy)
        measured = a_few(runs, options, lambda run, seconds: one(bench, *run, seconds))
        for (key, name), found in measured.items():
            results[key][name].update(found)
        return results


def prepare(key, proxy):
    """What is measured, and how long a body is; or why it is not."""
    if isinstance(proxy, Failure):
        return proxy, {}
    case = CASES[key]
    path, headers, client = case.shown_by
    try:
        session = begin(proxy, key) if case.session else {}
        sent = {**case.headers, **session, **headers}
        answers = [ask(proxy, key, path or case.path, sent, client) for _ in range(2)]
    except OSError as error:
        return Failure(f"no answer: {error}"), {}
    if not re.search(case.shows, "\n".join(text for text, _ in answers)):
        return Failure(f"the filter is not at work: {answers[1][0][:150]}"), {}
    return (key, proxy, session), {"bytes": answers[1][1]} if case.plain == "text" else {}


def begin(proxy, key):
    """The cookie of a session that begins."""
    answer, _ = ask(proxy, key, CASES[key].path, {}, "127.0.0.1")
    cookie = re.search("(?i)set-cookie: ([^;]*)", answer)
    return {"Cookie": cookie[1]} if cookie else {}


def ask(proxy, key, path, headers, client):
    """An answer as text, its status first; and how long its body was."""
    address = ("127.0.0.1", proxy.setup.plain_port)
    connection = http.client.HTTPConnection(*address, timeout=5, source_address=(client, 0))
    method = "POST" if CASES[key].plain == "upload" else "GET"
    connection.request(method, path, headers={"Host": host(key) or proxy.setup.host, **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    fields = "".join(f"{name}: {value}\n" for name, value in answer.getheaders())
    return f"{answer.status} \n{fields}\n{body.decode(errors='replace')}", len(body)


def one(bench, key, proxy, session, seconds):
    case = CASES[key]
    script = bench.folder / "post.lua" if case.plain == "upload" else None
    asked = dict(script=script, host=host(key), headers={**case.headers, **session})
    return sample(proxy, lambda: load.wrk(bench, proxy, case.path, seconds, **asked))
