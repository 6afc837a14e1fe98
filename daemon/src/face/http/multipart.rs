//! Forms with files (RFC 7578): read as the bytes come, in pieces of any size, with nothing of a file held back but what could be
//! the beginning of a boundary.
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use memchr::memmem;

/// RFC 2046 §5.1.1: a boundary has at most 70 characters.
const MOST_BOUNDARY: usize = 70;
/// All headers of one part.
const MOST_HEAD: usize = 8 * 1024;
const MOST_PARTS: usize = 64;
/// Blanks behind a boundary (RFC 2046 §5.1.1, transport padding), or text before the first.
const MOST_PADDING: usize = 1024;
/// Of a piece so much is put behind what waits from the one before: it is done with then, as a rule, and the rest needs no copy.
const JOINT: usize = 4 * 1024;

/// A form that cannot be read, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadForm(pub(super) &'static str);

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The field.
    pub(super) name: String,
    /// The file's name, where it is one.
    pub(super) file_name: Option<String>,
}

/// What comes, in order: a head, bytes, an end, and the same again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins.
    Begin(Head),
    /// Some of its bytes.
    Bytes(Bytes),
    /// It is complete.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary: another part, or the end.
    Boundary,
    Head,
    Body,
    Done,
}

/// A form being read.
pub(super) struct Form {
    /// CRLF, two dashes and the boundary.
    delimiter: memmem::Finder<'static>,
    /// What waits for more: a head that is not whole, what could be the beginning of a boundary.
    buffer: Vec<u8>,
    state: State,
    parts: usize,
}

/// The boundary in a request's `Content-Type`, which must be `multipart/form-data`.
pub(super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let fits = (1..=MOST_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(|b| matches!(b, b' '..=b'~'))
        && !boundary.ends_with(' ');
    fits.then_some(boundary)
}

impl Form {
    /// With this boundary between its parts.
    pub(super) fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        // The first boundary may be the very beginning.
        let buffer = b"\r\n".to_vec();
        let delimiter = memmem::Finder::new(delimiter.as_bytes()).into_owned();
        Self { delimiter, buffer, state: State::Preamble, parts: 0 }
    }

    /// Whether the last boundary came: what is cut off before it is no form.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next bytes and tells `each` what they are.
    pub(super) fn feed<E: From<BadForm>>(
        &mut self,
        bytes: &Bytes,
        mut each: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut bytes = bytes.clone();
        while !bytes.is_empty() {
            let mut rest = if self.buffer.is_empty() {
                std::mem::take(&mut bytes)
            } else {
                let mut joined = std::mem::take(&mut self.buffer);
                joined.extend_from_slice(&bytes.split_to(JOINT.min(bytes.len())));
                joined.into()
            };
            while let Some(used) = self.step(&rest, &mut each)? {
                rest = rest.slice(used..);
            }
            self.buffer.extend_from_slice(&rest);
        }
        Ok(())
    }

    /// One step: how many bytes are done with; `None`: more are needed.
    fn step<E: From<BadForm>>(
        &mut self,
        rest: &Bytes,
        each: &mut impl FnMut(Event) -> Result<(), E>,
    ) -> Result<Option<usize>, E> {
        let length = self.delimiter.needle().len();
        match self.state {
            State::Preamble => match self.delimiter.find(rest) {
                Some(at) if at <= MOST_PADDING => {
                    self.state = State::Boundary;
                    Ok(Some(at + length))
                }
                Some(_) => Err(BadForm("a form begins with its boundary").into()),
                None if rest.len() > MOST_PADDING + length => {
                    Err(BadForm("a form begins with its boundary").into())
                }
                None => Ok(None),
            },
            State::Boundary => Ok(self.behind_boundary(rest)?),
            State::Head => {
                let Some((head, used)) = head(rest)? else { return Ok(None) };
                self.parts += 1;
                if self.parts > MOST_PARTS {
                    return Err(BadForm("too many parts").into());
                }
                each(Event::Begin(head))?;
                self.state = State::Body;
                Ok(Some(used))
            }
            State::Body => self.body(rest, length, each),
            State::Done => Ok(if rest.is_empty() { None } else { Some(rest.len()) }),
        }
    }

    fn behind_boundary(&mut self, rest: &[u8]) -> Result<Option<usize>, BadForm> {
        if rest.starts_with(b"--") {
            self.state = State::Done;
            return Ok(Some(2));
        }
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        match &rest[blanks..] {
            [b'\r', b'\n', ..] => {
                self.state = State::Head;
                Ok(Some(blanks + 2))
            }
            [] | [b'\r'] if blanks <= MOST_PADDING => Ok(None),
            [b'-'] if blanks == 0 => Ok(None),
            _ => Err(BadForm("unreadable boundary")),
        }
    }

    fn body<E: From<BadForm>>(
        &mut self,
        rest: &Bytes,
        length: usize,
        each: &mut impl FnMut(Event) -> Result<(), E>,
    ) -> Result<Option<usize>, E> {
        let found = self.delimiter.find(rest);
        let sure = found.unwrap_or_else(|| rest.len() - begun(self.delimiter.needle(), rest));
        if sure > 0 {
            each(Event::Bytes(rest.slice(..sure)))?;
        }
        if found.is_some() {
            each(Event::End)?;
            self.state = State::Boundary;
            return Ok(Some(sure + length));
        }
        Ok((sure > 0).then_some(sure))
    }
}

