//! Credentials, TLS and headers of a `MetricSource`.
//!
//! Only names and places are read here; what is kept there is never seen by the parser.

use super::{
    ClientCredentials, HeaderText, Material, SecretKey, SourceAuth, SourceHeader, SourceTls,
    address, bounds, text,
};
use crate::api::parse::field::{Field, Problems, cut};

const GOOD_AUTH: &str = r#"{"bearer": {"secretRef": {"name": "prometheus-credentials"}}}"#;
const GOOD_REFERENCE: &str = r#"{"name": "prometheus-credentials"}"#;
const GOOD_HEADER: &str = "X-Scope-OrgID";
const GOOD_TOKEN_URL: &str = "\"https://login.example.com/oauth2/token\"";

pub(super) fn auth(field: &Field<'_>, problems: &Problems) -> SourceAuth {
    if !field.given() || !field.object(GOOD_AUTH, problems) {
        return SourceAuth::None;
    }
    let [bearer, basic, oauth2] = ["bearer", "basic", "oauth2"].map(|kind| field.child(kind));
    let given = [&bearer, &basic, &oauth2];
    if given.iter().filter(|kind| kind.given()).count() != 1 {
        let problem = "must have exactly one of bearer, basic and oauth2";
        field.wrong(problem, GOOD_AUTH, problems);
        return SourceAuth::None;
    }
    let auth = if bearer.given() {
        let good = r#"{"file": "/etc/astern/prometheus/token"}"#;
        let found = material(&bearer, ["secretRef", "file"], ("token", good), problems);
        found.map(SourceAuth::Bearer)
    } else if basic.given() {
        user(&basic, problems)
    } else {
        client_credentials(&oauth2, problems).map(|found| SourceAuth::OAuth2(Box::new(found)))
    };
    auth.unwrap_or_default()
}

fn user(field: &Field<'_>, problems: &Problems) -> Option<SourceAuth> {
    let reference = reference(field, "secretRef", problems)?;
    let key = |name: &str, usual: &str| text::secret_key(&reference.child(name), usual, problems);
    Some(SourceAuth::Basic {
        secret: text::secret_name(&reference.child("name"), problems)?,
        username: key("usernameKey", "username")?,
        password: key("passwordKey", "password")?,
    })
}

fn client_credentials(field: &Field<'_>, problems: &Problems) -> Option<ClientCredentials> {
    field.object("{}", problems).then_some(())?;
    let token_url = address(&field.child("tokenUrl"), GOOD_TOKEN_URL, problems);
    let client_id = text::header_value(&field.child("clientId"), "astern", problems);
    let secret = reference(field, "secretRef", problems)
        .and_then(|reference| secret_key(&reference, "client-secret", problems));
    let scopes = field.child("scopes").items(bounds::SCOPES, problems);
    let audience = field.child("audience");
    let audience = audience
        .given()
        .then(|| text::header_value(&audience, "https://prometheus.example.com", problems));
    let tls_field = field.child("tls");
    if tls_field.given() && token_url.starts_with("http://") {
        tls_field.wrong("makes no sense with a tokenUrl in http", "no tls", problems);
    }
    Some(ClientCredentials {
        token_url,
        client_id: client_id?,
        secret: secret?,
        scopes: scopes
            .iter()
            .filter_map(|scope| text::scope(scope, problems))
            .collect(),
        audience: audience.flatten(),
        tls: tls(&tls_field, problems),
    })
}

pub(super) fn tls(field: &Field<'_>, problems: &Problems) -> SourceTls {
    if !field.given() || !field.object(r#"{"caSecretRef": {"name": "ca"}}"#, problems) {
        return SourceTls::default();
    }
    let [ca_secret, ca_file] = ["caSecretRef", "caFile"].map(|name| field.child(name).given());
    let authorities = if ca_secret || ca_file {
        let names = ["caSecretRef", "caFile"];
        let good = r#"{"caFile": "/etc/astern/prometheus/ca.crt"}"#;
        material(field, names, ("ca.crt", good), problems)
    } else {
        None
    };
    let server_name = field.child("serverName");
    let skip = field.child("insecureSkipVerify");
    let trust_anyone = skip.fact(problems);
    if trust_anyone && (ca_secret || ca_file || server_name.given()) {
        let problem = "makes caSecretRef, caFile and serverName meaningless";
        skip.wrong(problem, "false", problems);
    }
    SourceTls {
        authorities,
        identity: identity(field, problems),
        server_name: server_name
            .given()
            .then(|| text::server_name(&server_name, problems))
            .flatten(),
        trust_anyone,
    }
}

