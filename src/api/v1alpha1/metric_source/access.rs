//! Credentials, TLS and headers.
//!
//! Secrets are named without a namespace: they are those of Astern's own.

use kube::KubeSchema;
use kube::core::Rule;
use serde::{Deserialize, Serialize};

use super::url_rule;
use crate::api::v1alpha1::bounds;
use crate::api::v1alpha1::bounds::source;

/// How Astern proves who it is: exactly one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.bearer), has(self.basic), has(self.oauth2)].filter(x, x).size() == 1")
        .message("must have exactly one of bearer, basic and oauth2, such as \"bearer: {secretRef: {name: prometheus-credentials}}\"")
)]
pub struct Auth {
    /// A token in the header Authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Bearer>,
    /// A user name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
    /// A token from another server, by the client credentials grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
}

/// A token, from a Secret or from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.file)")
        .message("must have exactly one of secretRef and file, such as \"file: /etc/astern/prometheus/token\"")
)]
pub struct Bearer {
    /// A Secret in Astern's namespace; the key is "token" unless another is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
    /// A file below /etc/astern that is mounted into Astern's pod. It is read for every query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::FILE_LENGTH))]
    #[x_kube(validation = file_rule("/etc/astern/prometheus/token"))]
    pub file: Option<String>,
}

/// A user name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Basic {
    /// A Secret in Astern's namespace, such as one of type kubernetes.io/basic-auth.
    pub secret_ref: BasicSecret,
}

/// A Secret with a user name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    #[x_kube(validation = secret_rule())]
    pub name: String,
    /// Where the user name is.
    #[serde(default = "default_username_key")]
    #[schemars(length(min = 1, max = source::SECRET_KEY_LENGTH))]
    #[x_kube(validation = key_rule("username"))]
    pub username_key: String,
    /// Where the password is.
    #[serde(default = "default_password_key")]
    #[schemars(length(min = 1, max = source::SECRET_KEY_LENGTH))]
    #[x_kube(validation = key_rule("password"))]
    pub password_key: String,
}

fn default_username_key() -> String {
    "username".to_owned()
}

fn default_password_key() -> String {
    "password".to_owned()
}

