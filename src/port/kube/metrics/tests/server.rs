//! Servers on loopback that do what a test wants, also what no HTTP library would do.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Seen {
    /// Returns a header by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

pub(super) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    sent: Arc<AtomicUsize>,
    streaming: Option<tokio::sync::watch::Receiver<bool>>,
}

type Answers = Arc<dyn Fn(&Seen) -> Vec<u8> + Send + Sync>;

pub(super) fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

pub(super) fn found(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

impl Server {
    /// Answers each request on a connection of its own. No answer at all breaks the connection.
    pub(super) async fn start(answers: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::listening(None, Arc::new(answers)).await
    }

    pub(super) async fn with_tls(
        acceptor: TlsAcceptor,
        answers: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::listening(Some(acceptor), Arc::new(answers)).await
    }

    async fn listening(acceptor: Option<TlsAcceptor>, answers: Answers) -> Self {
        let (listener, server) =
            Self::bound(if acceptor.is_some() { "https" } else { "http" }).await;
        let seen = Arc::clone(&server.seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => drop(serve(stream, &seen, &answers).await),
                        Some(acceptor) => secure(acceptor, stream, &seen, &answers).await,
                    }
                });
            }
        });
        server
    }

    /// Sends `start`, then up to `most` times `byte`.
    pub(super) async fn streaming(start: &'static str, byte: u8, most: usize) -> Self {
        let (listener, mut server) = Self::bound("http").await;
        let sent = Arc::clone(&server.sent);
        let (done, ended) = tokio::sync::watch::channel(false);
        server.streaming = Some(ended);
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            let chunk = vec![byte; 64 * 1024];
            while sent.load(Ordering::SeqCst) < most && stream.write_all(&chunk).await.is_ok() {
                sent.fetch_add(chunk.len(), Ordering::SeqCst);
            }
            done.send_replace(true);
            // Silent until the client has had enough.
            let _ = stream.read(&mut [0]).await;
        });
        server
    }

    /// Sends `answer` to whatever comes, without reading it.
    pub(super) async fn shouting(answer: &'static str) -> Self {
        let (listener, server) = Self::bound("http").await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
        server
    }

    /// Sends `start`, then a byte from time to time, for ever.
    pub(super) async fn trickling(start: &'static str) -> Self {
        let (listener, server) = Self::bound("http").await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            let mut next = start.as_bytes().to_vec();
            while stream.write_all(&next).await.is_ok() {
                next = b"H".to_vec();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        server
    }

    /// Returns an address that refuses connections.
    pub(super) async fn nobody() -> String {
        let (_, server) = Self::bound("http").await;
        server.url("/")
    }

    async fn bound(scheme: &'static str) -> (TcpListener, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            scheme,
            seen: Arc::default(),
            sent: Arc::default(),
            streaming: None,
        };
        (listener, server)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    #[track_caller]
    pub(super) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// Returns how much was sent in the end.
    pub(super) async fn sent(&self) -> usize {
        let mut ended = self.streaming.clone().unwrap();
        ended.wait_for(|ended| *ended).await.unwrap();
        self.sent.load(Ordering::SeqCst)
    }
}

async fn secure(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    seen: &Mutex<Vec<Seen>>,
    answers: &Answers,
) {
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => drop(serve(stream, seen, answers).await),
        // Read to the end: closing with something unread would overtake the alert.
        Err((_, mut stream)) => {
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<Seen>>,
    answers: &Answers,
) -> io::Result<()> {
    let request = request(&mut stream).await?;
    let answer = answers(&request);
    seen.lock().unwrap().push(request);
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap().split(' ').map(str::to_owned);
    let mut seen = Seen {
        method: words.next().unwrap(),
        target: words.next().unwrap(),
        ..Seen::default()
    };
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        seen.headers
            .push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = seen.header("content-length").unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    seen.body = String::from_utf8(body).unwrap();
    Ok(seen)
}

/// What was logged.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}
