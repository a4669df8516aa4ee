//! Who trusts whom.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::port::{Identity, Tls, TlsProblem};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(parameters, key),
            pem,
        }
    }

    fn issue(&self, name: &str) -> Pair {
        self.signed(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    fn expired(&self, name: &str) -> Pair {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.signed(&parameters)
    }

    fn signed(&self, parameters: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: parameters.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A server that shows `own` and, where clients are named, wants a certificate of theirs.
async fn server(own: &Pair, clients: Option<&Authority>) -> Server {
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = rustls::ServerConfig::builder();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
            roots.add(root).unwrap();
            let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let config = builder.with_single_cert(chain, key).unwrap();
    Server::with_tls(TlsAcceptor::from(Arc::new(config)), |_| ok(ANSWER)).await
}

fn trusting(authority: &Authority) -> Tls {
    Tls {
        authorities: Some(value(&authority.pem)),
        ..Tls::default()
    }
}

async fn asked(server: &Server, tls: Tls) -> Result<Vec<u8>, QueryError> {
    let access = Access {
        tls,
        ..with(Auth::Bearer(value("t0ken")))
    };
    ask(server, access).await
}

#[tokio::test]
async fn an_authority_that_is_named_is_trusted_and_no_other() {
    let (own, other) = (Authority::new(), Authority::new());
    let server = server(&own.issue("127.0.0.1"), None).await;
    asked(&server, trusting(&own)).await.unwrap();
    let unknown = Err(QueryError::Tls(TlsProblem::UnknownAuthority));
    assert_eq!(asked(&server, trusting(&other)).await, unknown);
    assert_eq!(asked(&server, Tls::default()).await, unknown);
    // Nobody who was not trusted has seen the token.
    assert_eq!(server.seen().len(), 1);
    let careless = Tls {
        trust_anyone: true,
        ..Tls::default()
    };
    asked(&server, careless).await.unwrap();
}

#[tokio::test]
async fn a_certificate_must_be_of_today_and_for_the_name() {
    let authority = Authority::new();
    let old = server(&authority.expired("127.0.0.1"), None).await;
    assert_eq!(
        asked(&old, trusting(&authority)).await,
        Err(QueryError::Tls(TlsProblem::Expired))
    );
    let named = server(&authority.issue("prometheus.example.com"), None).await;
    assert_eq!(
        asked(&named, trusting(&authority)).await,
        Err(QueryError::Tls(TlsProblem::WrongName))
    );
    let by_name = |name: &str| Tls {
        server_name: Some(name.to_owned()),
        ..trusting(&authority)
    };
    asked(&named, by_name("prometheus.example.com"))
        .await
        .unwrap();
    // The server is still asked for under its address.
    let host = format!("127.0.0.1:{}", named.port());
    assert_eq!(named.only().header("host"), Some(host.as_str()));
    assert_eq!(
        asked(&named, by_name("other.example.com")).await,
        Err(QueryError::Tls(TlsProblem::WrongName))
    );
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_wants_one() {
    let (own, clients) = (Authority::new(), Authority::new());
    let server = server(&own.issue("127.0.0.1"), Some(&clients)).await;
    let showing = |pair: &Pair| Tls {
        identity: Some(Identity {
            certificate: value(&pair.certificate),
            key: value(&pair.key),
        }),
        ..trusting(&own)
    };
    asked(&server, showing(&clients.issue("astern")))
        .await
        .unwrap();
    let refused = Err(QueryError::Tls(TlsProblem::Refused));
    assert_eq!(asked(&server, trusting(&own)).await, refused);
    let stranger = showing(&own.issue("astern"));
    assert_eq!(asked(&server, stranger).await, refused);
}

#[tokio::test]
async fn certificates_that_are_none_are_told_from_each_other() {
    let (own, other) = (Authority::new(), Authority::new());
    let server = server(&own.issue("127.0.0.1"), None).await;
    let nonsense = Tls {
        authorities: Some(value("no certificate")),
        ..Tls::default()
    };
    assert_eq!(
        asked(&server, nonsense).await,
        Err(QueryError::Credential(CredentialProblem::Authorities))
    );
    let (one, two) = (other.issue("astern"), other.issue("astern"));
    for key in ["no key", two.key.as_str()] {
        let mixed = Tls {
            identity: Some(Identity {
                certificate: value(&one.certificate),
                key: value(key),
            }),
            ..trusting(&own)
        };
        assert_eq!(
            asked(&server, mixed).await,
            Err(QueryError::Credential(CredentialProblem::Identity))
        );
    }
    let plain = Server::shouting("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let access = Access {
        tls: trusting(&own),
        ..Access::default()
    };
    let port = MetricsPort::new().unwrap();
    let url = plain.url("/").replace("http://", "https://");
    assert_eq!(
        port.query(&query(url, access)).await,
        Err(QueryError::Tls(TlsProblem::Handshake))
    );
}

#[tokio::test]
async fn an_authority_that_changes_in_its_file_is_picked_up() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = server(&new.issue("127.0.0.1"), None).await;
    let path = place("ca.crt");
    let access = Access {
        tls: Tls {
            authorities: Some(Credential::File(path.clone())),
            ..Tls::default()
        },
        ..Access::default()
    };
    let query = query(server.url("/"), access);
    let port = MetricsPort::new().unwrap();
    std::fs::write(&path, &old.pem).unwrap();
    assert_eq!(
        port.query(&query).await,
        Err(QueryError::Tls(TlsProblem::UnknownAuthority))
    );
    std::fs::write(&path, &new.pem).unwrap();
    port.query(&query).await.unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn clients_are_kept_for_what_they_trust_and_are_not_without_number() {
    let port = MetricsPort::new().unwrap();
    let url = "https://127.0.0.1:1/";
    for _ in 0..2 {
        port.clients.of(&Tls::default(), url).await.unwrap();
    }
    assert_eq!(port.clients.count(), 0);
    let named = |number: usize| Tls {
        server_name: Some(format!("source-{number}.example.com")),
        trust_anyone: true,
        ..Tls::default()
    };
    for number in [0, 1, 0, 1] {
        port.clients.of(&named(number), url).await.unwrap();
    }
    assert_eq!(port.clients.count(), 2);
    for number in 0..40 {
        port.clients.of(&named(number), url).await.unwrap();
    }
    assert_eq!(port.clients.count(), 32);
}
