//! The accept loop over real connections: framing, bounds, who gives way, and how it ends.
use super::*;
use crate::face::http::upload;
use std::sync::atomic::AtomicUsize;

/// A server that answers with the length of the body, after `wait`.
struct Server {
    port: u16,
    stop: watch::Sender<bool>,
    beats: Arc<AtomicUsize>,
    ended: tokio::task::JoinHandle<io::Result<()>>,
}

async fn server(limits: Limits, wait: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = watch::channel(false);
    let beats = Arc::new(AtomicUsize::new(0));
    let counted = beats.clone();
    let idle = limits.body_idle;
    let handler = move |request: Request<Incoming>, _| async move {
        let collected = upload::collect(Some(request.into_body()), 1 << 20, idle).await;
        tokio::time::sleep(wait).await;
        match collected {
            Ok(body) if body == b"much" => reply::whole(StatusCode::OK, "text/plain", vec![0; 64 << 20]),
            Ok(body) => reply::text(StatusCode::OK, &format!("{} bytes", body.len())),
            Err(deny) => reply::deny(&hyper::Method::PUT, &deny),
        }
    };
    let beat = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let ended =
        tokio::spawn(run((listener, Speech::Plain), House::new(limits), stopped, beat, || (), handler));
    Server { port, stop, beats, ended }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn talk(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read(&mut stream).await
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("the server closes");
    String::from_utf8(answer).unwrap()
}

fn run_test(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn requests_with_two_framings_are_refused_and_the_connection_ends() {
    run_test(async {
        let server = server(Limits::default(), Duration::ZERO).await;
        for head in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: +5",
            "Content-Length: 5, 5",
            "Content-Length: 18446744073709551616",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked, identity",
            "Content-Length : 5",
            "Host: b\r\n X: folded",
        ] {
            let answer = server.talk(&format!("PUT /a HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\nhello")).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head}");
        }
        for chunk in ["FFFFFFFFFFFFFFFFF\r\nhello", "-5\r\nhello", "+5\r\nhello\r\n0\r\n\r\n", "5 5\r\nhello"]
        {
            let head = "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            let answer = server.talk(&format!("{head}{chunk}")).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{chunk}: {answer}");
        }
        let answer = server.talk("PUT /a#b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    });
}

#[test]
fn ordinary_requests_share_a_connection_and_chunked_ones_end_it() {
    run_test(async {
        let server = server(Limits::default(), Duration::ZERO).await;
        let answer = server
            .talk(
                "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                 PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                 PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            )
            .await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
        assert!(answer.contains("5 bytes") && answer.contains("3 bytes"), "{answer}");
    });
}

#[test]
fn heads_are_bounded_in_size_number_and_time() {
    run_test(async {
        let limits = Limits { head_time: Duration::from_millis(200), ..Limits::default() };
        let server = server(limits, Duration::ZERO).await;
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17 * 1024));
        assert!(server.talk(&long).await.starts_with("HTTP/1.1 431 "));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(64));
        assert!(server.talk(&many).await.starts_with("HTTP/1.1 431 "));
        assert!(!server.talk("GET / HTTP/1.1\r\nHost").await.contains("200"));
        assert_eq!(server.talk("").await, "");
    });
}

#[test]
fn a_body_that_stops_coming_is_given_up() {
    run_test(async {
        let limits = Limits { body_idle: Duration::from_millis(200), ..Limits::default() };
        let server = server(limits, Duration::ZERO).await;
        let answer = server.talk("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    });
}

#[test]
fn a_reader_that_stands_still_is_given_up() {
    run_test(async {
        let limits = Limits { body_idle: Duration::from_millis(200), ..Limits::default() };
        let server = server(limits, Duration::ZERO).await;
        let mut stream = server.connect().await;
        let request = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nmuch";
        stream.write_all(request).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        let mut came = Vec::new();
        let _end =
            tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut came)).await.unwrap();
        assert!(came.len() < 64 << 20, "what the kernel holds, and no more");
    });
}

#[test]
fn one_address_gets_its_share_and_no_more() {
    run_test(async {
        let limits = Limits { per_address: 2, ..Limits::default() };
        let server = server(limits, Duration::ZERO).await;
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let (first, second) = (server.connect().await, server.connect().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut third = server.connect().await;
        third.write_all(request.as_bytes()).await.unwrap();
        let answer = read(&mut third).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 2"), "{answer}");
        drop((first, second));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(server.talk(request).await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn connections_are_counted_over_all_listeners() {
    run_test(async {
        let house = House::new(Limits { per_address: 1, ..Limits::default() });
        let (_stop, stopped) = watch::channel(false);
        let mut at = Vec::new();
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            at.push(listener.local_addr().unwrap());
            let handler = |_, _| async { reply::text(StatusCode::OK, "here") };
            tokio::spawn(run(
                (listener, Speech::Plain),
                house.clone(),
                stopped.clone(),
                || (),
                || (),
                handler,
            ));
        }
        let _first = TcpStream::connect(at[0]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut second = TcpStream::connect(at[1]).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(read(&mut second).await.starts_with("HTTP/1.1 503 "));
    });
}

#[test]
fn a_full_house_waits_and_still_beats() {
    run_test(async {
        let limits = Limits { connections: 1, head_time: Duration::from_millis(300), ..Limits::default() };
        let server = server(limits, Duration::ZERO).await;
        let idle = server.connect().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Waits until the idle one has run out of time.
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(server.talk(request).await.starts_with("HTTP/1.1 200 "));
        assert!(server.beats.load(Ordering::Relaxed) >= 2);
        drop(idle);
    });
}

/// An upload that stops, and a download that nobody reads, for longer than silence is borne with.
#[test]
fn whoever_is_in_the_middle_of_a_body_does_not_give_way() {
    run_test(async {
        let server = Arc::new(server(Limits { connections: 1, ..Limits::default() }, Duration::ZERO).await);
        let newcomer = || {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                server.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await
            })
        };
        let mut slow = server.connect().await;
        slow.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waits = newcomer();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        slow.write_all(b"llo").await.unwrap();
        assert!(read(&mut slow).await.contains("5 bytes") && waits.await.unwrap().contains("200 OK"));
        let mut slow = server.connect().await;
        slow.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nmuch").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waits = newcomer();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(read(&mut slow).await.len() > 64 << 20);
        assert!(waits.await.unwrap().starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_stop_lets_requests_in_flight_end() {
    run_test(async {
        let server = server(Limits::default(), Duration::from_millis(500)).await;
        let mut busy = server.connect().await;
        busy.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        let mut idle = server.connect().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.send(true).unwrap();
        assert_eq!(read(&mut idle).await, "");
        let answer = read(&mut busy).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        server.ended.await.unwrap().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", server.port)).await.is_err());
    });
}

#[test]
fn a_stop_waits_only_so_long() {
    run_test(async {
        let limits = Limits { drain: Duration::from_millis(200), ..Limits::default() };
        let server = server(limits, Duration::from_secs(60)).await;
        let mut stuck = server.connect().await;
        stuck.write_all(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(5), server.ended).await.unwrap().unwrap().unwrap();
    });
}
