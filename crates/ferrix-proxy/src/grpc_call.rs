//! A call of the proxy's own by gRPC: one message each way. Whatever is not a whole answer is none.

use bytes::{BufMut, Bytes, BytesMut};
use ferrix_http1::RequestHead;
use http::{Method, StatusCode, Version};
use prost::Message;

use crate::subrequest::Reply;

/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The header section of a call, for a message of so many bytes. `timeout`: how long it may take, as whoever
/// is called is told.
pub(crate) fn head(method: &str, host: &str, timeout: &str, length: usize) -> RequestHead {
    let mut head = RequestHead::new(Method::POST, method.as_bytes(), Version::HTTP_11);
    for (name, value) in [
        ("Host", host),
        ("Content-Type", "application/grpc"),
        ("TE", "trailers"),
        ("grpc-timeout", timeout),
        ("Content-Length", &*length.to_string()),
    ] {
        head.fields.append(name, value.as_bytes());
    }
    head
}

/// A message as it is sent.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    // Header sections and bodies that are shown have bounds far below.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}

/// The message of an answer.
///
/// # Errors
/// Why there is none.
pub(crate) fn answer<M: Message + Default>(reply: &Reply) -> Result<M, String> {
    if reply.head.status != StatusCode::OK {
        return Err(format!("it answered {}", reply.head.status));
    }
    // An answer without a message has its status in the header section.
    let of_head = reply.head.fields.get("grpc-status");
    let of_trailers = reply.trailers.as_ref();
    let of_trailers = of_trailers.and_then(|it| Some(it.get("grpc-status")?.as_bytes()));
    match of_trailers.or(of_head) {
        Some(b"0") => {}
        Some(status) => {
            let status = String::from_utf8_lossy(status);
            return Err(format!("its gRPC status is {status}"));
        }
        None => return Err("it ended without a gRPC status".to_owned()),
    }
    let Some((prefix, message)) = reply.body.split_at_checked(PREFIX) else {
        return Err("it sent no message".to_owned());
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || u32::try_from(message.len()) != Ok(length) {
        return Err("its message is compressed, too long, or one of several".to_owned());
    }
    M::decode(message).map_err(|error| format!("its message is none: {error}"))
}
