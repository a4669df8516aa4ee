//! Takes connections, passes requests on and answers back, and carries out faults.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, future::ready, stream};
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{
        ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue,
        TRANSFER_ENCODING,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Moment, Seen, Shared,
    rules::{Answer, Decision, Fault, Recording},
};

const HANDSHAKE: Duration = Duration::from_secs(10);

type Body = UnsyncBoxBody<Bytes, Cut>;

/// The one error: `hyper` closes the connection on it without another word.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("cut by the fault proxy")
    }
}

impl std::error::Error for Cut {}

/// Takes connections until `end`.
pub(super) async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    end: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        if shared.refusing.load(Ordering::SeqCst) {
            continue;
        }
        let cut = shared.state().connections.clone();
        let end = end.clone();
        let serving = connection(stream, acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                () = cut.cancelled() => {}
                () = end.cancelled() => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Watch events are small; waiting to fill a packet would delay them.
    stream.set_nodelay(true).ok();
    let Some(acceptor) = acceptor else {
        return http(stream, shared).await;
    };
    if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
        http(stream, shared).await;
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(|request| handle(Arc::clone(&shared), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // It fails whenever a client goes away or a fault cuts it, which is what this is for.
    drop(connection.await);
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let seen = Seen {
        method: head.method.to_string(),
        path: path.to_owned(),
        status: None,
    };
    let answer_bytes = shared.state().passes(&seen, &body);
    let exchange = Exchange {
        answer_bytes,
        shared: Arc::clone(&shared),
        seen,
        method: head.method,
        headers: head.headers,
        body,
    };
    if !exchange.seen.is_write() {
        return exchange.run().await;
    }
    // Apart from the connection: a hook may kill the client, and must still be carried through.
    tokio::spawn(exchange.run()).await.map_err(|_| Cut)?
}

/// A request on its way.
struct Exchange {
    shared: Arc<Shared>,
    seen: Seen,
    method: hyper::Method,
    headers: HeaderMap,
    body: Bytes,
    answer_bytes: Arc<AtomicU64>,
}

impl Exchange {
    async fn run(mut self) -> Result<Response<Body>, Cut> {
        let (decision, hook) = self.shared.state().arrival(&self.seen, &self.body);
        let answer = match hook {
            Some(hook) => {
                if hook.moment == Moment::After {
                    self.whole().await.ok();
                }
                (hook.action)().await;
                Err(Cut)
            }
            None => self.answer(decision).await,
        };
        self.seen.status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        self.shared.state().seen.push(self.seen);
        answer
    }

    async fn answer(&self, decision: Option<Decision>) -> Result<Response<Body>, Cut> {
        let Some(Decision { fault, remembered }) = decision else {
            return self.streamed().await;
        };
        match fault {
            Fault::Cut => Err(Cut),
            Fault::Answer(answer) => invented(answer),
            Fault::Delay(time) => {
                sleep(time).await;
                self.streamed().await
            }
            Fault::Hold(mut until) => {
                until.wait_for(|go| *go).await.ok();
                self.streamed().await
            }
            Fault::LoseResponse => {
                self.whole().await.ok();
                Err(Cut)
            }
            Fault::Stale => {
                if let Some(recording) = remembered.get(&self.seen, &self.body) {
                    return Ok(recording.into());
                }
                let recording = self.whole().await?;
                remembered.put(&self.seen, &self.body, recording.clone());
                Ok(recording.into())
            }
            Fault::Freeze => Ok(self.streamed().await?.map(|_| frozen())),
            Fault::CutAfter(time) => Ok(self.streamed().await?.map(|body| cut_after(body, time))),
            Fault::Rewrite(change) => {
                let mut recording = self.whole().await?;
                recording.body = change(&recording.body).into();
                recording.headers.remove(CONTENT_LENGTH);
                Ok(recording.into())
            }
        }
    }

    /// Asks the server. One that cannot be reached looks to the client like a cut connection.
    async fn ask(&self) -> Result<reqwest::Response, Cut> {
        let mut headers = self.headers.clone();
        // Compressed bodies could not be rewritten.
        for name in [HOST, CONNECTION, TRANSFER_ENCODING, ACCEPT_ENCODING] {
            headers.remove(name);
        }
        let url = format!("{}{}", self.shared.upstream, self.seen.path);
        self.shared
            .client
            .request(self.method.clone(), url)
            .headers(headers)
            .body(self.body.clone())
            .send()
            .await
            .map_err(|_| Cut)
    }

    /// Gives the server's answer as it comes.
    async fn streamed(&self) -> Result<Response<Body>, Cut> {
        let answer = self.ask().await?;
        let mut response = Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = end_to_end(answer.headers());
        let counter = Arc::clone(&self.answer_bytes);
        let body = answer.bytes_stream().map_err(|_| Cut).map_ok(move |part| {
            counter.fetch_add(part.len() as u64, Ordering::Relaxed);
            Frame::data(part)
        });
        Ok(response.map(|()| BodyExt::boxed_unsync(StreamBody::new(body))))
    }

    /// Waits for all of the server's answer.
    async fn whole(&self) -> Result<Recording, Cut> {
        let answer = self.ask().await?;
        Ok(Recording {
            status: answer.status(),
            headers: end_to_end(answer.headers()),
            body: answer.bytes().await.map_err(|_| Cut)?,
        })
    }
}

impl From<Recording> for Response<Body> {
    fn from(recording: Recording) -> Self {
        let mut response = Response::new(full(recording.body));
        *response.status_mut() = recording.status;
        *response.headers_mut() = recording.headers;
        response
    }
}

fn invented(answer: Answer) -> Result<Response<Body>, Cut> {
    let mut response = Response::new(full(answer.body.into()));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|_| Cut)?;
    for (name, value) in answer.headers {
        let name: HeaderName = name.parse().map_err(|_| Cut)?;
        let value: HeaderValue = value.parse().map_err(|_| Cut)?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Leaves out what belongs to the connection with the server.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn full(body: Bytes) -> Body {
    BodyExt::boxed_unsync(Full::new(body).map_err(|never| match never {}))
}

fn frozen() -> Body {
    BodyExt::boxed_unsync(StreamBody::new(
        stream::pending::<Result<Frame<Bytes>, Cut>>(),
    ))
}

fn cut_after(body: Body, time: Duration) -> Body {
    let frames = BodyStream::new(body);
    let cut = stream::once(async move {
        sleep(time).await;
        Some(Err(Cut))
    });
    // Ends with the server's answer or with the cut, whichever comes first.
    let whole = frames.map(Some).chain(stream::once(ready(None)));
    let frames = stream::select(whole, cut)
        .take_while(|frame| ready(frame.is_some()))
        .filter_map(ready);
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
