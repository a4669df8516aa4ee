//! Queries to metric sources.
//!
//! Sends what it is told to whom it is told, and reads no more than it is told. Nothing is tried
//! again here but the second way to name a client to a token endpoint.

mod clients;
mod failure;
mod files;
mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};

use super::ConnectError;
use crate::port::{
    Auth, Credential, CredentialProblem, Method, Outside, Query, QueryError, Secret,
};
use clients::{Client, Clients, address};
use failure::failed;
use tokens::Tokens;

/// The longest address that the HTTP library takes is 65,534 bytes; many proxies take 8,000 and say
/// 414 to more, which the user then reads.
const ADDRESS_MAX: usize = 60_000;

/// Metric sources over HTTP, by clients that only go where they are told.
///
/// They follow no redirect, because an answer could then send the operator to addresses that only it
/// can reach, with credentials for another. They take no proxy from the environment, because that is
/// set for the API server or the outside world, and would see the credentials of sources that an admin
/// named by their address. They ask for no compression, so that the bytes which are counted are those
/// that are kept: a kilobyte could unfold into a gigabyte.
#[derive(Clone)]
pub struct MetricsPort {
    clients: Arc<Clients>,
    tokens: Arc<Tokens>,
}

/// What goes into the header `Authorization`.
enum Authorization {
    None,
    Bearer(Secret),
    Basic { username: Secret, password: Secret },
}

impl MetricsPort {
    /// Returns a port without connections.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up at all; trying again cannot help.
    pub fn new() -> Result<Self, ConnectError> {
        Ok(Self {
            clients: Arc::new(Clients::new()?),
            tokens: Arc::default(),
        })
    }

    async fn exchange(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let access = &query.access;
        let client = self.clients.of(&access.tls, &query.url).await?;
        let authorization = self.authorization(&access.auth).await?;
        let request = authorized(sending(query, &client)?, &authorization)?;
        let answer = answer(request, query.bytes_max).await;
        // A token that was withdrawn before its time.
        if let (Err(QueryError::NotAuthorized(_)), Auth::OAuth2(grant)) = (&answer, &access.auth)
            && let Authorization::Bearer(token) = &authorization
        {
            self.tokens.forget(grant, token).await;
        }
        answer
    }

    async fn authorization(&self, auth: &Auth) -> Result<Authorization, QueryError> {
        Ok(match auth {
            Auth::None => Authorization::None,
            Auth::Bearer(token) => Authorization::Bearer(revealed(token).await?),
            Auth::Basic { username, password } => Authorization::Basic {
                username: username.clone(),
                password: revealed(password).await?,
            },
            Auth::OAuth2(grant) => {
                Authorization::Bearer(self.tokens.token(grant, &self.clients).await?)
            }
        })
    }
}

#[async_trait]
impl Outside for MetricsPort {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        let limit = query.timeout.unsigned_abs();
        match tokio::time::timeout(limit, self.exchange(query)).await {
            Ok(result) => result,
            Err(_) => Err(QueryError::Timeout(query.timeout)),
        }
    }
}

/// Returns a credential as it is now.
async fn revealed(credential: &Credential) -> Result<Secret, QueryError> {
    match credential {
        Credential::Value(secret) => Ok(secret.clone()),
        Credential::File(path) => files::secret(path).await.map_err(QueryError::Credential),
    }
}

fn sending(query: &Query, client: &Client) -> Result<RequestBuilder, QueryError> {
    let access = &query.access;
    let own = query
        .form
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let added = access.parameters.iter();
    let form: Vec<(&str, &str)> = own
        .chain(added.map(|(name, value)| (name.as_str(), value.as_str())))
        .collect();
    let mut request = match access.method {
        Method::Post => client
            .request(reqwest::Method::POST, address(&query.url)?)
            .form(&form),
        Method::Get => {
            let mut address = address(&query.url)?;
            address.query_pairs_mut().extend_pairs(form);
            if address.as_str().len() > ADDRESS_MAX {
                return Err(QueryError::Credential(CredentialProblem::TooLongForGet));
            }
            client.request(reqwest::Method::GET, address)
        }
    };
    for (name, value) in &access.headers {
        let unfit = |_| QueryError::Credential(CredentialProblem::NotSendable("header"));
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| QueryError::Credential(CredentialProblem::NotSendable("header")))?;
        let mut value = HeaderValue::from_str(value.reveal()).map_err(unfit)?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    Ok(request)
}

fn authorized(
    request: RequestBuilder,
    authorization: &Authorization,
) -> Result<RequestBuilder, QueryError> {
    Ok(match authorization {
        Authorization::None => request,
        Authorization::Bearer(token) => {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
                .map_err(|_| QueryError::Credential(CredentialProblem::NotSendable("token")))?;
            value.set_sensitive(true);
            request.header(AUTHORIZATION, value)
        }
        Authorization::Basic { username, password } => {
            request.basic_auth(username.reveal(), Some(password.reveal()))
        }
    })
}

/// Returns the body, if the answer is one that can have been meant.
async fn answer(request: RequestBuilder, bytes_max: usize) -> Result<Vec<u8>, QueryError> {
    let answer = request.send().await.map_err(|error| failed(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(QueryError::Redirected(status.as_u16()));
    }
    match status {
        StatusCode::OK => body(answer, bytes_max).await,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(QueryError::NotAuthorized(status.as_u16()))
        }
        other => Err(QueryError::Status(other.as_u16())),
    }
}

async fn body(mut answer: Response, bytes_max: usize) -> Result<Vec<u8>, QueryError> {
    if let Some(coding) = answer.headers().get(CONTENT_ENCODING)
        && coding != "identity"
    {
        return Err(QueryError::Compressed);
    }
    // The announced length may refuse an answer early, but it is not to be trusted: the bytes are
    // counted as they come.
    let announced = answer.content_length().unwrap_or_default();
    if usize::try_from(announced).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(QueryError::TooLarge(bytes_max));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(QueryError::TooLarge(bytes_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
