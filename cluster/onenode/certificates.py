"""Keys, certificates and kubeconfigs, all of them for one cluster and one signing authority."""

import base64
import json

from .commands import run
from .layout import NODE

DAYS = "30"


def create(cluster):
    folder = cluster.certificates
    # Without a file of its own openssl would add the extensions of the machine's settings.
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
    sign(folder, "ca", "/CN=ferrix-cluster", ["basicConstraints=critical,CA:TRUE"], authority=None)
    server(
        folder,
        "kube-apiserver",
        f"IP:{cluster.node_ip},IP:{cluster.kubernetes_service_ip},IP:127.0.0.1,DNS:kubernetes,"
        "DNS:kubernetes.default,DNS:kubernetes.default.svc,"
        "DNS:kubernetes.default.svc.cluster.local,DNS:localhost",
    )
    server(folder, "kubelet", f"IP:{cluster.node_ip},DNS:{NODE}")
    client(folder, "kube-apiserver-to-kubelet", "/O=system:masters/CN=kube-apiserver")
    users = {
        "admin": "/O=system:masters/CN=admin",
        "kube-controller-manager": "/CN=system:kube-controller-manager",
        "kube-scheduler": "/CN=system:kube-scheduler",
        "kube-proxy": "/CN=system:kube-proxy",
        "node": f"/O=system:nodes/CN=system:node:{NODE}",
    }
    for user, subject in users.items():
        client(folder, user, subject)
        write_kubeconfig(cluster, user)
    service_account_keys(folder)


def sign(folder, name, subject, extensions, authority="ca"):
    """Makes NAME.key and NAME.crt; without an authority the certificate signs itself."""
    command = ["openssl", "req", "-x509", "-config", folder / "openssl.cnf", "-days", DAYS]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    command += ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
    command += ["-subj", subject]
    for extension in extensions:
        command += ["-addext", extension]
    if authority:
        command += ["-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key"]
    run(command)


def server(folder, name, alternative_names):
    extensions = [f"subjectAltName={alternative_names}", "extendedKeyUsage=serverAuth"]
    sign(folder, name, f"/CN={name}", extensions)


def client(folder, name, subject):
    sign(folder, name, subject, ["extendedKeyUsage=clientAuth"])


def service_account_keys(folder):
    """The pair that signs and checks the tokens of service accounts."""
    private, public = folder / "service-accounts.key", folder / "service-accounts.pub"
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-out", private])  # fmt: skip
    run(["openssl", "pkey", "-in", private, "-pubout", "-out", public])


def kubeconfig(cluster, user):
    """Where the kubeconfig of a user lies; the one for people is in the cluster's own folder."""
    if user == "admin":
        return cluster.admin_kubeconfig
    return cluster.certificates / f"{user}.kubeconfig"


def write_kubeconfig(cluster, user):
    """The certificates are inside, so that the file can be copied."""

    def data(name):
        return base64.b64encode((cluster.certificates / name).read_bytes()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster.name,
        "clusters": [
            {
                "name": cluster.name,
                "cluster": {
                    "server": cluster.api_server,
                    "certificate-authority-data": data("ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": data(f"{user}.crt"),
                    "client-key-data": data(f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": cluster.name, "context": {"cluster": cluster.name, "user": user}}],
    }
    file = kubeconfig(cluster, user)
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=2))
