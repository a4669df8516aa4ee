//! What is asked of a metric source, with what to prove who asks, and how that may fail.
//!
//! Plain data. Who sends it, and how, is the business of the implementations of [`super::Outside`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;

/// A text that must not be seen: a token, a password, a private key.
///
/// Neither `Debug` nor anything else prints it, so that what holds one can be logged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps `text` from being printed.
    #[must_use]
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    Value(Secret),
    /// Read anew for every query, so that one that rotates is never out of date.
    File(PathBuf),
}

/// How to prove who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    #[default]
    None,
    Bearer(Credential),
    Basic {
        username: Secret,
        password: Credential,
    },
    OAuth2(Box<OAuth2>),
}

/// The client credentials grant of RFC 6749, section 4.4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OAuth2 {
    pub token_url: String,
    pub client_id: String,
    pub client_secret: Credential,
    pub scopes: Vec<String>,
    pub audience: Option<String>,
    /// For the token endpoint, which is another server than the source.
    pub tls: Tls,
}

/// Whom to trust, and what to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// PEM; `None` trusts the certificates of the platform.
    pub authorities: Option<Credential>,
    pub identity: Option<Identity>,
    /// The name that the server's certificate must have, where it is not that of the address.
    pub server_name: Option<String>,
    pub trust_anyone: bool,
}

/// A client certificate with its chain, and its key; both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub certificate: Credential,
    pub key: Credential,
}

/// How the form of a query travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// In the body. Long queries fit, and proxies do not log them.
    #[default]
    Post,
    /// In the address, for servers and proxies that take nothing else.
    Get,
}

/// What every query to one source has in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    pub method: Method,
    pub auth: Auth,
    pub tls: Tls,
    pub headers: Vec<(String, Secret)>,
    /// Sent after the form of each query.
    pub parameters: Vec<(String, String)>,
}

/// A request to a metric source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Full address of the endpoint, such as `https://prometheus.example/api/v1/query`.
    pub url: String,
    pub form: Vec<(&'static str, String)>,
    pub access: Arc<Access>,
    /// For the whole exchange: token, connection, headers and body.
    pub timeout: SignedDuration,
    /// A longer body is cut off and refused.
    pub bytes_max: usize,
}

/// Why a metric source gave no usable answer.
///
/// Holds no part of any body, header or address, so that it can be shown to everybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("no answer within {0:#}")]
    Timeout(SignedDuration),
    #[error("cannot be reached")]
    Unreachable,
    /// The connection ended, or what came was no HTTP.
    #[error("broke off its answer")]
    BrokenOff,
    #[error("TLS failed: {0}")]
    Tls(TlsProblem),
    #[error("answered with HTTP status {0}; check its auth, headers and tenant")]
    NotAuthorized(u16),
    #[error(
        "answered with HTTP status {0}, a redirect, which is not followed; set its url to the final address"
    )]
    Redirected(u16),
    #[error("answered with HTTP status {0}")]
    Status(u16),
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
    #[error("compressed its answer, which was not asked for")]
    Compressed,
    /// What was to be sent could not be made out of the configuration.
    #[error("{0}")]
    Credential(CredentialProblem),
    #[error("no OAuth2 token: the token endpoint {0}")]
    Token(Box<QueryError>),
    #[error("gave an answer that holds no usable access_token")]
    NoToken,
}

impl QueryError {
    /// Says whether newer credentials could help.
    #[must_use]
    pub fn doubts_credentials(&self) -> bool {
        match self {
            Self::NotAuthorized(_) | Self::Tls(_) | Self::Credential(_) | Self::Token(_) => true,
            Self::Timeout(_)
            | Self::Unreachable
            | Self::BrokenOff
            | Self::Redirected(_)
            | Self::Status(_)
            | Self::TooLarge(_)
            | Self::Compressed
            | Self::NoToken => false,
        }
    }
}

/// What kept two sides from trusting each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    #[error(
        "the server's certificate comes from an authority that is not trusted; check tls.caSecretRef or tls.caFile"
    )]
    UnknownAuthority,
    #[error("the server's certificate has expired, or is not valid yet")]
    Expired,
    #[error("the server's certificate is for another name; check tls.serverName")]
    WrongName,
    #[error("the server's certificate is not usable")]
    Certificate,
    #[error("the server refuses the client certificate, or wants one; check tls.certSecretRef")]
    Refused,
    #[error("both sides have nothing in common, or the port does not speak TLS")]
    Handshake,
}

/// What is wrong with something that was to be sent. Files are named, contents never.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialProblem {
    #[error("the file {0:?} is missing or cannot be read")]
    File(PathBuf),
    #[error("the file {0:?} is empty")]
    Empty(PathBuf),
    #[error("the file {0:?} is larger than {1} bytes")]
    FileTooLarge(PathBuf, usize),
    #[error("the {0} holds characters that cannot be sent")]
    NotSendable(&'static str),
    #[error("the authorities of tls are no certificates in PEM")]
    Authorities,
    #[error("the client certificate and key of tls are not a pair in PEM")]
    Identity,
    #[error("TLS cannot be set up with what tls says")]
    Tls,
    #[error("the address cannot be asked")]
    Address,
    #[error("the query is too long for method GET; use POST")]
    TooLongForGet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_secrets_prints_none() {
        let secret = || Secret::new("hunter2");
        let held = || Credential::Value(secret());
        let tls = Tls {
            authorities: Some(held()),
            identity: Some(Identity {
                certificate: held(),
                key: held(),
            }),
            ..Tls::default()
        };
        let oauth2 = OAuth2 {
            token_url: "https://login.example/token".to_owned(),
            client_id: "astern".to_owned(),
            client_secret: held(),
            scopes: Vec::new(),
            audience: None,
            tls: tls.clone(),
        };
        let basic = Auth::Basic {
            username: secret(),
            password: held(),
        };
        for auth in [Auth::Bearer(held()), basic, Auth::OAuth2(Box::new(oauth2))] {
            let query = Query {
                url: String::new(),
                form: Vec::new(),
                access: Arc::new(Access {
                    auth,
                    tls: tls.clone(),
                    headers: vec![("X-Key".to_owned(), secret())],
                    ..Access::default()
                }),
                timeout: SignedDuration::ZERO,
                bytes_max: 0,
            };
            for shown in [format!("{query:?}"), format!("{query:#?}")] {
                assert!(!shown.contains("hunter"), "{shown}");
                assert!(shown.contains("X-Key"), "{shown}");
            }
        }
    }
}
