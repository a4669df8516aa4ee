//! Limits and patterns of `MetricSource`.

use kube::core::Rule;

use super::{Count, count};

/// What may be sent in a header: visible ASCII, with spaces only inside.
pub const VALUE_PATTERN: &str = "^[!-~]([ -~]*[!-~])?$";
pub const VALUE_LENGTH: u32 = 1024;
/// Headers as everybody writes them. RFC 9110 allows more, which nobody uses.
pub const HEADER_NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";
pub const HEADER_NAME_LENGTH: u32 = 64;
pub const HEADERS: u32 = 16;
/// Headers that are Astern's own to set, or would make another request of the one that was meant.
pub const REFUSED_HEADERS: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Names of labels of metrics.
pub const METRIC_LABEL_PATTERN: &str = "^[a-zA-Z_][a-zA-Z0-9_]*$";
pub const METRIC_LABEL_LENGTH: u32 = 128;
/// Values of labels of metrics: any text in one line.
pub const METRIC_VALUE_PATTERN: &str = r"^[^\x00-\x1f\x7f]*$";
pub const METRIC_VALUE_LENGTH: u32 = 256;
pub const MATCH_LABELS: u32 = 16;
pub const PARAMETERS: u32 = 16;
pub const PARAMETER_NAME_PATTERN: &str = "^[a-zA-Z][a-zA-Z0-9_]*(\\[\\])?$";
pub const PARAMETER_NAME_LENGTH: u32 = 64;
/// Parameters that Astern sets itself.
pub const REFUSED_PARAMETERS: &[&str] = &[
    "end", "limit", "match[]", "query", "start", "step", "time", "timeout",
];
/// Names of labels of Kubernetes objects, with or without a prefix.
pub const OBJECT_LABEL_PATTERN: &str =
    "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// Keys in Secrets.
pub const SECRET_KEY_PATTERN: &str = "^[-._a-zA-Z0-9]+$";
pub const SECRET_KEY_LENGTH: u32 = 253;
/// Files that whoever installs Astern has mounted for it. Nothing else of the pod can be named, above
/// all not the token of its ServiceAccount. No part begins with a dot, so no path climbs.
pub const FILE_PATTERN: &str = "^/etc/astern(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$";
pub const FILE_LENGTH: u32 = 512;
/// A name in DNS; addresses in numbers cannot be told apart in TLS.
pub const SERVER_NAME_PATTERN: &str =
    "^([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?[.])*[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$";
pub const SERVER_NAME_LENGTH: u32 = 253;
pub const SCOPES: u32 = 16;
/// RFC 6749, section 3.3.
pub const SCOPE_PATTERN: &str = "^[!#-\\[\\]-~]+$";
pub const SCOPE_LENGTH: u32 = 256;
pub const NAMESPACES: u32 = 256;

/// Sizes as Kubernetes writes them, in whole numbers.
pub const SIZE_PATTERN: &str = "^[0-9]{1,9}(Ki|Mi)?$";
pub const SIZE_LENGTH: u32 = 11;
/// Into the least fits an answer that is empty but for its warnings. An answer and what was read from
/// it are in memory together, so the most is for those who have given the operator half a gigabyte.
pub const ANSWER_BYTES: Size = Size {
    least: "64Ki",
    most: "128Mi",
    usual: "32Mi",
};
/// 5,000 pods with a dozen series each stay below the usual number.
pub const ANSWER_SERIES: Count = count(100, 1_000_000, 100_000);

pub const TENANT_HEADER: &str = "X-Scope-OrgID";
pub const NAMESPACE_LABEL: &str = "namespace";

/// The smallest and the largest value of a field that holds a number of bytes, and its default.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub least: &'static str,
    pub most: &'static str,
    pub usual: &'static str,
}

impl Size {
    /// Returns the rule that the API server applies to the field.
    #[must_use]
    pub fn rule(self) -> Rule {
        let Self { least, most, usual } = self;
        let rule = format!(
            "self.matches('{SIZE_PATTERN}') && quantity(self).compareTo(quantity('{least}')) >= 0 && quantity(self).compareTo(quantity('{most}')) <= 0"
        );
        let message =
            format!("must be a number of bytes from {least} to {most}, such as {usual:?}");
        Rule::new(rule).message(message.as_str())
    }
}

/// Returns the number of bytes that `text` stands for.
#[must_use]
pub fn bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = match text.get(digits.len()..)? {
        "" => 1,
        "Ki" => 1024,
        "Mi" => 1024 * 1024,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Returns the rule for a field whose text must look like `pattern`, with what it is and a good value.
#[must_use]
pub fn text_rule(pattern: &str, what: &str, usual: &str) -> Rule {
    let message = format!("must be {what}, such as {usual:?}");
    Rule::new(format!("self.matches(r'{pattern}')")).message(message.as_str())
}
