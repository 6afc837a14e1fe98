//! OCS, the interface of accounts and abilities: an envelope around a few values, as JSON or XML.
use hyper::header::ACCEPT;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::face::http::reply::{self, Reply};
use crate::face::http::webdav::escape;

/// The version that is announced. From 33 on the iOS app leaves missing folders to the server, and Android shows no warning.
pub(super) const VERSION: (u32, u32, u32) = (33, 0, 0);

/// A reply in the envelope. On v2 its number is the HTTP status; on v1 100 means well.
pub(super) fn envelope(parts: &Parts, v2: bool, status: StatusCode, data: Value) -> Reply {
    let fine = status.is_success();
    let code = if fine && !v2 { 100 } else { status.as_u16() };
    let words = if fine { "OK" } else { "there is no such thing here" };
    let meta = json!({
        "status": if fine { "ok" } else { "failure" },
        "statuscode": code,
        "message": words,
    });
    // On v1 a thing that is not there is no error of HTTP's.
    let http = if v2 { status } else { StatusCode::OK };
    if wants_json(parts.uri.query(), &parts.headers) {
        let body = json!({ "ocs": { "meta": meta, "data": data } });
        return reply::whole(http, "application/json; charset=utf-8", body.to_string());
    }
    let mut body = String::from("<?xml version=\"1.0\"?>\n<ocs>");
    write_xml("meta", &meta, &mut body);
    write_xml("data", &data, &mut body);
    body.push_str("</ocs>\n");
    reply::whole(http, reply::XML, body)
}

fn wants_json(query: Option<&str>, headers: &HeaderMap) -> bool {
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("format="));
    let accepts = |accept: &hyper::header::HeaderValue| accept.to_str().is_ok_and(|a| a.contains("json"));
    asked.map_or_else(|| headers.get_all(ACCEPT).iter().any(accepts), |format| format == "json")
}

fn write_xml(name: &str, value: &Value, out: &mut String) {
    let text = match value {
        Value::Object(members) => {
            out.push_str(&format!("<{name}>"));
            members.iter().for_each(|(name, value)| write_xml(name, value, out));
            out.push_str(&format!("</{name}>"));
            return;
        }
        Value::Array(elements) => {
            out.push_str(&format!("<{name}>"));
            elements.iter().for_each(|value| write_xml("element", value, out));
            out.push_str(&format!("</{name}>"));
            return;
        }
        Value::Null => String::new(),
        // PHP's, of which the clients' readers are made.
        Value::Bool(yes) => if *yes { "1" } else { "" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => escape(text),
    };
    out.push_str(&format!("<{name}>{text}</{name}>"));
}

/// What the box can do. A group is there with all its members or not at all: the Android app drops the whole document otherwise.
pub(super) fn capabilities() -> Value {
    let (major, minor, micro) = VERSION;
    json!({
        "version": {
            "major": major, "minor": minor, "micro": micro, "string": format!("{major}.{minor}.{micro}"),
            "edition": "", "extendedSupport": false,
        },
        "capabilities": {
            "core": { "pollinterval": 60, "webdav-root": "remote.php/webdav" },
            // Without it old clients upload large files in a way that is not understood here, and refused.
            "dav": { "chunking": "1.0" },
            "files": {
                "bigfilechunking": true, "undelete": false, "versioning": false, "comments": false,
                "windows_compatible_filenames": false,
            },
            "files_sharing": {
                "api_enabled": false, "resharing": false, "public": { "enabled": false },
                "user": { "send_mail": false }, "federation": { "outgoing": false, "incoming": false },
            },
        },
    })
}

/// A person, with room as `(left, used)`, bytes.
pub(super) fn user(person: &str, (left, used): (u64, u64)) -> Value {
    let total = left.saturating_add(used);
    let relative = if total == 0 { 0.0 } else { (used as f64 / total as f64 * 10_000.0).round() / 100.0 };
    json!({
        "enabled": true, "id": person, "display-name": person, "displayname": person, "email": "",
        "language": "en", "locale": "en",
        "quota": { "free": left, "used": used, "total": total, "relative": relative, "quota": total },
    })
}

/// `status.php`.
pub(super) fn status() -> Reply {
    let (major, minor, micro) = VERSION;
    let body = json!({
        "installed": true, "maintenance": false, "needsDbUpgrade": false,
        "version": format!("{major}.{minor}.{micro}.1"), "versionstring": format!("{major}.{minor}.{micro}"),
        "edition": "", "productname": "Shoebox", "extendedSupport": false,
    });
    reply::whole(StatusCode::OK, "application/json; charset=utf-8", body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::http::body::Payload;
    use hyper::Request;

    fn body(uri: &str, accept: Option<&str>, v2: bool, status: StatusCode) -> (u16, String) {
        let mut request = Request::builder().uri(uri);
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let data = json!({ "id": "anna", "list": [1, 2], "fine": true, "none": {} });
        let reply = envelope(&parts, v2, status, data);
        let code = reply.status().as_u16();
        let Payload::Whole(body) = reply.into_body() else { panic!("short") };
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_envelope() {
        let (_, json) = body("/?format=json", None, true, StatusCode::OK);
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["ocs"]["meta"]["statuscode"], 200);
        assert!(json.contains("\"none\":{}"), "an empty object is an object: {json}");
        let (_, json) = body("/", Some("application/json"), false, StatusCode::OK);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["ocs"]["meta"]["statuscode"], 100);
        let (_, xml) = body("/?format=xml", Some("application/json"), true, StatusCode::OK);
        assert!(xml.contains("<list><element>1</element><element>2</element></list>"), "{xml}");
        assert!(xml.contains("<id>anna</id>"), "{xml}");
        assert_eq!(body("/", None, true, StatusCode::NOT_FOUND).0, 404);
        let (code, xml) = body("/", None, false, StatusCode::NOT_FOUND);
        assert!(code == 200 && xml.contains("<statuscode>404</statuscode>"), "{code} {xml}");
    }

    #[test]
    fn users_have_numbers() {
        let user = user("anna", (75, 25));
        assert_eq!(user["quota"]["relative"], 25.0);
        assert_eq!(user["quota"]["total"], 100);
        assert_eq!(super::user("anna", (0, 0))["quota"]["relative"], 0.0);
    }
}
