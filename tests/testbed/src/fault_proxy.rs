//! A proxy that spoils what a client sees of the API server or of Prometheus.
//!
//! It speaks HTTP/1.1, with a certificate of the bed where TLS is asked for, passes everything on
//! unchanged, and breaks what its [`Rule`]s say. A client certificate cannot pass through it: clients
//! bring a token. Connection upgrades (`kubectl exec`) do not pass either.

mod forward;
mod rules;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use hyper::body::Bytes;
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::rules::{Answer, Change, Fault, Matcher, Rule, RuleId, Which};
use self::rules::{Decision, Rules};
use crate::{
    bed::{Bed, Identity},
    clock::now,
};

/// One request that passed the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    /// What the client was answered, or `None` when it got no answer.
    pub status: Option<u16>,
}

impl Seen {
    /// Says whether the request changes something, by its method.
    #[must_use]
    pub fn is_write(&self) -> bool {
        ["POST", "PUT", "PATCH", "DELETE"].contains(&self.method.as_str())
    }

    /// Says whether the request only asks what would happen.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        query.split('&').any(|asked| asked.starts_with("dryRun="))
    }
}

/// One request that passed the proxy while it was [metered](FaultProxy::meter).
#[derive(Clone, Debug)]
pub struct Passage {
    /// When it arrived.
    pub at: Timestamp,
    /// With the query.
    pub path: String,
    pub body: Bytes,
    /// How much of the answer has gone to the client so far, without its headers.
    pub answer_bytes: Arc<AtomicU64>,
}

/// When in the life of a write a [hook](FaultProxy::on_write) runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The write arrived at the proxy, and will never arrive at the server.
    Before,
    /// The server has answered, and the answer will never arrive at the client.
    After,
}

/// What stands behind the proxy.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub url: String,
    /// The authority that proves it, for `https`.
    pub ca_pem: Option<String>,
}

/// A running proxy. It ends, with all its connections, when it is dropped.
pub struct FaultProxy {
    url: String,
    shared: Arc<Shared>,
    _end: DropGuard,
}

/// What all connections of a proxy share.
struct Shared {
    upstream: String,
    client: reqwest::Client,
    refusing: AtomicBool,
    state: Mutex<State>,
}

type Action = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;
type Counts = Box<dyn Fn(&Seen) -> bool + Send>;

struct State {
    rules: Rules,
    seen: Vec<Seen>,
    writes: usize,
    counts: Counts,
    hook: Option<Hook>,
    /// Nothing unless somebody wants to know.
    passages: Option<Vec<Passage>>,
    /// Cancelled to cut the connections that are open now.
    connections: CancellationToken,
}

struct Hook {
    at: usize,
    moment: Moment,
    action: Action,
}

impl FaultProxy {
    /// Stands before the API server of a bed, with a certificate of the bed.
    ///
    /// # Errors
    ///
    /// When the machine has no port left.
    pub async fn before_api_server(bed: &Bed) -> anyhow::Result<Self> {
        let upstream = Upstream {
            url: bed.api_server().to_owned(),
            ca_pem: Some(bed.ca_pem().to_owned()),
        };
        let identity = bed.server_identity("fault-proxy")?;
        Self::start(bed.free_port()?, upstream, Some(&identity)).await
    }

    /// Stands before the Prometheus of a bed, without TLS.
    ///
    /// # Errors
    ///
    /// When the bed has no Prometheus; ask for it in its options.
    pub async fn before_prometheus(bed: &Bed) -> anyhow::Result<Self> {
        let prometheus = bed
            .prometheus()
            .context("this bed has no Prometheus; set Options::prometheus")?;
        let upstream = Upstream {
            url: prometheus.url().to_owned(),
            ca_pem: None,
        };
        Self::start(bed.free_port()?, upstream, None).await
    }

