//! XMP as far as motion photos use it: Google's `MicroVideo` (2017), `MotionPhoto` and its container (2020), as attributes or elements.
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Bytes of the video behind a motion photo, 0 where it does not say; `None`: it is none.
pub(super) fn motion(xmp: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(xmp).ok()?;
    let mut reader = Reader::from_str(text);
    let (mut is_one, mut bytes, mut element) = (false, None, String::new());
    // What is no XML any more says nothing; what came before it does.
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(start) | Event::Empty(start) => {
                element = local(start.name().as_ref()).to_owned();
                is_one |= flagged(&start);
                bytes = bytes.or_else(|| length(&start));
            }
            Event::Text(value) => {
                let value: &str = &value;
                match element.as_str() {
                    "MotionPhoto" | "MicroVideo" => is_one |= value.trim() == "1",
                    "MicroVideoOffset" => bytes = bytes.or_else(|| value.trim().parse().ok()),
                    _ => {}
                }
            }
            Event::End(_) => element.clear(),
            Event::Eof => break,
            Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => {}
        }
    }
    is_one.then_some(bytes.unwrap_or(0))
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// Attributes with the local part of their names, as far as they can be read.
fn attributes(start: &BytesStart<'_>) -> Vec<(String, String)> {
    // More than this no element of a camera's has.
    const MOST: usize = 256;
    let pair = |attribute: quick_xml::events::attributes::Attribute<'_>| {
        let value = quick_xml::escape::unescape(&attribute.value).ok()?.into_owned();
        Some((local(attribute.key.as_ref()).to_owned(), value))
    };
    // Not compared with each other: that takes the square of their number.
    start.attributes().with_checks(false).take(MOST).filter_map(|one| pair(one.ok()?)).collect()
}

fn flagged(start: &BytesStart<'_>) -> bool {
    let names = ["MotionPhoto", "MicroVideo"];
    attributes(start).iter().any(|(name, value)| names.contains(&name.as_str()) && value == "1")
}

/// Of the video: given by the older way's offset from the end, or by the newer way's item.
fn length(start: &BytesStart<'_>) -> Option<u64> {
    let attributes = attributes(start);
    let value =
        |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if let Some(offset) = value("MicroVideoOffset") {
        return offset.parse().ok();
    }
    (value("Semantic") == Some("MotionPhoto")).then(|| value("Length")?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdf(description: &str) -> String {
        format!("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF>{description}</rdf:RDF></x:xmpmeta>")
    }

    #[test]
    fn motion_photos_of_both_kinds_and_what_is_none() {
        for (what, xmp, expect) in [
            ("2017", "<rdf:Description GCamera:MicroVideo=\"1\" GCamera:MicroVideoOffset=\"4711\"/>", Some(4711)),
            (
                "2020",
                "<rdf:Description Camera:MotionPhoto=\"1\"><Container:Directory><rdf:Seq>
                 <rdf:li><Container:Item Item:Semantic=\"Primary\" Item:Length=\"0\"/></rdf:li>
                 <rdf:li><Container:Item Item:Mime=\"video/mp4\" Item:Semantic=\"MotionPhoto\" Item:Length=\"815\"/></rdf:li>
                 </rdf:Seq></Container:Directory></rdf:Description>",
                Some(815),
            ),
            (
                "as elements",
                "<rdf:Description><GCamera:MicroVideo>1</GCamera:MicroVideo>
                 <GCamera:MicroVideoOffset>99</GCamera:MicroVideoOffset></rdf:Description>",
                Some(99),
            ),
            ("no length", "<rdf:Description GCamera:MotionPhoto=\"1\"/>", Some(0)),
            ("switched off", "<rdf:Description GCamera:MotionPhoto=\"0\" GCamera:MicroVideoOffset=\"5\"/>", None),
            ("another", "<rdf:Description tiff:Make=\"x\"/>", None),
            ("a length that is none", "<rdf:Description GCamera:MicroVideo=\"1\" GCamera:MicroVideoOffset=\"-1\"/>", Some(0)),
        ] {
            assert_eq!(motion(rdf(xmp).as_bytes()), expect, "{what}");
        }
        assert_eq!(motion(b"\xff\xfe<"), None);
        // What is cut off keeps what was said before.
        assert_eq!(motion(b"<a MotionPhoto=\"1\"><b"), Some(0));
    }
}