fn identity(field: &Field<'_>, problems: &Problems) -> Option<(Material, Material)> {
    let names = ["certSecretRef", "certFile", "keyFile"];
    let [secret, certificate, key] = names.map(|name| field.child(name));
    match (secret.given(), certificate.given(), key.given()) {
        (false, false, false) => None,
        (true, false, false) => {
            let reference = reference(field, "certSecretRef", problems)?;
            let name = text::secret_name(&reference.child("name"), problems)?;
            let entry = |key: &str| {
                Material::Secret(SecretKey {
                    name: name.clone(),
                    key: key.to_owned(),
                })
            };
            // The keys of every Secret of type kubernetes.io/tls.
            Some((entry("tls.crt"), entry("tls.key")))
        }
        (false, true, true) => {
            let certificate = text::file(&certificate, problems);
            let key = text::file(&key, problems);
            Some((Material::File(certificate?), Material::File(key?)))
        }
        (true, _, _) | (false, true, false) | (false, false, true) => {
            let problem = "must have either certSecretRef, or certFile and keyFile";
            let good = r#"{"certSecretRef": {"name": "prometheus-client"}}"#;
            field.wrong(problem, good, problems);
            None
        }
    }
}

/// Returns what one of the fields `names`, a Secret or a file, points to.
fn material(
    field: &Field<'_>,
    names: [&str; 2],
    (usual_key, good): (&str, &str),
    problems: &Problems,
) -> Option<Material> {
    let [secret, file] = names;
    match (field.child(secret).given(), field.child(file).given()) {
        (true, false) => {
            let reference = reference(field, secret, problems)?;
            secret_key(&reference, usual_key, problems).map(Material::Secret)
        }
        (false, true) => text::file(&field.child(file), problems).map(Material::File),
        (true, true) | (false, false) => {
            let problem = format!("must have exactly one of {secret} and {file}");
            field.wrong(problem, good, problems);
            None
        }
    }
}

fn reference<'a>(parent: &Field<'a>, name: &str, problems: &Problems) -> Option<Field<'a>> {
    let field = parent.child(name);
    if !field.given() {
        field.wrong("is missing", GOOD_REFERENCE, problems);
        return None;
    }
    field.object(GOOD_REFERENCE, problems).then_some(field)
}

fn secret_key(reference: &Field<'_>, usual: &str, problems: &Problems) -> Option<SecretKey> {
    let name = text::secret_name(&reference.child("name"), problems);
    let key = text::secret_key(&reference.child("key"), usual, problems);
    Some(SecretKey {
        name: name?,
        key: key?,
    })
}

pub(super) fn headers(spec: &Field<'_>, problems: &Problems) -> Vec<SourceHeader> {
    let tenant = spec.child("tenant");
    let mut seen: Vec<String> = Vec::new();
    if tenant.given() {
        let header = tenant.child("header").metadata();
        seen.push(header.unwrap_or(bounds::TENANT_HEADER).to_ascii_lowercase());
    }
    let items = spec.child("headers").items(bounds::HEADERS, problems);
    let mut headers = Vec::new();
    for item in &items {
        let Some(header) = header(item, problems) else {
            continue;
        };
        let name = header.name.to_ascii_lowercase();
        if seen.contains(&name) {
            let problem = "is set twice; upper and lower case are the same";
            item.child("name").wrong(problem, GOOD_HEADER, problems);
        }
        seen.push(name);
        headers.push(header);
    }
    headers
}

fn header(field: &Field<'_>, problems: &Problems) -> Option<SourceHeader> {
    let good = r#"{"name": "X-Scope-OrgID", "value": "shop"}"#;
    if !field.object(good, problems) {
        return None;
    }
    let name = header_name(&field.child("name"), problems);
    let (value, secret) = (field.child("value"), field.child("secretRef"));
    let value = match (value.given(), secret.given()) {
        (true, false) => HeaderText::Plain(text::header_value(&value, "shop", problems)?),
        (false, true) => {
            let reference = reference(field, "secretRef", problems)?;
            HeaderText::Secret(secret_key(&reference, "", problems)?)
        }
        (true, true) | (false, false) => {
            let problem = "must have exactly one of value and secretRef";
            field.wrong(problem, good, problems);
            return None;
        }
    };
    Some(SourceHeader { name: name?, value })
}

pub(super) fn header_name(field: &Field<'_>, problems: &Problems) -> Option<String> {
    let text = field.required(bounds::HEADER_NAME_LENGTH, GOOD_HEADER, problems)?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !first || !text.bytes().all(letter) {
        let problem = format!("{} is no name of a header", cut(text));
        field.wrong(problem, GOOD_HEADER, problems);
        return None;
    }
    if bounds::REFUSED_HEADERS.contains(&text.to_ascii_lowercase().as_str()) {
        let problem = format!("{} is not for a source to set", cut(text));
        field.wrong(problem, GOOD_HEADER, problems);
        return None;
    }
    Some(text.to_owned())
}