    /// Starts a proxy on `listen`, with TLS where an identity is given.
    ///
    /// # Errors
    ///
    /// When the address is taken, or a certificate is not PEM.
    pub async fn start(
        listen: SocketAddr,
        upstream: Upstream,
        identity: Option<&Identity>,
    ) -> anyhow::Result<Self> {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("the fault proxy cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let scheme = if identity.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            client: client(&upstream)?,
            upstream: upstream.url.trim_end_matches('/').to_owned(),
            refusing: AtomicBool::new(false),
            state: Mutex::new(State::new()),
        });
        let acceptor = identity.map(acceptor).transpose()?;
        let end = CancellationToken::new();
        let serving = forward::serve(listener, acceptor, Arc::clone(&shared), end.clone());
        tokio::spawn(serving);
        Ok(Self {
            url: format!("{scheme}://{address}"),
            shared,
            _end: end.drop_guard(),
        })
    }

    /// Returns where clients reach the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Adds a rule behind those that are there. The first one that applies to a request is used.
    #[expect(
        clippy::must_use_candidate,
        reason = "most rules stay until the end of the test"
    )]
    pub fn add(&self, rule: Rule) -> RuleId {
        self.shared.state().rules.add(rule)
    }

    /// Takes a rule back. One that is gone already is no error.
    pub fn remove(&self, id: RuleId) {
        self.shared.state().rules.remove(id);
    }

    /// Takes all rules back.
    pub fn clear(&self) {
        self.shared.state().rules = Rules::default();
    }

    /// Closes all open connections, watches too.
    pub fn cut_connections(&self) {
        let mut state = self.shared.state();
        let old = std::mem::replace(&mut state.connections, CancellationToken::new());
        old.cancel();
    }

    /// Makes the server unreachable: open connections are cut, new ones closed at once.
    pub fn block(&self) {
        self.shared.refusing.store(true, Ordering::SeqCst);
        self.cut_connections();
    }

    /// Ends what [`block`](Self::block) began.
    pub fn unblock(&self) {
        self.shared.refusing.store(false, Ordering::SeqCst);
    }

    /// Runs `action` at the `at`-th write from the beginning (or the last [`forget`](Self::forget)),
    /// and then cuts the connection of that write. The first write is 1. A proxy has one hook.
    pub fn on_write<F>(&self, at: usize, moment: Moment, action: F)
    where
        F: FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    {
        let action = Box::new(action);
        self.shared.state().hook = Some(Hook { at, moment, action });
    }

    /// Returns whether the hook is still waiting for its write.
    #[must_use]
    pub fn hook_waits(&self) -> bool {
        self.shared.state().hook.is_some()
    }

    /// Says which requests count as writes. At first all but those to Leases and Events, and reviews
    /// and dry runs, which leave nothing behind.
    pub fn count_writes_if(&self, counts: impl Fn(&Seen) -> bool + Send + 'static) {
        self.shared.state().counts = Box::new(counts);
    }

    /// Returns how many writes were counted.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.shared.state().writes
    }

    /// Returns every request so far, in the order in which they were answered.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Keeps time, body and size of every request from now on, for whoever measures.
    pub fn meter(&self) {
        self.shared.state().passages = Some(Vec::new());
    }

    /// Returns what [`meter`](Self::meter) kept, in the order of arrival.
    #[must_use]
    pub fn passages(&self) -> Vec<Passage> {
        self.shared.state().passages.clone().unwrap_or_default()
    }

    /// Empties the record of requests and counts writes from zero again.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.seen.clear();
        state.writes = 0;
    }
}

impl fmt::Debug for FaultProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FaultProxy")
            .field("url", &self.url)
            .field("upstream", &self.shared.upstream)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new() -> Self {
        Self {
            rules: Rules::default(),
            seen: Vec::new(),
            writes: 0,
            counts: Box::new(changes_the_cluster),
            hook: None,
            passages: None,
            connections: CancellationToken::new(),
        }
    }

    /// Returns where to count the answer to a request.
    fn passes(&mut self, request: &Seen, body: &Bytes) -> Arc<AtomicU64> {
        let answer_bytes = Arc::default();
        if let Some(passages) = &mut self.passages {
            passages.push(Passage {
                at: now(),
                path: request.path.clone(),
                body: body.clone(),
                answer_bytes: Arc::clone(&answer_bytes),
            });
        }
        answer_bytes
    }

    /// Counts a request, and says what shall happen to it.
    fn arrival(&mut self, request: &Seen, body: &[u8]) -> (Option<Decision>, Option<Hook>) {
        let decision = self.rules.decide(request, body);
        if !(self.counts)(request) {
            return (decision, None);
        }
        self.writes += 1;
        let writes = self.writes;
        (decision, self.hook.take_if(|hook| hook.at == writes))
    }
}

/// Leases are renewed and Events sent at times that no test can foresee.
fn changes_the_cluster(request: &Seen) -> bool {
    const APART: &[&str] = &["/leases", "/events", "reviews"];
    let path = request.path.split('?').next().unwrap_or_default();
    request.is_write() && !request.is_dry_run() && !APART.iter().any(|word| path.contains(word))
}

fn client(upstream: &Upstream) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5));
    if let Some(pem) = &upstream.ca_pem {
        let root = reqwest::Certificate::from_pem(pem.as_bytes())
            .context("the authority of the upstream is not PEM")?;
        builder = builder.tls_certs_only([root]);
    }
    builder
        .build()
        .context("cannot make a client for the upstream")
}

fn acceptor(identity: &Identity) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context("the certificate of the proxy is not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .context("the key of the proxy is not PEM")?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate of the proxy does not fit its key")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