/// How many bytes at the end of these could be the beginning of a boundary.
fn begun(delimiter: &[u8], bytes: &[u8]) -> usize {
    let most = bytes.len().min(delimiter.len() - 1);
    (1..=most).rev().find(|length| bytes.ends_with(&delimiter[..*length])).unwrap_or(0)
}

/// The head of a part and how long it is, once all of it is there.
fn head(rest: &[u8]) -> Result<Option<(Head, usize)>, BadForm> {
    if rest.starts_with(b"\r\n") {
        return Err(BadForm("a part without a name"));
    }
    let Some(end) = memmem::find(&rest[..rest.len().min(MOST_HEAD)], b"\r\n\r\n") else {
        return if rest.len() >= MOST_HEAD { Err(BadForm("a part's head is too long")) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&rest[..end]).map_err(|_| BadForm("a part's head is not UTF-8"))?;
    let mut said = None;
    for line in text.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(BadForm("unreadable head of a part"))?;
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if said.is_some() => return Err(BadForm("a part says twice what it is")),
            "content-disposition" => said = Some(disposition(value.trim())?),
            // RFC 7578 §4.7. What was encoded would be stored as it came.
            "content-transfer-encoding"
                if !["binary", "8bit", "7bit"].contains(&value.trim().to_ascii_lowercase().as_str()) =>
            {
                return Err(BadForm("files are taken as they are, not encoded"));
            }
            _ => {}
        }
    }
    Ok(Some((said.ok_or(BadForm("a part without a name"))?, end + 4)))
}

fn disposition(value: &str) -> Result<Head, BadForm> {
    let (kind, parameters) = value.split_once(';').ok_or(BadForm("a part without a name"))?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(BadForm("a part of another form"));
    }
    let name = parameter(parameters, "name").ok_or(BadForm("a part without a name"))?;
    let extended = parameter(parameters, "filename*").and_then(|value| extended(&value));
    let file_name = extended.or_else(|| parameter(parameters, "filename").map(|name| unescaped(&name)));
    Ok(Head { name, file_name })
}

/// A parameter's value: a token, or a string in quotes in which a backslash stands before a quote or another backslash
/// (RFC 9110 §5.6.4); before anything else it is itself, as browsers send it.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, value) = rest.trim_start_matches([';', ' ', '\t']).split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            None => value
                .split_once(';')
                .map_or((value.trim_end().to_owned(), ""), |(v, r)| (v.trim_end().to_owned(), r)),
            Some(quoted) => unquoted(quoted)?,
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// What is in the quotes, and what comes after them.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if matches!(text[at + 1..].chars().next(), Some('"' | '\\')) => {
                value.extend(chars.next().map(|(_, c)| c))
            }
            _ => value.push(c),
        }
    }
    None
}

/// Browsers and what follows them write three characters in another way (WHATWG HTML, "multipart/form-data encoding algorithm").
fn unescaped(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "").replace("%0A", "")
}

/// `UTF-8''percent-encoded` (RFC 8187 §3.2).
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_encoding::percent_decode_str(encoded).decode_utf8().ok().map(String::from)
}

