//! One HTTP client per set of certificates, with its connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HOST;
use reqwest::{Certificate, ClientBuilder, Identity, Method, RequestBuilder, Url};
use sha2::{Digest as _, Sha256};

use super::{ConnectError, revealed};
use crate::port::{CredentialProblem, QueryError, Secret, Tls};

/// A source inside the cluster accepts at once. Most of the time limit is for computing the answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// More sources with certificates of their own than a cluster has. Beyond it, and after a rotation,
/// the client that was used least recently goes, with its connections.
const CLIENTS_MAX: usize = 32;

/// Ticks are at most 15 s apart; what is idle for longer belongs to a source that nobody asks.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// What the certificates, the key and the names of a client hash to: neither is kept for comparing.
type Fingerprint = [u8; 32];

/// All clients, the one that was used last at the end.
pub(super) struct Clients {
    /// For those who state nothing.
    usual: Client,
    others: Mutex<Vec<(Fingerprint, Client)>>,
}

/// A client that trusts whom it should and shows what it should.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    server_name: Option<Arc<str>>,
}

/// What [`Tls`] stands for now.
#[derive(Default)]
struct Material {
    authorities: Option<Secret>,
    identity: Option<(Secret, Secret)>,
    /// The name to ask for, and the host that has it.
    server_name: Option<(String, String)>,
    trust_anyone: bool,
}

impl Clients {
    pub(super) fn new() -> Result<Self, ConnectError> {
        // Reqwest is built without a provider and panics if nobody chose one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = builder()
            .build()
            // An image without certificates can still reach sources that speak plain HTTP.
            .or_else(|_| builder().tls_certs_only([]).build())
            .map_err(ConnectError::BuildMetricsClient)?;
        let usual = Client {
            http,
            server_name: None,
        };
        Ok(Self {
            usual,
            others: Mutex::default(),
        })
    }

    /// Returns the client for `tls` as its files are now, to ask `url`.
    pub(super) async fn of(&self, tls: &Tls, url: &str) -> Result<Client, QueryError> {
        if *tls == Tls::default() {
            return Ok(self.usual.clone());
        }
        let material = Material::read(tls, url).await?;
        let fingerprint = material.fingerprint();
        if let Some(known) = self.known(&fingerprint) {
            return Ok(known);
        }
        let client = material.client().map_err(QueryError::Credential)?;
        let mut others = self.lock();
        if others.len() >= CLIENTS_MAX {
            others.remove(0);
        }
        others.push((fingerprint, client.clone()));
        Ok(client)
    }

    fn known(&self, fingerprint: &Fingerprint) -> Option<Client> {
        let mut others = self.lock();
        let at = others.iter().position(|(known, _)| known == fingerprint)?;
        let found = others.remove(at);
        let client = found.1.clone();
        others.push(found);
        Some(client)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Fingerprint, Client)>> {
        // A panic elsewhere loses at most one client, which is made anew.
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Returns a request to `address`. Under another name for TLS its host is that name, which
    /// [`Elsewhere`] leads back.
    pub(super) fn request(&self, method: Method, mut address: Url) -> RequestBuilder {
        let Some(name) = &self.server_name else {
            return self.http.request(method, address);
        };
        let host = match (address.host_str(), address.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => String::new(),
        };
        // Only a name that is none can be refused; then the name of the address is checked.
        let _ = address.set_host(Some(name));
        self.http.request(method, address).header(HOST, host)
    }
}

impl Material {
    async fn read(tls: &Tls, url: &str) -> Result<Self, QueryError> {
        let authorities = match &tls.authorities {
            Some(credential) => Some(revealed(credential).await?),
            None => None,
        };
        let identity = match &tls.identity {
            Some(identity) => Some((
                revealed(&identity.certificate).await?,
                revealed(&identity.key).await?,
            )),
            None => None,
        };
        let host = Url::parse(url).ok();
        let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let server_name = tls.server_name.clone();
        Ok(Self {
            authorities,
            identity,
            server_name: server_name.map(|name| (name, host.to_owned())),
            trust_anyone: tls.trust_anyone,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let identity = self.identity.as_ref();
        let parts = [
            self.authorities.as_ref().map(Secret::reveal),
            identity.map(|(certificate, _)| certificate.reveal()),
            identity.map(|(_, key)| key.reveal()),
            self.server_name.as_ref().map(|(name, _)| name.as_str()),
            self.server_name.as_ref().map(|(_, host)| host.as_str()),
            self.trust_anyone.then_some("anyone"),
        ];
        let mut hash = Sha256::new();
        for part in parts {
            // With lengths, so that no two sets of parts read the same.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.finalize().into()
    }

    fn client(&self) -> Result<Client, CredentialProblem> {
        let mut builder = builder();
        if let Some(pem) = &self.authorities {
            let certificates = Certificate::from_pem_bundle(pem.reveal().as_bytes());
            let certificates = certificates.map_err(|_| CredentialProblem::Authorities)?;
            if certificates.is_empty() {
                return Err(CredentialProblem::Authorities);
            }
            // No others: whoever names an authority does not want all the public ones beside it.
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = &self.identity {
            let pem = format!("{}\n{}\n", certificate.reveal(), key.reveal());
            let identity = Identity::from_pem(pem.as_bytes());
            builder = builder.identity(identity.map_err(|_| CredentialProblem::Identity)?);
        }
        if let Some((_, host)) = &self.server_name {
            builder = builder.dns_resolver(Elsewhere(host.as_str().into()));
        }
        let http = builder
            .tls_danger_accept_invalid_certs(self.trust_anyone)
            .build()
            .map_err(|_| self.blamed())?;
        let server_name = self.server_name.as_ref();
        Ok(Client {
            http,
            server_name: server_name.map(|(name, _)| name.as_str().into()),
        })
    }

    /// Says what keeps a client from being made: its parts are looked at only then.
    fn blamed(&self) -> CredentialProblem {
        match (&self.identity, &self.authorities) {
            (Some(_), _) => CredentialProblem::Identity,
            (None, Some(_)) => CredentialProblem::Authorities,
            (None, None) => CredentialProblem::Tls,
        }
    }
}

/// Returns `url` taken apart.
pub(super) fn address(url: &str) -> Result<Url, QueryError> {
    Url::parse(url).map_err(|_| QueryError::Credential(CredentialProblem::Address))
}

/// Leads every name to the host that the address of the source has.
struct Elsewhere(Arc<str>);

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = Arc::clone(&self.0);
        Box::pin(async move {
            // The port of the address takes the place of this one.
            let found: Vec<_> = tokio::net::lookup_host((&*host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The HTTP library itself refuses more than 100 headers, or more than 400 kB of them.
fn builder() -> ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(IDLE_LIMIT)
        .user_agent(concat!("astern/", env!("CARGO_PKG_VERSION")))
}
