//! HTTP/1 to HTTP/1: messages, both directions at once, and everything that can go wrong between.
//!
//! ```text
//!  messages      what arrives on the other side, and in which framing
//!  connections   many requests on one connection, and its end in between
//!  interim       interim responses, and expectations of them
//!  streaming     bodies that flow, and back-pressure
//!  early_end     one side ends before the other is done
//!  answers       what the gateway answers itself
//!  timeouts      what takes too long
//!  limits        what is too much
//! ```

use ferrix_e2e::{Backend, Gateway, Routes, backend::Connection};

mod answers;
mod connections;
mod early_end;
mod interim;
mod limits;
mod messages;
mod streaming;
mod timeouts;

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn to(backend: &Backend) -> Gateway {
    Gateway::start(Routes::all_to(&[backend.address()]))
}

fn to_with(settings: &str, backend: &Backend) -> Gateway {
    Gateway::start_with(settings, Routes::all_to(&[backend.address()]))
}

/// Sends each body back as it comes, in chunks.
async fn echo() -> Backend {
    Backend::start(async |mut connection: Connection| {
        while connection.head().await.is_some() {
            connection
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            while let Some(piece) = connection.piece().await {
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
                if !connection.send(chunk).await {
                    return;
                }
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await
}
