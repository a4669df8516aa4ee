//! Reading a `MetricSource`.

mod access;
mod text;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::SignedDuration;

use super::field::{Field, Problems, cut};
use super::selector::{self, Selector};
use crate::api::v1alpha1::bounds::source as bounds;
use crate::api::v1alpha1::bounds::{
    LABEL_NAME_LENGTH, LABEL_VALUE_LENGTH, QUERY_TIMEOUT, URL_LENGTH,
};

/// A metric source that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSource {
    pub name: String,
    pub url: String,
    pub timeout: SignedDuration,
    pub method: QueryMethod,
    pub auth: SourceAuth,
    pub tls: SourceTls,
    pub headers: Vec<SourceHeader>,
    /// Sent with every query, beside those that Astern sets.
    pub parameters: BTreeMap<String, String>,
    /// Must be in every selector of every query.
    pub match_labels: BTreeMap<String, String>,
    pub tenant: Option<Tenant>,
    pub partial_answers: PartialAnswers,
    pub limits: AnswerLimits,
    /// `None`: policies of every namespace may ask.
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// The label by which PromQL that people wrote is kept within the namespace of their policy.
    /// `None`: the admin lets it see everything that the source has.
    pub confine: Option<String>,
}

/// How queries are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryMethod {
    #[default]
    Post,
    Get,
}

/// How Astern proves to a source who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceAuth {
    #[default]
    None,
    Bearer(Material),
    Basic {
        secret: String,
        username: String,
        password: String,
    },
    OAuth2(Box<ClientCredentials>),
}

/// How to get a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCredentials {
    pub token_url: String,
    pub client_id: String,
    pub secret: SecretKey,
    pub scopes: Vec<String>,
    pub audience: Option<String>,
    pub tls: SourceTls,
}

/// Where a token, a key or a certificate is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    Secret(SecretKey),
    File(PathBuf),
}

/// One entry of a Secret in Astern's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    pub name: String,
    pub key: String,
}

/// Whom to trust, and what to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTls {
    /// `None`: the authorities that the image of Astern trusts.
    pub authorities: Option<Material>,
    /// A certificate and its key.
    pub identity: Option<(Material, Material)>,
    pub server_name: Option<String>,
    pub trust_anyone: bool,
}

/// A header of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHeader {
    pub name: String,
    pub value: HeaderText,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    Plain(String),
    Secret(SecretKey),
}

/// How a source tells its tenants apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub header: String,
    pub value: TenantValue,
}

/// Whose series a query sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantValue {
    Fixed(String),
    /// What the namespace of the policy has under this label.
    NamespaceLabel(String),
}

/// What an answer with warnings is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartialAnswers {
    /// Nothing: series may be missing.
    #[default]
    Unknown,
    /// As much as one without.
    Accept,
}

/// How much of an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimits {
    pub bytes: usize,
    pub series: usize,
}

/// Whose policies may ask: those of the namespaces named, and of those selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNamespaces {
    pub names: BTreeSet<String>,
    pub selector: Option<Selector>,
}

const GOOD_URL: &str = "\"http://prometheus.monitoring:9090\"";
const GOOD_LABEL: &str = "team";

pub(super) fn parsed(object: &Field<'_>, problems: &Problems) -> MetricSource {
    let spec = object.child("spec");
    spec.object("{}", problems);
    let url = address(&spec.child("url"), GOOD_URL, problems);
    let tls = spec.child("tls");
    if tls.given() && url.starts_with("http://") {
        tls.wrong("makes no sense with an address in http", "no tls", problems);
    }
    MetricSource {
        name: object
            .child("metadata")
            .child("name")
            .metadata()
            .unwrap_or_default()
            .to_owned(),
        url,
        timeout: spec.child("timeout").duration(QUERY_TIMEOUT, problems),
        method: spec.child("method").one_of(
            &[("POST", QueryMethod::Post), ("GET", QueryMethod::Get)],
            QueryMethod::Post,
            problems,
        ),
        auth: access::auth(&spec.child("auth"), problems),
        tls: access::tls(&tls, problems),
        headers: access::headers(&spec, problems),
        parameters: parameters(&spec.child("parameters"), problems),
        match_labels: match_labels(&spec.child("matchLabels"), problems),
        tenant: tenant(&spec.child("tenant"), problems),
        partial_answers: spec.child("partialAnswers").one_of(
            &[
                ("Unknown", PartialAnswers::Unknown),
                ("Accept", PartialAnswers::Accept),
            ],
            PartialAnswers::Unknown,
            problems,
        ),
        limits: limits(&spec.child("limits"), problems),
        allowed_namespaces: allowed_namespaces(&spec.child("allowedNamespaces"), problems),
        confine: confine(&spec.child("promql"), problems),
    }
}

