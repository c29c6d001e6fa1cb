//! HTTP/1 messages (RFC 9112): from bytes to header sections and bodies, and back.
//!
//! It does no input or output, and it decides nothing: a caller feeds it what arrived, and asks
//! how a message is framed. What two servers could read in two ways is an error here.

mod body;
mod fields;
mod framing;
mod head;
mod oddity;
mod target;

pub use crate::{
    body::{BodyError, Decoder, Piece},
    fields::Fields,
    framing::{
        Framing, FramingError, content_length, keeps_alive, request_framing, response_framing,
        tokens,
    },
    head::{HeadError, MAX_FIELDS, RequestHead, ResponseHead},
    oddity::Oddity,
};