/// A token from another server, by the client credentials grant of OAuth 2.0. It is kept until
/// shortly before it expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || self.tokenUrl.startsWith('https://')")
        .message("tls makes no sense with a tokenUrl in http; begin it with \"https://\"")
)]
pub struct OAuth2 {
    /// Address of the token endpoint.
    #[schemars(length(min = 1, max = bounds::URL_LENGTH))]
    #[x_kube(validation = url_rule("https://login.example.com/oauth2/token"))]
    pub token_url: String,
    /// Name of Astern at that server.
    #[schemars(length(min = 1, max = source::VALUE_LENGTH))]
    #[x_kube(validation = value_rule("astern"))]
    pub client_id: String,
    /// A Secret in Astern's namespace; the key is "client-secret" unless another is named.
    pub secret_ref: SecretKey,
    /// Scopes to ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = source::SCOPES),
        inner(length(min = 1, max = source::SCOPE_LENGTH), regex(pattern = source::SCOPE_PATTERN))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,
    /// Whom the token is for, where the server wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::VALUE_LENGTH))]
    #[x_kube(validation = value_rule("https://prometheus.example.com"))]
    pub audience: Option<String>,
    /// Whom to trust and what to show in TLS at the token endpoint, which is another server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Whom to trust and what to show in TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.caSecretRef) && has(self.caFile))")
        .message("caSecretRef and caFile exclude each other; keep one of them"),
    validation = Rule::new("has(self.certFile) == has(self.keyFile) && !(has(self.certSecretRef) && has(self.certFile))")
        .message("must have either certSecretRef, or certFile and keyFile, such as \"certSecretRef: {name: prometheus-client}\""),
    validation = Rule::new("!(has(self.insecureSkipVerify) && self.insecureSkipVerify && (has(self.caSecretRef) || has(self.caFile) || has(self.serverName)))")
        .message("insecureSkipVerify makes caSecretRef, caFile and serverName meaningless; remove it")
)]
pub struct Tls {
    /// A Secret in Astern's namespace with the authorities to trust, and no others, in PEM; the key
    /// is "ca.crt" unless another is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKey>,
    /// A file below /etc/astern with the authorities to trust, and no others, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::FILE_LENGTH))]
    #[x_kube(validation = file_rule("/etc/astern/prometheus/ca.crt"))]
    pub ca_file: Option<String>,
    /// A Secret of type kubernetes.io/tls in Astern's namespace with a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<PairSecret>,
    /// A file below /etc/astern with a client certificate and its chain, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::FILE_LENGTH))]
    #[x_kube(validation = file_rule("/etc/astern/prometheus/tls.crt"))]
    pub cert_file: Option<String>,
    /// A file below /etc/astern with the key of the client certificate, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::FILE_LENGTH))]
    #[x_kube(validation = file_rule("/etc/astern/prometheus/tls.key"))]
    pub key_file: Option<String>,
    /// The name in the server's certificate, where it is not that of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::SERVER_NAME_LENGTH))]
    #[x_kube(validation = source::text_rule(source::SERVER_NAME_PATTERN, "the DNS name in the server's certificate", "prometheus.example.com"))]
    pub server_name: Option<String>,
    /// Trust whoever answers. Do not: whoever is in between then reads the credentials and decides
    /// what is rolled back. Name the server's authority instead.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// A header of every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.secretRef)")
        .message("must have exactly one of value and secretRef, such as \"value: shop\"")
)]
pub struct Header {
    /// Name of the header. Those that belong to the connection, to the body or to auth are refused.
    #[schemars(length(min = 1, max = source::HEADER_NAME_LENGTH))]
    #[x_kube(validation = header_rule(), validation = refused_header_rule())]
    pub name: String,
    /// What it says, for everybody to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::VALUE_LENGTH))]
    #[x_kube(validation = value_rule("shop"))]
    pub value: Option<String>,
    /// A Secret in Astern's namespace with what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyOfSecret>,
}

/// One entry of a Secret, whose key is known unless it is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    #[x_kube(validation = secret_rule())]
    pub name: String,
    /// Key in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::SECRET_KEY_LENGTH))]
    #[x_kube(validation = key_rule("token"))]
    pub key: Option<String>,
}

/// One entry of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyOfSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    #[x_kube(validation = secret_rule())]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(min = 1, max = source::SECRET_KEY_LENGTH))]
    #[x_kube(validation = key_rule("token"))]
    pub key: String,
}

/// A Secret with a certificate under "tls.crt" and its key under "tls.key".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = bounds::NAME_LENGTH))]
    #[x_kube(validation = secret_rule())]
    pub name: String,
}

fn secret_rule() -> Rule {
    bounds::name_rule(bounds::NAME_PATTERN, "prometheus-credentials")
}

fn key_rule(usual: &str) -> Rule {
    source::text_rule(source::SECRET_KEY_PATTERN, "a key of a Secret", usual)
}

fn file_rule(usual: &str) -> Rule {
    let what = "a file below /etc/astern, no part of its path beginning with a dot";
    source::text_rule(source::FILE_PATTERN, what, usual)
}

fn value_rule(usual: &str) -> Rule {
    let what = "visible ASCII, with spaces only inside";
    source::text_rule(source::VALUE_PATTERN, what, usual)
}

/// Returns the rule for the name of a header.
pub(super) fn header_rule() -> Rule {
    source::text_rule(
        source::HEADER_NAME_PATTERN,
        "the name of a header",
        "X-Scope-OrgID",
    )
}

/// Returns the rule that keeps a source from setting what is not its own to set.
pub(super) fn refused_header_rule() -> Rule {
    let names: Vec<String> = source::REFUSED_HEADERS
        .iter()
        .map(|name| format!("'{name}'"))
        .collect();
    Rule::new(format!("!(self.lowerAscii() in [{}])", names.join(", "))).message(
        "must not be a header of the connection, of the body or of auth; credentials belong into auth, other headers are such as \"X-Scope-OrgID\"",
    )
}