fn address(field: &Field<'_>, good: &str, problems: &Problems) -> String {
    let url = field
        .required(URL_LENGTH, good, problems)
        .unwrap_or_default();
    if !url.is_empty()
        && let Some(problem) = url::problem(url)
    {
        field.wrong(format!("{} {problem}", cut(url)), good, problems);
    }
    url.to_owned()
}

fn parameters(field: &Field<'_>, problems: &Problems) -> BTreeMap<String, String> {
    let entries = field.entries(bounds::PARAMETERS, problems);
    let good = r#"{"nocache": "1"}"#;
    let mut parameters = BTreeMap::new();
    for (name, value) in entries {
        if !text::is_parameter(name) {
            value.wrong("is no name of a parameter", good, problems);
        } else if bounds::REFUSED_PARAMETERS.contains(&name) {
            value.wrong("is set by Astern itself", good, problems);
        } else if let Some(text) = text::metric_value(&value, problems) {
            parameters.insert(name.to_owned(), text);
        }
    }
    parameters
}

fn match_labels(field: &Field<'_>, problems: &Problems) -> BTreeMap<String, String> {
    let entries = field.entries(bounds::MATCH_LABELS, problems);
    let good = r#"{"cluster": "eu-1"}"#;
    let mut labels = BTreeMap::new();
    for (name, value) in entries {
        if !text::is_metric_label(name) {
            value.wrong("is no name of a label of metrics", good, problems);
        } else if name == "__name__" {
            value.wrong("must not name the metric", good, problems);
        } else if let Some(text) = text::metric_value(&value, problems) {
            labels.insert(name.to_owned(), text);
        }
    }
    labels
}

fn tenant(field: &Field<'_>, problems: &Problems) -> Option<Tenant> {
    let good = r#"{"value": "shop"}"#;
    if !field.given() || !field.object(good, problems) {
        return None;
    }
    let header = field.child("header");
    let header = if header.given() {
        access::header_name(&header, problems)?
    } else {
        bounds::TENANT_HEADER.to_owned()
    };
    let (value, label) = (field.child("value"), field.child("namespaceLabel"));
    let value = match (value.given(), label.given()) {
        (true, false) => TenantValue::Fixed(text::header_value(&value, "shop", problems)?),
        (false, true) => TenantValue::NamespaceLabel(text::object_label(&label, problems)?),
        (true, true) | (false, false) => {
            let problem = "must have exactly one of value and namespaceLabel";
            field.wrong(problem, good, problems);
            return None;
        }
    };
    Some(Tenant { header, value })
}

fn limits(field: &Field<'_>, problems: &Problems) -> AnswerLimits {
    field.object("{}", problems);
    let size = bounds::ANSWER_BYTES;
    let of = |text: &str| bounds::bytes(text).unwrap_or_default();
    let mut bytes = of(size.usual);
    let given = field.child("bytes");
    if let Some(text) = given.text(bounds::SIZE_LENGTH, size.usual, problems) {
        match bounds::bytes(text) {
            Some(number) if number >= of(size.least) && number <= of(size.most) => bytes = number,
            Some(_) | None => {
                let problem = format!(
                    "{} is no number of bytes from {} to {}",
                    cut(text),
                    size.least,
                    size.most
                );
                given.wrong(problem, size.usual, problems);
            }
        }
    }
    let series = field.child("series").count(bounds::ANSWER_SERIES, problems);
    AnswerLimits {
        bytes,
        series: series as usize,
    }
}

fn allowed_namespaces(field: &Field<'_>, problems: &Problems) -> Option<AllowedNamespaces> {
    if !field.given() {
        return None;
    }
    let good = r#"{"names": ["shop"]}"#;
    let mut allowed = AllowedNamespaces::default();
    if !field.object(good, problems) {
        return Some(allowed);
    }
    for name in field.child("names").items(bounds::NAMESPACES, problems) {
        let text = name.text(LABEL_VALUE_LENGTH, "shop", problems);
        match text.filter(|text| text::is_namespace(text)) {
            Some(text) => drop(allowed.names.insert(text.to_owned())),
            None if text.is_some() => name.wrong("is no name of a namespace", "shop", problems),
            None => {}
        }
    }
    let selector = field.child("selector");
    if selector.given() {
        allowed.selector = Some(selector::parsed(&selector, problems));
    } else if allowed.names.is_empty() {
        // To let nobody ask, one would leave the source out.
        field.wrong("names and selects no namespace", good, problems);
    }
    Some(allowed)
}

fn confine(field: &Field<'_>, problems: &Problems) -> Option<String> {
    field.object("{}", problems);
    let known = [("Namespace", true), ("None", false)];
    let confined = field.child("confine").one_of(&known, true, problems);
    let label = field.child("namespaceLabel");
    let usual = bounds::NAMESPACE_LABEL;
    let name = label.text(bounds::METRIC_LABEL_LENGTH, usual, problems);
    let name = name.unwrap_or(usual);
    if !text::is_metric_label(name) {
        let problem = format!("{} is no name of a label of metrics", cut(name));
        label.wrong(problem, usual, problems);
    }
    confined.then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