/// Forms: the same parts in however many pieces they arrive, and no byte that did not. The first byte says in how many.
#[cfg(any(test, fuzzing))]
pub fn form(bytes: &[u8]) {
    let Some((piece, body)) = bytes.split_first() else { return };
    let parts = |piece: usize| -> Result<_, BadForm> {
        let (mut form, mut parts, mut ended) = (Form::new("b"), Vec::<(Head, Vec<u8>)>::new(), 0);
        for piece in body.chunks(piece.max(1)) {
            form.feed::<BadForm>(&Bytes::copy_from_slice(piece), |event| {
                match event {
                    Event::Begin(head) => parts.push((head, Vec::new())),
                    Event::Bytes(bytes) => parts.iter_mut().for_each(|part| part.1.extend_from_slice(&bytes)),
                    Event::End => ended += 1,
                }
                Ok(())
            })?;
        }
        assert!(ended <= parts.len() && (!form.is_complete() || ended == parts.len()));
        Ok((parts, form.is_complete()))
    };
    let whole = parts(body.len());
    assert_eq!(whole, parts(usize::from(*piece)), "in pieces of {piece}");
    if let Ok((parts, true)) = whole {
        // The first part has taken all that came to any.
        assert!(parts.first().is_none_or(|part| part.1.len() < body.len()));
        assert!(parts.len() <= MOST_PARTS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Parts = Vec<(String, Option<String>, Vec<u8>)>;

    /// All parts of a body that comes in pieces of these sizes, and whether it was complete.
    fn read(boundary: &str, body: &[u8], pieces: &[usize]) -> Result<(Parts, bool), BadForm> {
        let mut form = Form::new(boundary);
        let (mut parts, mut open, mut rest) = (Parts::new(), false, body);
        let mut sizes = pieces.iter().copied().cycle();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
            rest = more;
            form.feed::<BadForm>(&Bytes::copy_from_slice(piece), |event| {
                match event {
                    Event::Begin(head) => {
                        assert!(!open);
                        open = true;
                        parts.push((head.name, head.file_name, Vec::new()));
                    }
                    Event::Bytes(bytes) => {
                        assert!(open && !bytes.is_empty());
                        parts.last_mut().unwrap().2.extend_from_slice(&bytes);
                    }
                    Event::End => open = false,
                }
                Ok(())
            })?;
        }
        assert!(!(form.is_complete() && open));
        Ok((parts, form.is_complete()))
    }

    fn written(boundary: &str, parts: &Parts) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, file_name, bytes) in parts {
            body.extend_from_slice(
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
            );
            if let Some(file_name) = file_name {
                let escaped = file_name.replace('\\', "\\\\").replace('"', "\\\"");
                body.extend_from_slice(
                    format!("; filename=\"{escaped}\"\r\nContent-Type: image/jpeg").as_bytes(),
                );
            }
            body.extend_from_slice(b"\r\n\r\n");
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        body
    }

    fn head_of(line: &str) -> Result<Head, BadForm> {
        head(format!("{line}\r\n\r\n").as_bytes()).map(|head| head.unwrap().0)
    }

    #[test]
    fn heads() {
        for (line, name, file_name) in [
            ("Content-Disposition: form-data; name=\"a\"", "a", None),
            ("content-disposition:form-data;name=a;filename=b.jpg", "a", Some("b.jpg")),
            (
                "Content-Disposition: form-data; filename=\"ünïcode ☃.heic\"; name=\"a\"",
                "a",
                Some("ünïcode ☃.heic"),
            ),
            (
                "Content-Disposition: form-data; name=\"a\"; filename=\"q\\\"\\\\.jpg\"",
                "a",
                Some("q\"\\.jpg"),
            ),
            (
                "Content-Disposition: form-data; name=\"a\"; filename=\"C:\\dir\\b.jpg\"",
                "a",
                Some("C:\\dir\\b.jpg"),
            ),
            ("Content-Disposition: form-data; name=\"a\"; filename=\"q%22.jpg\"", "a", Some("q\".jpg")),
            ("Content-Disposition: form-data; name=\"a\"; filename=\"x; name=b\"", "a", Some("x; name=b")),
            (
                "Content-Disposition: form-data; name=\"a\"; filename=\"x\"; filename*=utf-8''%C3%A4.jpg",
                "a",
                Some("ä.jpg"),
            ),
            ("Content-Type: image/jpeg\r\nContent-Disposition: form-data; name=\"a\"", "a", None),
            ("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: binary", "a", None),
        ] {
            let head = head_of(line).unwrap();
            assert_eq!((head.name.as_str(), head.file_name.as_deref()), (name, file_name), "{line}");
        }
        for bad in [
            "Content-Disposition: form-data",
            "Content-Disposition: attachment; name=\"a\"",
            "Content-Disposition: form-data; filename=\"a\"",
            "Content-Disposition: form-data; name=\"a",
            "Content-Type: image/jpeg",
            "no colon",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
        ] {
            assert!(head_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn boundaries() {
        let of = |value: &str| boundary(&HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]));
        assert_eq!(of("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(of("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"").as_deref(), Some("a b"));
        for none in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/mixed; boundary=abc",
            "text/plain; boundary=abc",
            "multipart/form-data; boundary=\"a",
            &format!("multipart/form-data; boundary={}", "x".repeat(71)),
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_held_back() {
        for (bytes, held) in [
            ("", 0),
            ("photo", 0),
            ("photo\r", 1),
            ("photo\r\n--bou", 7),
            ("photo\r\n--bout", 0),
            ("\r\r\n", 2),
            ("\r\n--boun", 8),
        ] {
            assert_eq!(begun(b"\r\n--bound", bytes.as_bytes()), held, "{bytes:?}");
        }
    }

    /// The bytes of a large file are handed on where they lie.
    #[test]
    fn a_file_is_not_copied() {
        let head = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_vec();
        let body = Bytes::from([head, vec![7; 100_000], b"\r\n--b--".to_vec()].concat());
        let (mut form, mut as_they_lie) = (Form::new("b"), 0);
        for piece in [body.slice(..60_000), body.slice(60_000..)] {
            let lies = piece.as_ptr_range();
            form.feed::<BadForm>(&piece, |event| {
                if let Event::Bytes(bytes) = event {
                    as_they_lie += if lies.contains(&bytes.as_ptr()) { bytes.len() } else { 0 };
                }
                Ok(())
            })
            .unwrap();
        }
        assert!(form.is_complete() && as_they_lie >= 100_000 - JOINT, "{as_they_lie}");
    }

    #[test]
    fn what_is_no_form() {
        let head = "Content-Disposition: form-data; name=\"a\"";
        for (body, why) in [
            ("--b".to_owned() + "X", "unreadable boundary"),
            ("hello".repeat(500), "a form begins with its boundary"),
            ("--b\r\n\r\nx\r\n--b--".to_owned(), "a part without a name"),
            (format!("--b\r\n{head}\r\n\r\nx\r\n--bc"), "unreadable boundary"),
            (format!("--b\r\nX: {}", "y".repeat(9000)), "a part's head is too long"),
            (format!("--b\r\n{head}\r\n\r\nx\r\n").repeat(65) + "--b--", "too many parts"),
        ] {
            assert_eq!(read("b", body.as_bytes(), &[7]).unwrap_err().0, why);
        }
        for cut in [
            "",
            "-",
            "--b",
            "--b\r\n",
            &format!("--b\r\n{head}\r\n\r\nphoto\r\n--b"),
            &format!("--b\r\n{head}\r\n\r\nphoto\r\n--b-"),
        ] {
            assert!(!read("b", cut.as_bytes(), &[1]).unwrap().1, "{cut:?}");
        }
    }

    prop_compose! {
        /// Bytes in which much looks like a boundary.
        fn bytes()(pieces in proptest::collection::vec(prop_oneof![
            Just(b"\r\n".to_vec()), Just(b"\r\n--".to_vec()), Just(b"\r\n--bound".to_vec()), Just(b"--".to_vec()), Just(b"\r".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20)], 0..12)) -> Vec<u8> {
            pieces.concat()
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_is_cut(
            parts in proptest::collection::vec(("[a-zA-Z]{1,9}", proptest::option::of("[^\u{0}-\u{1f}%\u{7f}]{0,12}"), bytes()), 0..5),
            pieces in proptest::collection::vec(1usize..40, 1..6),
        ) {
            let boundary = "boundary-4711";
            prop_assume!(parts.iter().all(|(.., bytes)| memmem::find(bytes, boundary.as_bytes()).is_none()));
            let mut body = written(boundary, &parts);
            prop_assert_eq!(read(boundary, &body, &pieces), Ok((parts.clone(), true)));
            body.extend_from_slice(b"an epilogue\r\n--boundary-4711\r\n");
            prop_assert_eq!(read(boundary, &body, &pieces), Ok((parts.clone(), true)));
            // Cut off anywhere before its last dashes it is not complete.
            let whole = written(boundary, &parts);
            let cut = pieces[0] % whole.len();
            let cut = cut.min(whole.len() - 3);
            if let Ok((_, complete)) = read(boundary, &whole[..cut], &pieces) {
                prop_assert!(!complete);
            }
        }

        #[test]
        fn any_bytes_in_any_pieces_are_the_same(body in bytes(), pieces in proptest::collection::vec(1usize..20, 1..4)) {
            let body = [b"--bound\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_vec(), body].concat();
            prop_assert_eq!(read("bound", &body, &pieces), read("bound", &body, &[body.len()]));
        }
    }
}
