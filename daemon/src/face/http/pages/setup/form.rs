//! What a browser sends from the set-up page.

/// A longer body is none of the page's.
pub(super) const MOST: u64 = 8 * 1024;

/// A form, as filled in. No `Debug`: there is a password in it.
#[derive(Default)]
pub(super) struct Form {
    /// Which of the page's forms.
    pub(super) what: String,
    /// A drive's mount point, as the page named it.
    pub(super) mount: String,
    /// The kernel's name of a device that is to be mounted.
    pub(super) device: String,
    /// What that drive is to be.
    pub(super) role: String,
    /// That the box is new, and no drive of it is elsewhere.
    pub(super) fresh: bool,
    /// A person, or a person's new name.
    pub(super) name: String,
    pub(super) password: String,
    /// The same again.
    pub(super) again: String,
    /// What a phone is to be called.
    pub(super) phone: String,
    /// The app on it.
    pub(super) app: String,
}

/// Reads `application/x-www-form-urlencoded` (WHATWG URL, §5.1). Whatever is sent reads as some form; the first value of a field counts.
pub(super) fn read(body: &[u8]) -> Form {
    let mut form = Form::default();
    for (name, value) in form_urlencoded::parse(body) {
        let field = match &*name {
            "do" => &mut form.what,
            "mount" => &mut form.mount,
            "device" => &mut form.device,
            "role" => &mut form.role,
            "name" => &mut form.name,
            "password" => &mut form.password,
            "again" => &mut form.again,
            "phone" => &mut form.phone,
            "app" => &mut form.app,
            "fresh" => {
                form.fresh = value == "yes";
                continue;
            }
            _ => continue,
        };
        if field.is_empty() {
            field.push_str(&value);
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_form_is_read() {
        let form = read(b"do=person&name=Anna+&name=ben&password=a%26b%3D%C3%A4&x=y");
        assert_eq!((&*form.what, &*form.name, &*form.password), ("person", "Anna ", "a&b=ä"));
        assert_eq!(form.mount, "");
    }

    proptest! {
        #[test]
        fn never_panics(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let form = read(&body);
            prop_assert!(form.name.len() + form.password.len() <= 3 * body.len());
        }
    }
}
