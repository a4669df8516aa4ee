//! Who may ask, as whom, and what answers are worth.

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::access::{header_rule, refused_header_rule};
use crate::api::v1alpha1::bounds;
use crate::api::v1alpha1::bounds::source;
use crate::api::v1alpha1::rollback_policy::Selector;

/// The header by which the server tells its tenants apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.namespaceLabel)")
        .message("must have exactly one of value and namespaceLabel, such as \"value: shop\"")
)]
pub struct Tenant {
    /// Name of the header.
    #[serde(default = "default_header")]
    #[schemars(length(min = 1, max = source::HEADER_NAME_LENGTH))]
    #[x_kube(validation = header_rule(), validation = refused_header_rule())]
    pub header: String,
    /// The tenant, for all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = source::VALUE_LENGTH))]
    #[x_kube(validation = source::text_rule(source::VALUE_PATTERN, "visible ASCII, with spaces only inside", "shop"))]
    pub value: Option<String>,
    /// The label of the policy's Namespace that has the tenant. Every Namespace has its name under
    /// kubernetes.io/metadata.name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = bounds::LABEL_NAME_LENGTH))]
    #[x_kube(validation = source::text_rule(source::OBJECT_LABEL_PATTERN, "the name of a label", "team"))]
    pub namespace_label: Option<String>,
}

fn default_header() -> String {
    source::TENANT_HEADER.to_owned()
}

/// What an answer with warnings is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PartialAnswers {
    /// Nothing is known: series may be missing.
    #[default]
    Unknown,
    /// As much as one without warnings.
    Accept,
}

/// How much of an answer is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Bytes of one answer.
    #[serde(default = "default_bytes")]
    #[x_kube(validation = source::ANSWER_BYTES.rule())]
    pub bytes: Size,
    /// Series of one answer.
    #[serde(default = "default_series")]
    #[schemars(range(min = source::ANSWER_SERIES.least, max = source::ANSWER_SERIES.most))]
    pub series: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: default_bytes(),
            series: default_series(),
        }
    }
}

fn default_bytes() -> Size {
    Size(source::ANSWER_BYTES.usual.to_owned())
}

fn default_series() -> i32 {
    source::ANSWER_SERIES.usual
}

/// A number of bytes: 65536, 64Ki, 32Mi. Kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Size(pub String);

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": source::SIZE_PATTERN,
            "maxLength": source::SIZE_LENGTH,
        })
    }
}

/// Namespaces: those that are named, and those that are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.selector) || (has(self.names) && size(self.names) > 0)")
        .message("must have names or a selector, such as \"names: [shop]\"")
)]
pub struct AllowedNamespaces {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = source::NAMESPACES))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<NamespaceName>,
    /// Labels of namespaces. An empty selector stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

/// Name of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct NamespaceName(
    #[schemars(length(min = 1, max = bounds::LABEL_VALUE_LENGTH), regex(pattern = bounds::TRIGGER_NAME_PATTERN))]
    pub String,
);

/// What PromQL in policies may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Promql {
    /// Where to keep it.
    #[serde(default)]
    pub confine: Confine,
    /// The label of metrics that has the namespace.
    #[serde(default = "default_namespace_label")]
    #[schemars(length(min = 1, max = source::METRIC_LABEL_LENGTH))]
    #[x_kube(validation = source::text_rule(source::METRIC_LABEL_PATTERN, "the name of a label of metrics", source::NAMESPACE_LABEL))]
    pub namespace_label: String,
}

impl Default for Promql {
    fn default() -> Self {
        Self {
            confine: Confine::default(),
            namespace_label: default_namespace_label(),
        }
    }
}

fn default_namespace_label() -> String {
    source::NAMESPACE_LABEL.to_owned()
}

/// Where PromQL in policies is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Confine {
    /// Within the namespace of the policy: every selector is given its label.
    #[default]
    Namespace,
    /// Nowhere: whoever may write a policy can find out about every series that the source has.
    None,
}
