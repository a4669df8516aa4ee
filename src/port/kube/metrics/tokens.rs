//! Tokens by the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::clients::{Client, Clients, address};
use super::{answer, revealed};
use crate::port::{OAuth2, QueryError, Secret};

/// An answer of a token endpoint is a few kilobytes, even with many groups in the token.
const ANSWER_MAX: usize = 64 * 1024;

/// More grants than a cluster has sources. Beyond it, and after a rotation, the oldest goes.
const GRANTS_MAX: usize = 32;

/// A token is not used in the last fifth of its life, at most in its last minute: clocks differ, and a
/// query takes its time.
const MARGIN_MAX: Duration = Duration::from_secs(60);

/// How long a token lives that does not say so, and how long we believe one that says more.
const LIFE_UNKNOWN: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Between two attempts that fail. Ticks may be a second apart, and login servers lock out who fails
/// often.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Tokens(std::sync::Mutex<Vec<(OAuth2, Arc<Mutex<Slot>>)>>);

/// What is known about one grant. Whoever asks for a token holds it, so that the others wait for the
/// same one.
#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Token {
        token: Secret,
        asked: Instant,
        until: Instant,
    },
    Failed {
        error: QueryError,
        until: Instant,
    },
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    /// A number; some servers write it as text.
    expires_in: Option<Value>,
}

/// How a client says who it is. Servers must take the first (section 2.3.1); some do not.
#[derive(Clone, Copy)]
enum Naming {
    Header,
    Body,
}

impl Tokens {
    /// Returns a token that is good for a while.
    ///
    /// # Errors
    ///
    /// Why the token endpoint gave none.
    pub(super) async fn token(
        &self,
        grant: &OAuth2,
        clients: &Clients,
    ) -> Result<Secret, QueryError> {
        let slot = self.slot(grant);
        let mut slot = slot.lock().await;
        match &*slot {
            Slot::Token { token, until, .. } if Instant::now() < *until => return Ok(token.clone()),
            Slot::Failed { error, until } if Instant::now() < *until => return Err(error.clone()),
            Slot::Empty | Slot::Token { .. } | Slot::Failed { .. } => {}
        }
        let asked = Instant::now();
        match fetched(grant, clients).await {
            Ok((token, life)) => {
                let margin = MARGIN_MAX.min(life / 5);
                *slot = Slot::Token {
                    token: token.clone(),
                    asked,
                    until: asked + life.saturating_sub(margin),
                };
                Ok(token)
            }
            Err(error) => {
                let error = QueryError::Token(Box::new(error));
                *slot = Slot::Failed {
                    error: error.clone(),
                    until: Instant::now() + PAUSE,
                };
                Err(error)
            }
        }
    }

    /// Drops `refused`, unless there is a newer one, or it is so new that another would do no better.
    pub(super) async fn forget(&self, grant: &OAuth2, refused: &Secret) {
        let slot = self.slot(grant);
        let mut slot = slot.lock().await;
        if let Slot::Token { token, asked, .. } = &*slot
            && token == refused
            && asked.elapsed() >= PAUSE
        {
            *slot = Slot::Empty;
        }
    }

    fn slot(&self, grant: &OAuth2) -> Arc<Mutex<Slot>> {
        // A panic elsewhere leaves the list whole: every change is one insertion or removal.
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = slots.iter().find(|(known, _)| known == grant) {
            return Arc::clone(slot);
        }
        if slots.len() >= GRANTS_MAX {
            slots.remove(0);
        }
        let slot = Arc::default();
        slots.push((grant.clone(), Arc::clone(&slot)));
        slot
    }
}

async fn fetched(grant: &OAuth2, clients: &Clients) -> Result<(Secret, Duration), QueryError> {
    let client = clients.of(&grant.tls, &grant.token_url).await?;
    let secret = revealed(&grant.client_secret).await?;
    let body = match attempt(grant, &client, &secret, Naming::Header).await {
        Err(QueryError::Status(400) | QueryError::NotAuthorized(401)) => {
            attempt(grant, &client, &secret, Naming::Body).await?
        }
        other => other?,
    };
    granted(&body).ok_or(QueryError::NoToken)
}

async fn attempt(
    grant: &OAuth2,
    client: &Client,
    secret: &Secret,
    naming: Naming,
) -> Result<Vec<u8>, QueryError> {
    let scopes = grant.scopes.join(" ");
    let mut form = vec![("grant_type", "client_credentials")];
    if !scopes.is_empty() {
        form.push(("scope", &scopes));
    }
    if let Some(audience) = &grant.audience {
        form.push(("audience", audience));
    }
    let request = client.request(Method::POST, address(&grant.token_url)?);
    let request = match naming {
        Naming::Header => {
            request.basic_auth(encoded(&grant.client_id), Some(encoded(secret.reveal())))
        }
        Naming::Body => {
            form.push(("client_id", &grant.client_id));
            form.push(("client_secret", secret.reveal()));
            request
        }
    };
    answer(request.form(&form), ANSWER_MAX).await
}

/// Both halves are encoded as in a form before they are put together (section 2.3.1).
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
            encoded.extend(digits.into_iter().flatten());
        }
    }
    encoded
}

fn granted(body: &[u8]) -> Option<(Secret, Duration)> {
    let granted: Granted = serde_json::from_slice(body).ok()?;
    let bearer = granted
        .token_type
        .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let token = granted.access_token;
    let sendable = !token.is_empty() && token.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    if !bearer || !sendable {
        return None;
    }
    let seconds = granted.expires_in.and_then(|value| match &value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    let life = seconds.map_or(LIFE_UNKNOWN, Duration::from_secs);
    Some((Secret::new(token), life.min(LIFE_MAX)))
}
