//! What a `MetricSource` names, as it stands in the Secrets of Astern's own namespace.
//!
//! Files are only passed on: the port reads them, for every query.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::Value;

use super::Sources;
use crate::api::parse::{
    ClientCredentials, HeaderText, Material, MetricSource, QueryMethod, SecretKey, SourceAuth,
    SourceTls,
};
use crate::port::{
    Access, Auth, Credential, Identity, Method, OAuth2, ObjectRef, Secret, Tls, kinds,
};

/// What a Secret holds, by key.
pub(super) type Entries = BTreeMap<String, Vec<u8>>;

impl Sources {
    /// Returns what every query to `source` carries for `tenant`, with Secrets as they are now.
    pub(super) async fn access(
        &self,
        source: &MetricSource,
        tenant: Option<&str>,
    ) -> Result<Access, String> {
        let mut headers = Vec::new();
        for header in &source.headers {
            let value = match &header.value {
                HeaderText::Plain(text) => Secret::new(text.as_str()),
                HeaderText::Secret(key) => self.secret(key).await?,
            };
            headers.push((header.name.clone(), value));
        }
        if let Some(place) = &source.tenant {
            let tenant = tenant.ok_or("the tenant is not known")?;
            headers.push((place.header.clone(), Secret::new(tenant)));
        }
        Ok(Access {
            method: match source.method {
                QueryMethod::Post => Method::Post,
                QueryMethod::Get => Method::Get,
            },
            auth: self.auth(&source.auth).await?,
            tls: self.tls(&source.tls).await?,
            headers,
            parameters: source.parameters.clone().into_iter().collect(),
        })
    }

    async fn auth(&self, auth: &SourceAuth) -> Result<Auth, String> {
        Ok(match auth {
            SourceAuth::None => Auth::None,
            SourceAuth::Bearer(token) => Auth::Bearer(self.material(token).await?),
            SourceAuth::Basic {
                secret,
                username,
                password,
            } => {
                let key = |key: &str| SecretKey {
                    name: secret.clone(),
                    key: key.to_owned(),
                };
                Auth::Basic {
                    username: self.secret(&key(username)).await?,
                    password: Credential::Value(self.secret(&key(password)).await?),
                }
            }
            SourceAuth::OAuth2(grant) => Auth::OAuth2(Box::new(self.oauth2(grant).await?)),
        })
    }

    async fn oauth2(&self, grant: &ClientCredentials) -> Result<OAuth2, String> {
        Ok(OAuth2 {
            token_url: grant.token_url.clone(),
            client_id: grant.client_id.clone(),
            client_secret: Credential::Value(self.secret(&grant.secret).await?),
            scopes: grant.scopes.clone(),
            audience: grant.audience.clone(),
            tls: self.tls(&grant.tls).await?,
        })
    }

    async fn tls(&self, tls: &SourceTls) -> Result<Tls, String> {
        let authorities = match &tls.authorities {
            Some(material) => Some(self.material(material).await?),
            None => None,
        };
        let identity = match &tls.identity {
            Some((certificate, key)) => Some(Identity {
                certificate: self.material(certificate).await?,
                key: self.material(key).await?,
            }),
            None => None,
        };
        Ok(Tls {
            authorities,
            identity,
            server_name: tls.server_name.clone(),
            trust_anyone: tls.trust_anyone,
        })
    }

    async fn material(&self, material: &Material) -> Result<Credential, String> {
        match material {
            Material::Secret(key) => self.secret(key).await.map(Credential::Value),
            Material::File(path) => Ok(Credential::File(path.clone())),
        }
    }

    /// The line break that editors and `base64` leave at the end is no part of a credential.
    async fn secret(&self, wanted: &SecretKey) -> Result<Secret, String> {
        let SecretKey { name, key } = wanted;
        let place = &self.namespace;
        let object = ObjectRef::new(kinds::SECRETS, place, name);
        let found = self
            .secrets
            .get(self.cluster.as_ref(), &object, entries_in)
            .await;
        let entries = found
            .map_err(|error| format!("Secret {name:?} in {place:?} cannot be read: {error}"))?
            .ok_or_else(|| format!("there is no Secret {name:?} in namespace {place:?}"))?;
        let bytes = entries
            .get(key)
            .ok_or_else(|| format!("Secret {name:?} in {place:?} has no key {key:?}"))?;
        match std::str::from_utf8(bytes).map(str::trim_end) {
            Ok("") => Err(format!("key {key:?} of Secret {name:?} is empty")),
            Ok(text) => Ok(Secret::new(text)),
            Err(_) => Err(format!("key {key:?} of Secret {name:?} is no text")),
        }
    }
}

/// Returns the names of all Secrets that `source` uses; a name may come twice.
pub(super) fn secrets_of(source: &MetricSource) -> Vec<&str> {
    let mut names: Vec<&str> = secrets_of_tls(&source.tls).collect();
    match &source.auth {
        SourceAuth::None | SourceAuth::Bearer(Material::File(_)) => {}
        SourceAuth::Bearer(Material::Secret(key)) => names.push(&key.name),
        SourceAuth::Basic { secret, .. } => names.push(secret),
        SourceAuth::OAuth2(grant) => {
            names.push(&grant.secret.name);
            names.extend(secrets_of_tls(&grant.tls));
        }
    }
    names.extend(
        source
            .headers
            .iter()
            .filter_map(|header| match &header.value {
                HeaderText::Plain(_) => None,
                HeaderText::Secret(key) => Some(key.name.as_str()),
            }),
    );
    names
}

fn secrets_of_tls(tls: &SourceTls) -> impl Iterator<Item = &str> {
    let identity = tls
        .identity
        .iter()
        .flat_map(|(certificate, key)| [certificate, key]);
    let all = tls.authorities.iter().chain(identity);
    all.filter_map(|material| match material {
        Material::Secret(key) => Some(key.name.as_str()),
        Material::File(_) => None,
    })
}

fn entries_in(secret: &Value) -> Entries {
    let data = secret.get("data").and_then(Value::as_object);
    let decoded = data.into_iter().flatten().filter_map(|(key, value)| {
        let ByteString(bytes) = serde_json::from_value(value.clone()).ok()?;
        Some((key.clone(), bytes))
    });
    decoded.collect()
}
