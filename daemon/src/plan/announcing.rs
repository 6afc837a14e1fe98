//! What is announced in the home's network (DNS-SD, RFC 6763), as a service file of avahi's (avahi.service(5)).
//!
//! The name that clients show is `Shoebox on %h`: avahi puts the host's name there, the real one, should it have had to take another.

/// What there is to announce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offered {
    /// Plain HTTP: its port, and whether uploads are taken there, or only sent on to HTTPS.
    pub http: Option<(u16, bool)>,
    /// HTTPS: its port.
    pub https: Option<u16>,
    /// What NFS exports, as a path on this machine; empty: nothing.
    pub nfs: String,
}

/// The file. Nothing in it is a secret, and nobody's name is: everybody in the network reads it.
pub fn service_file(offered: &Offered) -> String {
    const DAV: Option<&str> = Some("/dav/");
    const PAGE: Option<&str> = Some("/");
    let mut services = String::new();
    if let Some((port, takes_uploads)) = offered.http {
        services.push_str(&service("_http._tcp", port, PAGE));
        if takes_uploads {
            services.push_str(&service("_webdav._tcp", port, DAV));
            services.push_str(&service("_lomod._tcp", port, None));
        }
    }
    if let Some(port) = offered.https {
        services.push_str(&service("_https._tcp", port, PAGE));
        services.push_str(&service("_webdavs._tcp", port, DAV));
    }
    if !offered.nfs.is_empty() {
        services.push_str(&service("_nfs._tcp", NFS, Some(&offered.nfs)));
    }
    format!(
        "<?xml version=\"1.0\" standalone='no'?>\n<!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
         <!-- Written by shoebox at each start; changes made here are lost. -->\n<service-group>\n  \
         <name replace-wildcards=\"yes\">Shoebox on %h</name>\n{services}</service-group>\n"
    )
}

/// NFS version 4 has one port (RFC 7530).
const NFS: u16 = 2049;

fn service(kind: &str, port: u16, path: Option<&str>) -> String {
    let path = path
        .map_or_else(String::new, |path| format!("    <txt-record>path={}</txt-record>\n", escaped(path)));
    format!("  <service>\n    <type>{kind}</type>\n    <port>{port}</port>\n{path}  </service>\n")
}

/// Text between tags. Control characters, which XML 1.0 has no spelling for, are left out.
fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        _ if c.is_control() => String::new(),
        _ => c.to_string(),
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(offered: &Offered) -> Vec<String> {
        let file = service_file(offered);
        file.split("<type>").skip(1).filter_map(|rest| rest.split('<').next()).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_there_is_announced_and_nothing_else() {
        let all = Offered { http: Some((8080, true)), https: Some(8443), nfs: "/srv/a & b".to_owned() };
        expect_test::expect![[r#"
            <?xml version="1.0" standalone='no'?>
            <!DOCTYPE service-group SYSTEM "avahi-service.dtd">
            <!-- Written by shoebox at each start; changes made here are lost. -->
            <service-group>
              <name replace-wildcards="yes">Shoebox on %h</name>
              <service>
                <type>_http._tcp</type>
                <port>8080</port>
                <txt-record>path=/</txt-record>
              </service>
              <service>
                <type>_webdav._tcp</type>
                <port>8080</port>
                <txt-record>path=/dav/</txt-record>
              </service>
              <service>
                <type>_lomod._tcp</type>
                <port>8080</port>
              </service>
              <service>
                <type>_https._tcp</type>
                <port>8443</port>
                <txt-record>path=/</txt-record>
              </service>
              <service>
                <type>_webdavs._tcp</type>
                <port>8443</port>
                <txt-record>path=/dav/</txt-record>
              </service>
              <service>
                <type>_nfs._tcp</type>
                <port>2049</port>
                <txt-record>path=/srv/a &amp; b</txt-record>
              </service>
            </service-group>
        "#]]
        .assert_eq(&service_file(&all));
        let moved = Offered { http: Some((8080, false)), nfs: String::new(), ..all };
        assert_eq!(kinds(&moved), ["_http._tcp", "_https._tcp", "_webdavs._tcp"]);
        assert!(kinds(&Offered::default()).is_empty());
    }
}
