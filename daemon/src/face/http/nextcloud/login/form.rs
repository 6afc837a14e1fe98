//! What a browser sends from the login page: a form, and the cookie by which the browser is known.
use hyper::HeaderMap;
use hyper::header::COOKIE;

/// The cookie's name. It says nothing but that two requests came from one browser.
pub(super) const COOKIE_NAME: &str = "shoebox-login";
/// A longer body is none of the login page's.
pub(super) const MOST: u64 = 8 * 1024;

/// The page's form, as filled in. No `Debug`: there is a password in it.
#[derive(Default)]
pub(super) struct Form {
    /// What proves that the form is from our page, in this browser.
    pub(super) mark: String,
    pub(super) person: String,
    pub(super) password: String,
    pub(super) device: String,
    pub(super) kind: String,
    /// A device of that name is to be replaced.
    pub(super) replace: bool,
}

/// Reads `application/x-www-form-urlencoded` (WHATWG URL, §5.1). Whatever is sent reads as some form; what is not filled in is empty.
pub(super) fn read(body: &[u8]) -> Form {
    let mut form = Form::default();
    for (name, value) in form_urlencoded::parse(body) {
        let field = match &*name {
            "mark" => &mut form.mark,
            "person" => &mut form.person,
            "password" => &mut form.password,
            "device" => &mut form.device,
            "kind" => &mut form.kind,
            "replace" => {
                form.replace = value == "yes";
                continue;
            }
            _ => continue,
        };
        // The first value of a field counts.
        if field.is_empty() {
            field.push_str(&value);
        }
    }
    form
}

/// The value of a name in a query or a form's body; the first counts.
pub(super) fn field(encoded: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(encoded).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// By what the browser is known: 64 hex digits that we drew for it.
pub(super) fn browser(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE_NAME)?;
    let ours = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    ours.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_form_is_read() {
        let form = read(b"mark=m&person=Anna+&password=a%26b%3D%C3%A4&device=Pixel+8&kind=phone&replace=yes&person=ben&x=y");
        assert_eq!((&*form.mark, &*form.person, &*form.password), ("m", "Anna ", "a&b=ä"));
        assert_eq!((&*form.device, &*form.kind, form.replace), ("Pixel 8", "phone", true));
        assert_eq!(field(b"a=1&token=x%20y&token=z", "token").as_deref(), Some("x y"));
        assert_eq!(field(b"", "token"), None);
    }

    #[test]
    fn a_browser_is_known_by_a_value_of_ours() {
        let known = |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, cookie.parse().unwrap());
            browser(&headers)
        };
        let value = "ab".repeat(32);
        assert_eq!(known(&format!("a=b; shoebox-login={value}")), Some(value.clone()));
        assert_eq!(known(&format!("shoebox-login={value}; shoebox-login=x")), Some(value.clone()));
        for not in [
            "shoebox-login=",
            "shoebox-login",
            "x",
            &format!("shoebox-login={value}0"),
            &format!("xshoebox-login={value}"),
        ] {
            assert_eq!(known(not), None, "{not}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let form = read(&body);
            // Decoding makes at most three bytes of one that is no UTF-8.
            prop_assert!(form.person.len() + form.password.len() <= 3 * body.len());
            let _found = field(&body, "token");
        }
    }
}
