"""Fills the peers' configurations of ../peers in. Each function writes what its proxy reads into
`setup.folder`, and returns the command that starts it."""

import re

from . import install
from .paths import BENCH, TARGET
from .setup import ECHO, FILES, host

PEERS = BENCH / "peers"


def fill(setup, name, **values):
    """Writes ../peers/NAME with the @KEY@s replaced."""
    (setup.folder / name).write_text(filled(setup, name, **values))
    return setup.folder / name


def filters(setup, name, **values):
    """Those of a proxy, where they are asked for."""
    return filled(setup, f"filters/{name}", **values) if setup.filters else ""


def keep(setup, name):
    """Writes what filters of a proxy read."""
    (setup.folder / name).write_text(filters(setup, name))


def filled(setup, name, **values):
    text = (PEERS / name).read_text()
    common = {"DIR": setup.folder, "FILES": FILES, "ECHO": ECHO, "HOST": setup.host, "WORKERS": setup.workers}
    # A body of 100 bytes, and what is left of it behind an identifier.
    common |= {"BODY": "x" * 100, "REST": "x" * 68}
    for key, value in {**common, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def each_route(setup, line):
    return "\n".join(line(number) for number in range(setup.routes))


def each_service(setup, line):
    return "\n".join(line(number, setup.address(number)) for number in range(setup.service_count))


def nginx(setup):
    listens = " ".join(
        f"listen 127.0.0.1:{port}{' ssl http2' if tls else ''}{{}};" for _, port, tls in setup.listeners()
    )

    def server(number):
        # The first server of a port says how long its queue is.
        listen = listens.replace("{}", " backlog=4096" if number == 0 else "")
        special = "location /upload { proxy_pass http://echo; } location /socket { proxy_pass http://echo; } "
        special += "location /echo.Echo/ { grpc_pass grpc://echo; } "
        return (
            f"  server {{ {listen} server_name {host(number)}; "
            f"location /app/ {{ proxy_pass http://{setup.service(number)}; }} "
            f"{special if number == setup.target else ''}}}"
        )

    # Room for kept connections is reserved for each upstream, used or not: 256 of them in 10,000
    # upstreams would be nobody's configuration.
    kept = 16 if setup.services else 256

    def upstream(number, address):
        return (
            f"  upstream service-{number} {{ server {address}:{FILES}; keepalive {kept}; "
            "keepalive_requests 1000000000; }"
        )

    routes = [each_service(setup, upstream), each_route(setup, server)]
    routes += [filters(setup, "nginx.conf", PORT=setup.plain_port)]
    fill(setup, "nginx-forwarded.conf")
    keep(setup, "users")
    modules = ["-g", f"load_module {install.NGINX_BROTLI};"] if setup.filters else []
    return ["nginx", *modules, "-c", fill(setup, "nginx.conf", ROUTES="\n".join(routes))]


def lean(setup):
    return nginx(setup)


def haproxy(setup):
    more = filters(setup, "haproxy.cfg")
    hosts = each_route(setup, lambda number: f"{host(number)} {setup.service(number)}\n")
    hosts += "".join(f"{name}.example.com {name}\n" for name in re.findall("^backend (.*)", more, re.M))
    (setup.folder / "hosts.map").write_text(hosts)
    keep(setup, "issuer.pem")
    pair = setup.folder / "pair.pem"
    pair.write_text("".join((setup.folder / name).read_text() for name in ("certificate.pem", "key.pem")))
    binds = "\n".join(
        f"  bind 127.0.0.1:{port} backlog 4096" + (f" ssl crt {pair} alpn h2,http/1.1" if tls else "")
        for _, port, tls in setup.listeners()
    )
    backends = each_service(
        setup,
        lambda number, address: f"backend service-{number}\n  server backend {address}:{FILES} pool-max-conn 256",
    )
    return ["haproxy", "-db", "-f", fill(setup, "haproxy.cfg", BINDS=binds, ROUTES=backends + more)]


def envoy(setup):
    transport = (
        'transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/'
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: "
        "{alpn_protocols: [h2, http/1.1], tls_certificates: [{certificate_chain: {filename: "
        f"{setup.folder}/certificate.pem}}, private_key: {{filename: {setup.folder}/key.pem}}}}]}}}}}}"
    )
    http_filters = filters(setup, "envoy-filters.yaml")
    listeners = "".join(
        filled(
            setup,
            "envoy-listener.yaml",
            NAME=name,
            PORT=port,
            TRANSPORT=transport if tls else "",
            FILTERS=http_filters,
        )
        for name, port, tls in setup.listeners()
    )

    def cluster(number, address):
        return (
            f"  - {{name: service-{number}, connect_timeout: 5s, load_assignment: {{cluster_name: "
            f"service-{number}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: "
            f"{{address: {address}, port_value: {FILES}}}}}}}}}]}}]}}}}"
        )

    def virtual_host(number):
        routes = [f"{{match: {{prefix: /app/}}, route: {{cluster: {setup.service(number)}}}}}"]
        if number == setup.target:
            routes += ["{match: {prefix: /upload}, route: {cluster: echo}}"]
            routes += ["{match: {prefix: /socket}, route: {cluster: echo, timeout: 0s}}"]
            routes += ["{match: {prefix: /echo.Echo/}, route: {cluster: grpc}}"]
        return f"  - {{name: route-{number}, domains: [{host(number)}], routes: [{', '.join(routes)}]}}"

    routes = each_route(setup, virtual_host) + "\n" + filters(setup, "envoy-routes.yaml")
    fill(setup, "envoy-routes.yaml", ROUTES=routes)
    clusters = each_service(setup, cluster) + "\n" + filters(setup, "envoy-clusters.yaml")
    path = fill(setup, "envoy.yaml", LISTENERS=listeners, CLUSTERS=clusters)
    command = [install.envoy(), "-c", path, "--concurrency", setup.workers, "--disable-hot-restart"]
    # A node has names wherever routes come from a file.
    return [*command, "--log-level", "error", "--service-node", "bench", "--service-cluster", "bench"]


def traefik(setup):
    entry_points = "\n".join(
        f'  {name}: {{address: "127.0.0.1:{port}"{", http: {tls: {}}" if tls else ""}}}'
        for name, port, tls in setup.listeners()
    )
    routers = each_route(
        setup,
        lambda number: f'    route-{number}: {{rule: "Host(`{host(number)}`) && PathPrefix(`/app/`)", '
        f"service: {setup.service(number)}}}",
    )
    services = each_service(
        setup,
        lambda number, address: f"    service-{number}: {{loadBalancer: {{servers: "
        f'[{{url: "http://{address}:{FILES}"}}]}}}}',
    )
    fill(setup, "traefik-routes.yaml", ROUTERS=routers, SERVICES=services)
    return ["traefik", f"--configfile={fill(setup, 'traefik.yaml', ENTRYPOINTS=entry_points)}"]


def caddy(setup):
    def site(number):
        address = setup.address(number)
        body = f"\thandle /app/* {{\n\t\treverse_proxy {address}:{FILES} {{\n"
        body += "\t\t\timport headers\n\t\t\timport pool\n\t\t}\n\t}\n"
        body += "\timport echo\n" if number == setup.target else ""
        certificate = f"\ttls {setup.folder}/certificate.pem {setup.folder}/key.pem\n"
        return "\n".join(
            f"{'https' if tls else 'http'}://{host(number)}:{port} {{\n{certificate if tls else ''}{body}}}"
            for _, port, tls in setup.listeners()
        )

    path = fill(setup, "Caddyfile", SITES=each_route(setup, site))
    return ["caddy", "run", "--config", path, "--adapter", "caddyfile"]


def pingora(setup):
    """The reference: it has no routes."""
    command = [TARGET / "release" / "bare-pingora-proxy", setup.plain_port, setup.tls_port, FILES]
    return [*command, setup.folder / "certificate.pem", setup.folder / "key.pem", setup.workers]


def ferrix(setup, binary):
    entry_points = "\n".join(
        f"  - {{name: {name}, address: 127.0.0.1, port: {port}, secure: {str(tls).lower()}}}"
        for name, port, tls in setup.listeners()
    )
    names = ", ".join(name for name, _, _ in setup.listeners())
    manifests = setup.folder / "manifests"
    manifests.mkdir()

    def route(name, host, rules):
        return (
            f"---\napiVersion: ferrix.com/v1\nkind: IngressRoute\nmetadata: {{name: {name}, "
            f"namespace: default}}\nspec:\n  entrypoints: [{names}]\n  route:\n    host: {host}\n"
            f"    rules: [{', '.join(rules)}]\n"
        )

    def numbered(number):
        rules = [f"{{matches: PathPrefix(`/app`), service: {{name: {setup.service(number)}, port: 80}}}}"]
        if number == setup.target:
            rules += ["{matches: PathPrefix(`/upload`), service: {name: echo, port: 80}}"]
            rules += ["{matches: PathPrefix(`/socket`), service: {name: echo, port: 80}}"]
            rules += ["{matches: PathPrefix(`/echo.Echo`), service: {name: echo, port: 81}}"]
        return route(f"route-{number}", host(number), rules)

    def filtered(name, list):
        rule = f"{{matches: PathPrefix(`/app`), service: {{name: service-0, port: 80}}, filters: {list}}}"
        return route(name, f"{name}.example.com", [rule])

    def service(name):
        return (
            f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n"
            "spec: {ports: [{name: http, port: 80}]}\n"
        )

    def balanced(name, asks):
        write_slice(manifests, name, ["127.0.0.1", "127.0.0.2"])
        policy = (
            f"---\napiVersion: ferrix.com/v1\nkind: BackendPolicy\nmetadata: {{name: {name}, namespace: default}}\n"
            f'spec: {{targetRefs: [{{group: "", kind: Service, name: {name}}}], {asks[1:-1]}}}\n'
        )
        rule = f"{{matches: PathPrefix(`/app`), service: {{name: {name}, port: 80}}}}"
        return service(name) + route(name, f"{name}.example.com", [rule]) + (policy if asks != "none" else "")

    # In a folder the slices are files of their own, so that one can change without the others.
    for number in range(setup.service_count):
        write_slice(manifests, f"service-{number}", [setup.address(number)])
    lists = re.findall("^([a-z-]+): (.*)", filters(setup, "ferrix.yaml"), re.M)
    routes = each_route(setup, numbered) + "".join(filtered(*each) for each in lists)
    if setup.filters:
        rules = [f"{{matches: PathPrefix(`/app{more}`), service: {{name: service-0, port: 80}}" for more in ("/1", "")]
        routes += route("dry-run", "dry-run.example.com", [rules[0] + ", dryRun: true}", rules[1] + "}"])
    policies = re.findall("^([a-z-]+): (.*)", filters(setup, "ferrix-policies.yaml"), re.M)
    routes += "".join(balanced(*each) for each in policies)
    (manifests / "routes.yaml").write_text(routes)
    services = each_service(setup, lambda number, _: service(f"service-{number}"))
    (manifests / "services.yaml").write_text(services + ECHO_SERVICE)
    if setup.filters:
        (manifests / "secrets.yaml").write_text(filters(setup, "ferrix-secrets.yaml"))
    log = f"access_log: {{format: text, path: {setup.folder}/access.log}}" if setup.access_log else ""
    settings = fill(setup, "ferrix.yaml", ENTRY_POINTS=entry_points, ADMIN=setup.admin_port, ACCESS_LOG=log)
    return [binary, "run", "--config", settings]


ECHO_SERVICE = f"""
---
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: default}}
spec: {{ports: [{{name: http, port: 80}}, {{name: grpc, port: 81, appProtocol: kubernetes.io/h2c}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo, namespace: default, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
ports: [{{name: http, port: {ECHO}}}, {{name: grpc, port: {ECHO}}}]
"""


def write_slice(manifests, service, addresses):
    """Whole or not at all: the folder is watched."""
    endpoints = ", ".join(f"{{addresses: [{address}], conditions: {{ready: true}}}}" for address in addresses)
    new = manifests / f".slice-{service}"
    new.write_text(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        f"metadata: {{name: {service}, namespace: default, "
        f"labels: {{kubernetes.io/service-name: {service}}}}}\n"
        f"addressType: IPv4\nendpoints: [{endpoints}]\nports: [{{name: http, port: {FILES}}}]\n"
    )
    new.rename(manifests / f"slice-{service}.yaml")
