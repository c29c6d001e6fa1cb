//! What each key of the settings file expects, in words. The tests hold the list equal to what
//! serde accepts, and `docs/settings.md` to the list.

/// What each key of the file expects, in words. `[]` stands for every element of a list.
pub const KEYS: &[(&str, &str)] = &[
    ("", MAPPING),
    ("entry_points", "a list of entry points"),
    ("entry_points[]", "a mapping with name and port"),
    ("entry_points[].name", NAME),
    ("entry_points[].address", "an IP address such as 0.0.0.0"),
    ("entry_points[].port", "a number from 0 to 65535"),
    ("entry_points[].exposed_port", "a number from 1 to 65535"),
    ("entry_points[].secure", BOOLEAN),
    ("entry_points[].proxy_protocol", "a list of networks"),
    ("entry_points[].proxy_protocol[]", NETWORK),
    ("source", "a mapping with files or kubernetes"),
    ("source.namespaces", "a list of namespaces"),
    ("source.namespaces[]", "the name of a namespace"),
    ("source.ingress_class", "the name of a class"),
    ("source.allow_external_name", BOOLEAN),
    ("source.files", "a mapping with path"),
    ("source.files.path", "the path of a folder"),
    ("source.kubernetes", MAPPING),
    ("source.kubernetes.kubeconfig", "the path of a file"),
    ("source.kubernetes.secrets", "namespaces or cluster"),
    ("source.kubernetes.snapshot_folder", "the path of a folder"),
    (
        "source.kubernetes.publish_service",
        "NAMESPACE/NAME of a Service",
    ),
    (
        "source.kubernetes.publish_addresses",
        "a list of addresses and names",
    ),
    (
        "source.kubernetes.publish_addresses[]",
        "an IP address or a name",
    ),
    ("entry_points[].filters", "a list of Filters"),
    ("entry_points[].filters[]", FILTER),
    ("filters", MAPPING),
    ("filters.namespace", "the name of a namespace"),
    ("filters.namespaces", "a list of namespaces with Filters"),
    (
        "filters.namespaces[]",
        "a mapping with namespaces and filters",
    ),
    ("filters.namespaces[].namespaces", "a list of namespaces"),
    ("filters.namespaces[].namespaces[]", NAMESPACE),
    ("filters.namespaces[].filters", "a list of Filters"),
    ("filters.namespaces[].filters[]", FILTER),
    ("hosts", MAPPING),
    ("hosts.first_claim", BOOLEAN),
    (
        "hosts.allowed",
        "a list of namespaces, or their labels, with hosts",
    ),
    ("hosts.allowed[]", GRANT),
    ("hosts.allowed[].namespaces", "a list of namespaces"),
    ("hosts.allowed[].namespaces[]", NAMESPACE),
    (
        "hosts.allowed[].labels",
        "a mapping of labels to their values, which are texts",
    ),
    ("hosts.allowed[].hosts", "a list of hosts"),
    ("hosts.allowed[].hosts[]", HOSTS),
    ("issuers", MAPPING),
    (
        "issuers.allowed",
        "a list of namespaces, or their labels, with hosts",
    ),
    ("issuers.allowed[]", GRANT),
    ("issuers.allowed[].namespaces", "a list of namespaces"),
    ("issuers.allowed[].namespaces[]", NAMESPACE),
    (
        "issuers.allowed[].labels",
        "a mapping of labels to their values, which are texts",
    ),
    ("issuers.allowed[].hosts", "a list of hosts"),
    ("issuers.allowed[].hosts[]", HOSTS),
    ("gateway", MAPPING),
    (
        "gateway.controller",
        "a name such as ferrix.com/gateway-controller",
    ),
    ("gateway.addresses", "a list of networks"),
    ("gateway.addresses[]", NETWORK),
    ("gateway.services", MAPPING),
    (
        "gateway.services.annotations",
        "a mapping of annotations to their values, which are texts",
    ),
    (
        "gateway.services.spec",
        "a mapping, the spec of a Service without its ports",
    ),
    ("admin", MAPPING),
    (
        "admin.address",
        "an address and port such as 127.0.0.1:6192",
    ),
    ("log", MAPPING),
    ("log.level", "error, warn, info, debug or trace"),
    ("log.format", "text or json"),
    ("access_log", MAPPING),
    ("access_log.format", "off, text or json"),
    ("access_log.path", "the path of a file"),
    ("access_log.buffer", "a number from 1 to 1000000"),
    ("server", MAPPING),
    ("server.threads", "a number from 0 to 1024"),
    ("server.name", "a text that can stand in a header"),
    (
        "server.drain_delay",
        "a duration such as 10s, from 0s to 1d",
    ),
    (
        "server.drain_timeout",
        "a duration such as 10s, from 0s to 1d",
    ),
    ("server.temporary_folder", "the path of a folder"),
    ("limits", MAPPING),
    (
        "limits.header_bytes",
        "a size such as 64KiB, from 1KiB to 16MiB",
    ),
    ("limits.header_count", "a number from 1 to 256"),
    ("limits.uri_bytes", "a size such as 64KiB, from 1B to 16MiB"),
    ("limits.body_bytes", SIZE),
    ("limits.connections", COUNT),
    ("limits.connections_per_client", COUNT),
    ("limits.requests_per_client", COUNT),
    ("limits.udp_sessions", "a number from 1 to 1048576"),
    ("limits.requests_per_connection", COUNT),
    ("limits.body_rate", SIZE),
    ("limits.buffered_bytes", SIZE),
    ("timeouts", MAPPING),
    ("timeouts.header", "a duration such as 10s, from 1ms to 1h"),
    (
        "timeouts.tls_handshake",
        "a duration such as 10s, from 1ms to 1h",
    ),
    (
        "timeouts.keep_alive",
        "a duration such as 10s, from 1ms to 365d",
    ),
    ("timeouts.body", "a duration such as 10s, from 1ms to 365d"),
    (
        "timeouts.body_grace",
        "a duration such as 10s, from 1ms to 365d",
    ),
    ("timeouts.write", "a duration such as 10s, from 1ms to 365d"),
    ("timeouts.connect", "a duration such as 10s, from 1ms to 1h"),
    (
        "timeouts.response",
        "0s, or a duration such as 10s, from 1ms to 365d",
    ),
    (
        "timeouts.upgraded",
        "a duration such as 10s, from 1ms to 365d",
    ),
    ("timeouts.udp", "a duration such as 10s, from 1ms to 1h"),
    ("http2", MAPPING),
    ("http2.streams", "a number from 1 to 100000"),
    (
        "http2.stream_window",
        "a size such as 64KiB, from 65535B to 2147483647B",
    ),
    (
        "http2.connection_window",
        "a size such as 64KiB, from 65535B to 2147483647B",
    ),
    (
        "http2.header_list",
        "a size such as 64KiB, from 1KiB to 16MiB",
    ),
    (
        "http2.request_headers",
        "0, or a size such as 64KiB, from 1KiB to 1GiB",
    ),
    ("http2.reset_streams", COUNT),
    ("http2.control_frames", COUNT),
    ("tls", MAPPING),
    ("tls.minimum_version", "\"1.2\" or \"1.3\" (with quotes)"),
    ("tls.tickets", BOOLEAN),
    (
        "tls.default_certificate",
        "a mapping with secret, or with certificate_file and key_file",
    ),
    ("tls.default_certificate.secret", "NAMESPACE/NAME"),
    (
        "tls.default_certificate.certificate_file",
        "the path of a PEM file",
    ),
    ("tls.default_certificate.key_file", "the path of a PEM file"),
    ("paths", MAPPING),
    ("paths.merge_slashes", BOOLEAN),
    ("paths.refuse_encoded_slashes", BOOLEAN),
    ("headers", MAPPING),
    ("headers.underscores", "drop_aliases, allow or refuse"),
    ("headers.odd_responses", "mend or refuse"),
    ("forwarded", MAPPING),
    ("forwarded.trusted", "a list of networks"),
    ("forwarded.trusted[]", NETWORK),
    ("upstream", MAPPING),
    ("upstream.connections", COUNT),
    ("upstream.connections_per_endpoint", COUNT),
    ("upstream.idle_connections", COUNT),
    (
        "upstream.idle_timeout",
        "a duration such as 10s, from 0s to 365d",
    ),
    ("upstream.attempts", "a number from 1 to 100"),
    ("upstream.tls", MAPPING),
    ("upstream.tls.verify", BOOLEAN),
    ("upstream.tls.authorities", "the path of a PEM file"),
    ("upstream.tcp", MAPPING),
    (
        "upstream.tcp.keep_alive_idle",
        "a duration such as 10s, from 1s to 32767s",
    ),
    (
        "upstream.tcp.keep_alive_interval",
        "a duration such as 10s, from 1s to 32767s",
    ),
    ("upstream.tcp.keep_alive_probes", "a number from 1 to 127"),
    (
        "upstream.tcp.user_timeout",
        "0s, or a duration such as 10s, from 1ms to 1d",
    ),
    ("upstream.tcp.source_addresses", "a list of addresses"),
    (
        "upstream.tcp.source_addresses[]",
        "an address such as 10.0.0.1 or 2001:db8::1",
    ),
    ("upstream.tcp.fast_open", BOOLEAN),
    (
        "upstream.tcp.receive_buffer",
        "0, or a size such as 64KiB, from 1KiB to 1GiB",
    ),
    ("upstream.tcp.dscp", "a number from 0 to 63"),
    ("replicas", "a mapping with address, peers and key_file"),
    (
        "replicas.address",
        "an address and port such as 0.0.0.0:6193",
    ),
    (
        "replicas.peers",
        "a list of addresses and names, each with a port",
    ),
    (
        "replicas.peers[]",
        "an address or a name with a port, such as ferrix-replicas:6193",
    ),
    ("replicas.key_file", "the path of a file"),
];

pub(super) const MAPPING: &str = "a mapping";
pub(super) const NAME: &str = "a name of letters, digits, - and _, at most 63 long";
pub(super) const NAMESPACE: &str = "the name of a namespace, or \"*\" (with quotes) for every one";
pub(super) const FILTER: &str = "a Filter, as NAMESPACE/NAME";
pub(super) const HOSTS: &str =
    "\"*\" (with quotes), or a host such as example.com, \"*.example.com\" or \"**.example.com\"";
pub(super) const GRANT: &str = "a mapping with hosts, and with namespaces or labels";
pub(super) const BOOLEAN: &str = "true or false";
pub(super) const NETWORK: &str = "a network such as 10.0.0.0/8 or 2001:db8::/32";
pub(super) const COUNT: &str = "a number, 0 or above";
pub(super) const SIZE: &str = "a size such as 64KiB, or a number of bytes";
