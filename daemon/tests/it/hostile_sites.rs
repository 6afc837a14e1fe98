//! Who may ask, and from where: without a whole token nobody, under foreign names and from foreign pages nothing (I29, I30).
use crate::support::daemon::Account;
use crate::support::scene::scene;

#[test]
fn nobody_signs_in_with_less_than_a_token() {
    let mut scene = scene();
    let spare = scene.daemon.add_device("anna", "old", "computer");
    assert_eq!(scene.daemon.request(&spare, "GET", "/dav/mine.jpg", "", b"").status, 200);
    assert_eq!(scene.daemon.run(&["device", "revoke", "anna", "old"]).0, 0);
    let before = scene.drives();
    let account =
        |user: &str, password: &str| Account { user: user.into(), password: password.into() }.basic();
    let (anna, bob) = (scene.anna.clone(), scene.bob.clone());
    let shorter = &anna.password[..anna.password.len() - 1];
    let headers = [
        String::new(),
        "Authorization: \r\n".to_owned(),
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Basic !!!!\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", anna.password),
        format!("Authorization: {}\r\n", account("bob", &anna.password)),
        format!("Authorization: {}\r\n", account("nobody", &anna.password)),
        format!("Authorization: {}\r\n", account("", &anna.password)),
        format!("Authorization: {}\r\n", account("anna", "")),
        format!("Authorization: {}\r\n", account("anna", shorter)),
        format!("Authorization: {}\r\n", spare.basic()),
        format!("Authorization: {}\r\nAuthorization: {}\r\n", anna.basic(), bob.basic()),
        format!("X-Authorization: {}\r\n", anna.basic()),
        format!("Cookie: Authorization={}\r\n", anna.basic()),
    ];
    std::thread::scope(|scope| {
        for header in &headers {
            let scene = &scene;
            // A wrong guess makes the next one wait: all at once.
            scope.spawn(move || {
                for (method, target) in [("GET", "/dav/mine.jpg"), ("PUT", "/dav/evil.jpg")] {
                    let to = scene.daemon.address;
                    let request = format!(
                        "{method} {target} HTTP/1.1\r\nHost: {to}\r\n{header}Content-Length: 4\r\nConnection: close\r\n\r\nevil"
                    );
                    let reply = scene.raw(request.as_bytes()).unwrap();
                    assert_eq!(reply.status, 401, "{method} with {header:?}: {}", reply.text);
                    assert_eq!(reply.text.to_lowercase().matches("www-authenticate:").count(), 1);
                    assert!(!reply.text.contains("mine.jpg"), "{}", reply.text);
                }
            });
        }
    });
    assert_eq!(scene.drives(), before);
    scene.goes_on();
}

#[test]
fn other_hosts_and_other_sites_change_nothing() {
    let mut scene = scene();
    let before = scene.drives();
    let own = scene.daemon.address.to_string();
    let hosts = [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "shoebox.local.evil.example",
        "a@127.0.0.1",
        "",
        "127.0.0.1, evil.example",
        "evil.example#127.0.0.1",
        "[::1",
        "127.0.0.1:x",
    ];
    let methods = ["PUT", "DELETE", "MKCOL", "MOVE", "COPY", "PROPPATCH", "LOCK", "UNLOCK", "POST"];
    let send = |method: &str, host: &str, more: &str| {
        let basic = scene.anna.basic();
        let body = if method == "PUT" { "evil" } else { "" };
        let target = if method == "MKCOL" { "/dav/evil" } else { "/dav/mine.jpg" };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}Authorization: {basic}\r\nDestination: /dav/evil.jpg\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        scene.raw(request.as_bytes()).unwrap_or_else(|| panic!("{method} {host:?} {more:?}: no answer"))
    };
    for host in hosts {
        for method in methods.iter().chain(&["GET", "PROPFIND", "OPTIONS"]) {
            let reply = send(method, host, "");
            assert!(matches!(reply.status, 400 | 421), "{method} at {host:?}: {}", reply.text);
        }
    }
    let foreign = [
        "Origin: http://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        format!("Origin: http://{own}.evil.example\r\n"),
        "Origin: http://127.0.0.1:1\r\n".to_owned(),
        "Origin: \r\n".to_owned(),
        format!("Origin: http://{own}\r\nOrigin: http://evil.example\r\n"),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        "Sec-Fetch-Site: CROSS-SITE\r\n".to_owned(),
        format!("Origin: http://{own}\r\nSec-Fetch-Site: cross-site\r\n"),
    ];
    for header in &foreign {
        for method in methods {
            let reply = send(method, &own, header);
            assert_eq!(reply.status, 403, "{method} with {header:?}: {}", reply.text);
        }
        let reply = send("OPTIONS", &own, header);
        assert!(!reply.text.to_lowercase().contains("access-control-allow"), "{}", reply.text);
    }
    let twice = format!("{own}\r\nHost: evil.example");
    assert_eq!(send("PUT", &twice, "").status, 400);
    assert_eq!(scene.drives(), before);
    // The same from its own page is not refused: what is refused above is refused for that reason.
    let reply = send("PUT", &own, &format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n"));
    assert_eq!(reply.status, 204, "{}", reply.text);
    scene.daemon.request(&scene.anna, "PUT", "/dav/mine.jpg", "", b"mine.jpg");
    scene.goes_on();
}
