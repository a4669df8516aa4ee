//! The environment of a program that runs as a pod.
//!
//! Values from `ConfigMaps`, Secrets and resource limits are left out.

use std::collections::BTreeMap;

use crate::{
    behaviour::Program,
    node::{
        manifest::{Container, Variable},
        state::Pod,
    },
};

/// Variables by name, every reference resolved.
#[derive(Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Resolves the environment of a container, then the one that the scenario gives its program.
    ///
    /// Beside the pod's own, `POD_IP`, `POD_NAME`, `POD_NAMESPACE` and `NODE_NAME` can be referred
    /// to by the scenario, which cannot know them.
    pub(crate) fn of(pod: &Pod, container: &Container, program: &Program) -> Self {
        let mut environment = Self::default();
        for (name, path) in [
            ("POD_IP", "status.podIP"),
            ("POD_NAME", "metadata.name"),
            ("POD_NAMESPACE", "metadata.namespace"),
            ("NODE_NAME", "spec.nodeName"),
        ] {
            if let Some(value) = field(pod, path) {
                environment.0.insert(name.to_owned(), value);
            }
        }
        for variable in &container.env {
            if let Some(value) = environment.value(pod, variable) {
                environment.0.insert(variable.name.clone(), value);
            }
        }
        for (name, value) in &program.environment {
            let value = environment.expand(value);
            environment.0.insert(name.clone(), value);
        }
        environment
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Replaces `$(NAME)` by the variable of that name. `$$(NAME)` and unknown names stay.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(position) = rest.find('$') {
            let (before, reference) = rest.split_at(position);
            expanded.push_str(before);
            let name = reference
                .strip_prefix("$(")
                .and_then(|name| name.split_once(')'));
            let known = name.and_then(|(name, tail)| Some((self.0.get(name)?, tail)));
            if let Some(tail) = reference.strip_prefix("$$") {
                expanded.push('$');
                rest = tail;
            } else if let Some((value, tail)) = known {
                expanded.push_str(value);
                rest = tail;
            } else {
                expanded.push('$');
                rest = &reference[1..];
            }
        }
        expanded.push_str(rest);
        expanded
    }

    fn value(&self, pod: &Pod, variable: &Variable) -> Option<String> {
        match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(self.expand(value)),
            (None, None) => Some(String::new()),
            (None, Some(from)) => field(pod, &from.field.as_ref()?.field_path),
        }
    }
}

/// Reads a field of the downward API. Addresses are those on which this machine serves them.
fn field(pod: &Pod, path: &str) -> Option<String> {
    let metadata = &pod.manifest.metadata;
    match path {
        "metadata.name" => Some(pod.name.clone()),
        "metadata.namespace" => Some(pod.namespace.clone()),
        "metadata.uid" => Some(pod.uid.clone()),
        "spec.nodeName" => Some(pod.manifest.spec.node_name.clone()),
        "spec.serviceAccountName" => Some(pod.manifest.spec.service_account_name.clone()),
        "status.podIP" | "status.podIPs" => Some(pod.address.loopback().to_string()),
        "status.hostIP" => Some(pod.node_address.loopback().to_string()),
        _ => {
            let name = path.strip_prefix("metadata.labels['")?.strip_suffix("']")?;
            metadata.labels.as_ref()?.get(name).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expanded: &str) {
        let environment = Environment(BTreeMap::from([("PORT".to_owned(), "8080".to_owned())]));
        assert_eq!(environment.expand(text), expanded);
    }

    #[test]
    fn known_names_are_replaced() {
        check("http://localhost:$(PORT)/", "http://localhost:8080/");
        check("$(PORT)$(PORT)", "80808080");
    }

    #[test]
    fn everything_else_stays() {
        check("$(HOST):$(PORT)", "$(HOST):8080");
        check("$PORT costs $5 $(PORT", "$PORT costs $5 $(PORT");
    }

    #[test]
    fn two_dollars_are_one() {
        check("$$(PORT)", "$(PORT)");
    }
}
