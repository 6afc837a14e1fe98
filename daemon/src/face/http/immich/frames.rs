//! WebSocket frames (RFC 6455), as far as a socket on which a server says little needs them: whole messages of text, short ones, from a client
//! that masks them.
use sha1::{Digest as _, Sha1};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a message that is read; a longer one ends the connection.
pub(super) const LONGEST: usize = 4096;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A message.
    Text(String),
    /// A question whether anybody is there, with what the answer has to repeat.
    Ping(Vec<u8>),
    /// The answer to one.
    Pong,
    /// The end.
    Close,
}

/// What a client may not send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadFrame(pub(super) &'static str);

/// The answer to a client's key (§4.2.2).
pub(super) fn accept(key: &str) -> String {
    const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

/// Whether this is a client's key: sixteen bytes in base64.
pub(super) fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// The first frame of what came, and how many bytes it took. `None`: it is not all here (§5.2).
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, BadFrame> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (is_last, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
    if reserved != 0 {
        return Err(BadFrame("an extension that was not agreed on"));
    }
    if second & 0x80 == 0 {
        return Err(BadFrame("a client masks what it sends"));
    }
    let (length, head) = match (second & 0x7f, rest) {
        (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        (126, _) => return Ok(None),
        (127, _) => return Err(BadFrame("a message that is too long")),
        (short, _) => (usize::from(short), 2),
    };
    if length > LONGEST || (opcode >= 8 && length > 125) {
        return Err(BadFrame("a message that is too long"));
    }
    if !is_last || opcode == 0 {
        return Err(BadFrame("a message in pieces"));
    }
    let (Some(mask), Some(masked)) = (bytes.get(head..head + 4), bytes.get(head + 4..head + 4 + length))
    else {
        return Ok(None);
    };
    let plain: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let frame = match opcode {
        1 => Frame::Text(String::from_utf8(plain).map_err(|_| BadFrame("a text that is none"))?),
        8 => Frame::Close,
        9 => Frame::Ping(plain),
        10 => Frame::Pong,
        _ => return Err(BadFrame("a message of no kind that is known here")),
    };
    Ok(Some((frame, head + 4 + length)))
}

/// A frame with a message of text.
pub(super) fn text(message: &str) -> Vec<u8> {
    write(1, message.as_bytes())
}

/// The answer to a ping.
pub(super) fn pong(bytes: &[u8]) -> Vec<u8> {
    write(10, bytes)
}

/// The end, and why (§7.4.1).
pub(super) fn close(code: u16) -> Vec<u8> {
    write(8, &code.to_be_bytes())
}

fn write(opcode: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(bytes.len()) {
        Ok(length) if length < 126 => frame.push(length),
        _ => {
            frame.push(126);
            // Nothing that is sent here is longer; a longer one would be cut off, and its reader end the connection.
            frame.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend_from_slice(bytes);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(opcode: u8, bytes: &[u8]) -> Vec<u8> {
        let mut frame = write(opcode, bytes);
        frame[1] |= 0x80;
        let head = if frame[1] & 0x7f == 126 { 4 } else { 2 };
        let mask = [1, 2, 3, 4];
        let body: Vec<u8> = bytes.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m).collect();
        frame.truncate(head);
        frame.extend_from_slice(&mask);
        frame.extend_from_slice(&body);
        frame
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(is_key("dGhlIHNhbXBsZSBub25jZQ==") && !is_key("abc") && !is_key(""));
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(parse(&hello), Ok(Some((Frame::Text("Hello".to_owned()), hello.len()))));
        assert_eq!(text("Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    }

    #[test]
    fn what_no_client_may_send() {
        for bad in [
            &[0x81, 0x05, 1, 2, 3, 4][..],
            &[0xc1, 0x80, 0, 0, 0, 0],
            &[0x01, 0x80, 0, 0, 0, 0],
            &[0x80, 0x80, 0, 0, 0, 0],
            &[0x81, 0xff, 0, 0, 0, 0],
            &[0x81, 0xfe, 0xff, 0xff],
            &[0x89, 0xfe, 0, 126],
            &[0x82, 0x80, 0, 0, 0, 0],
            &[0x81, 0x81, 0, 0, 0, 0, 0xff],
        ] {
            assert!(parse(bad).is_err(), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn a_message_comes_back_whatever_follows_and_never_before_it_is_all_here(message in "\\PC{0,300}", more in proptest::collection::vec(any::<u8>(), 0..9)) {
            let frame = masked(1, message.as_bytes());
            for end in 0..frame.len() {
                prop_assert_eq!(parse(&frame[..end]), Ok(None));
            }
            let length = frame.len();
            prop_assert_eq!(parse(&[frame, more].concat()), Ok(Some((Frame::Text(message), length))));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(Some((_, taken))) = parse(&bytes) {
                prop_assert!(taken <= bytes.len());
            }
        }
    }
}
