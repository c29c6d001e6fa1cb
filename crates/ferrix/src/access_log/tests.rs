use std::{fs, sync::Arc};

use ferrix_table::{
    object::{Key, Kind, ObjectName},
    rules::Route,
    services::{Scheme, ServiceId},
};

use super::*;

fn record() -> Record {
    Record {
        time: UNIX_EPOCH + Duration::from_millis(971_186_136_250),
        duration: Duration::from_micros(1_500),
        client: "[::ffff:192.0.2.7]:4711".parse().unwrap(),
        entry_point: "web".into(),
        protocol: "HTTP/1.1",
        method: http::Method::GET,
        host: "example.com".into(),
        path: "/api?q=1".into(),
        status: 200,
        received_bytes: 0,
        sent_bytes: 100,
        route: Some(Arc::new(Route {
            key: Key::new(Kind::IngressRoute, "default", "example-route"),
            generation: 1,
            created: None,
            state: Arc::default(),
        })),
        rule: 2,
        service: Some(ServiceId {
            service: ObjectName::new("default", "api-service"),
            port: 8080,
            scheme: Scheme::Http,
        }),
        endpoint: Some("127.0.0.1:9001".parse().unwrap()),
        attempts: 1,
        request_id: "abc".into(),
        referer: Some("https://a.test/?\"".into()),
        user_agent: Some("curl/8".into()),
        cut: false,
        error: None,
        more: None,
    }
}

fn refused() -> Record {
    Record {
        host: String::new(),
        path: "/a\" \n\u{85}\\".into(),
        status: 0,
        route: None,
        service: None,
        endpoint: None,
        attempts: 0,
        request_id: String::new(),
        referer: None,
        user_agent: Some("x\r\n127.0.0.1 - forged".into()),
        error: Some("the client left".into()),
        ..record()
    }
}

fn line(format: fn(&mut Vec<u8>, &Record), record: &Record) -> String {
    let mut line = Vec::new();
    format(&mut line, record);
    String::from_utf8(line).unwrap()
}

#[test]
fn text_is_combined_and_more() {
    assert_eq!(
        line(text_line, &record()),
        "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /api?q=1 HTTP/1.1\" 200 100 \"https://a.test/?\\\"\" \
         \"curl/8\" \"example.com\" IngressRoute:default/example-route:2 default/api-service:8080 \
         127.0.0.1:9001 1 0.001500 abc \"-\"\n",
    );
}

#[test]
fn a_client_cannot_forge_a_line() {
    assert_eq!(
        line(text_line, &refused()),
        "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /a\\\" \\x0A\\xC2\\x85\\\\ HTTP/1.1\" \
         000 100 \"-\" \"x\\x0D\\x0A127.0.0.1 - forged\" \"\" - - - 0 0.001500 - \
         \"the client left\"\n",
    );
    assert_eq!(line(json_line, &refused()).matches('\n').count(), 1);
}

#[test]
fn json_has_every_key() {
    let json: serde_json::Value = serde_json::from_str(&line(json_line, &record())).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "time": "2000-10-10T13:55:36.250Z",
            "entry_point": "web",
            "client": "192.0.2.7",
            "client_port": 4711,
            "protocol": "HTTP/1.1",
            "method": "GET",
            "host": "example.com",
            "path": "/api?q=1",
            "status": 200,
            "received_bytes": 0,
            "sent_bytes": 100,
            "seconds": 0.0015,
            "route_kind": "IngressRoute",
            "route_namespace": "default",
            "route_name": "example-route",
            "rule": 2,
            "service_namespace": "default",
            "service_name": "api-service",
            "service_port": 8080,
            "endpoint": "127.0.0.1:9001",
            "attempts": 1,
            "request_id": "abc",
            "referer": "https://a.test/?\"",
            "user_agent": "curl/8",
            "cut": false,
            "error": null,
        }),
    );
}

#[test]
fn fields_that_a_rule_adds() {
    let record = Record {
        more: Some(Box::new(MoreFields {
            request: vec![
                ("x-a".into(), "a \"b\"\n".into()),
                ("x-b".into(), "c".into()),
            ],
            response: vec![("x-a".into(), "d".into())],
        })),
        ..record()
    };
    let text = line(text_line, &record);
    assert!(
        text.ends_with(" abc \"-\" >x-a=\"a \\\"b\\\"\\x0A\" >x-b=\"c\" <x-a=\"d\"\n"),
        "{text}"
    );
    assert_eq!(text.matches('\n').count(), 1);
    let json: serde_json::Value = serde_json::from_str(&line(json_line, &record)).unwrap();
    let expected = serde_json::json!({"x-a": "a \"b\"\n", "x-b": "c"});
    assert_eq!(json["request_headers"], expected);
    assert_eq!(json["response_headers"], serde_json::json!({"x-a": "d"}));
}

#[test]
fn dates() {
    for (seconds, date) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399, "2000-02-28T23:59:59.000Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (951_868_800, "2000-03-01T00:00:00.000Z"),
        (1_735_689_599, "2024-12-31T23:59:59.000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z"),
    ] {
        let time = Time::from(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(time.rfc3339(), date);
    }
}

#[test]
fn the_end_writes_what_is_queued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let settings = AccessLog {
        format: AccessLogFormat::Json,
        path: Some(path.clone()),
        buffer: 2_000,
    };
    let (sender, records) = tokio::sync::mpsc::channel(settings.buffer);
    for _ in 0..2_000 {
        sender.try_send(record()).unwrap();
    }
    drop(Thread::start(&settings, records).unwrap());
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 2_000);
}

#[test]
fn a_stuck_sink_does_not_hold_the_end() {
    // Nothing ever reads from this pipe, and this is more than it takes.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let _other_end = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let settings = AccessLog {
        format: AccessLogFormat::Text,
        path: Some(path),
        buffer: 10_000,
    };
    let (sender, records) = tokio::sync::mpsc::channel(settings.buffer);
    for _ in 0..10_000 {
        sender.try_send(record()).unwrap();
    }
    let began = Instant::now();
    drop(Thread::start(&settings, records).unwrap());
    assert!(began.elapsed() < 5 * PATIENCE);
}

#[test]
fn a_pipe_without_a_reader_does_not_hold_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let settings = AccessLog {
        format: AccessLogFormat::Text,
        path: Some(path),
        buffer: 10,
    };
    let error = Writer::start(&settings).unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error}");
}

#[test]
fn a_broken_sink_is_counted() {
    let settings = AccessLog {
        format: AccessLogFormat::Text,
        path: Some("/dev/full".into()),
        buffer: 10,
    };
    let (sender, records) = tokio::sync::mpsc::channel(settings.buffer);
    for _ in 0..10 {
        sender.try_send(record()).unwrap();
    }
    let thread = Thread::start(&settings, records).unwrap().unwrap();
    let lost = Arc::clone(&thread.lost);
    drop(thread);
    assert_eq!(lost.get(), 10);
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut sink = Sink::file(&path).unwrap();
    sink.write(b"one\n").unwrap();
    fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    let Sink::File { checked, .. } = &mut sink else {
        unreachable!()
    };
    *checked -= 2 * INTERVAL;
    sink.write(b"two\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
}

#[test]
fn off_is_nothing() {
    assert!(Writer::start(&AccessLog::default()).unwrap().is_none());
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let settings = AccessLog {
        format: AccessLogFormat::Text,
        path: Some("/nonexistent/access.log".into()),
        buffer: 10,
    };
    let error = Writer::start(&settings).unwrap_err().to_string();
    assert!(
        error.starts_with("access_log.path: cannot open /nonexistent/access.log: "),
        "{error}",
    );
}
