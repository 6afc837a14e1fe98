//! `POST /part`: some bytes of a file, all parts at once and in any order; each is durable when it is answered.
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts;

use super::reader::{Reader, Said};
use super::{Shared, WRONG, id, known, ready, sign_in};
use crate::face::http::reply::{Deny, Reply};
use crate::face::http::upload::{self, Sink};
use crate::os::clock;
use crate::work::parts::Loose;

/// The longest part, bytes: the app sends a whole HEIC photo as one, as a JPEG of the best quality.
const MOST_BYTES: u64 = 256 << 20;
/// The same as it comes: Base64, every slash behind a backslash.
const MOST_TEXT: u64 = MOST_BYTES * 2;
/// An id of an upload is a UUID; whatever it is, it is not long.
const LONGEST_ID: usize = 64;

/// A part on its way in.
struct Taking {
    shared: Arc<Shared>,
    reader: Reader,
    /// None until the first of its bytes may be taken.
    loose: Loose,
    /// Whoever sends it is one who may, as far as that is known before the end.
    is_known: bool,
}

/// A part that is here, and of which nothing has a name.
struct Taken {
    said: Said,
    loose: Loose,
}

impl Sink for Taking {
    type Done = Taken;

    fn write(&mut self, bytes: &Bytes) -> Result<(), Deny> {
        let Self { shared, reader, loose, is_known } = self;
        reader.feed(bytes, |said, bytes| {
            if !*is_known {
                // No password so far, and from nobody whom we know.
                known(shared, said.password.as_deref())?.ok_or(WRONG)?;
                *is_known = true;
            }
            Ok(loose.write(bytes)?)
        })
    }

    fn finish(self) -> Result<Taken, Deny> {
        Ok(Taken { said: self.reader.finish()?, loose: self.loose })
    }
}

/// Takes a part.
pub(super) async fn take(
    shared: &Arc<Shared>,
    _parts: &Parts,
    body: &mut Option<Incoming>,
    from: IpAddr,
) -> Result<Reply, Deny> {
    let length = body.as_ref().and_then(|body| body.size_hint().exact());
    if length.is_some_and(|length| length > MOST_TEXT) {
        return Err(Deny::Status(StatusCode::PAYLOAD_TOO_LARGE, "a part is too long"));
    }
    shared.face.pool.available()?;
    let (face, is_known) = (&shared.face, shared.callers.knows(from, clock::monotonic()));
    let (begun, parts) = (Arc::clone(shared), face.parts.clone());
    // Three bytes in four characters.
    let expected = length.unwrap_or(0) / 4 * 3;
    let begin = move || {
        let loose = parts.begin_loose(expected)?;
        Ok(Taking { shared: begun, reader: Reader::new(MOST_BYTES), loose, is_known })
    };
    let Taken { said, loose } = match upload::pump(body, face, begin).await {
        // Whoever has no password, or a wrong one, waits for the answer.
        Err(Deny::Status(StatusCode::UNAUTHORIZED, _)) => {
            sign_in(shared, None, from).await?;
            return Err(WRONG);
        }
        other => other?,
    };
    let device = sign_in(shared, said.password.as_deref(), from).await?;
    let (Some(upload), Some(number)) = (said.upload, said.number) else {
        return Err(Deny::Bad("of which upload is it a part, and which?"));
    };
    if upload.is_empty() || upload.len() > LONGEST_ID {
        return Err(Deny::Bad("this is no upload's id"));
    }
    let parts = face.parts.clone();
    upload::blocking(&face.pool, move || {
        parts.keep(&device, &id(&device, &upload), number, loose)?;
        ready(&"")
    })
    .await
}
