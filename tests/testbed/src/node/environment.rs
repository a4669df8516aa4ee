//! The environment of a container.
//!
//! Values from resource limits, files and Services are left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    behaviour::Program,
    node::{
        config::{Contents, Found, Name},
        manifest::{Container, EnvFrom, Selector, Variable},
        state::Pod,
    },
};

/// Variables by name, every reference resolved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Resolves the environment of a container, with what its references led to.
    ///
    /// Beside the pod's own, `POD_IP`, `POD_NAME`, `POD_NAMESPACE` and `NODE_NAME` can be referred
    /// to by the scenario, which cannot know them.
    ///
    /// # Errors
    ///
    /// When something that the container cannot do without is missing. The text says what, in
    /// kubelet's words; try again when it may be there.
    pub(crate) fn of(pod: &Pod, container: &Container, found: &Found) -> Result<Self, String> {
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
        for from in &container.env_from {
            for (name, selector) in from.names() {
                let Some(contents) = object(found, &name, selector)? else {
                    continue;
                };
                for (key, value) in &contents.text {
                    let key = format!("{}{key}", from.prefix);
                    environment.0.insert(key, value.clone());
                }
            }
        }
        // After them, since a variable of its own name wins.
        for variable in &container.env {
            if let Some(value) = environment.value(pod, variable, found)? {
                environment.0.insert(variable.name.clone(), value);
            }
        }
        Ok(environment)
    }

    /// Adds what the scenario gives the program that stands for an image.
    pub(crate) fn with_program(mut self, program: &Program) -> Self {
        for (name, value) in &program.environment {
            let value = self.expand(value);
            self.0.insert(name.clone(), value);
        }
        self
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

    /// Returns the value of a variable; `None` if it is left out.
    fn value(
        &self,
        pod: &Pod,
        variable: &Variable,
        found: &Found,
    ) -> Result<Option<String>, String> {
        let from = match (&variable.value, &variable.value_from) {
            (Some(value), _) => return Ok(Some(self.expand(value))),
            (None, None) => return Ok(Some(String::new())),
            (None, Some(from)) => from,
        };
        if let Some(reference) = &from.field {
            return Ok(field(pod, &reference.field_path));
        }
        let Some((name, selector)) = from.names().next() else {
            return Ok(None);
        };
        let Some(contents) = object(found, &name, selector)? else {
            return Ok(None);
        };
        let key = selector.key.as_deref().unwrap_or_default();
        match contents.text.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None if selector.optional => Ok(None),
            None => {
                let (kind, name) = name.parts();
                let namespace = &pod.namespace;
                Err(format!(
                    "couldn't find key {key} in {kind} {namespace}/{name}"
                ))
            }
        }
    }
}

/// Returns every object that the environment of a container refers to.
pub(crate) fn referred(container: &Container) -> BTreeSet<Name> {
    let of_variables = container.env.iter().filter_map(|variable| {
        let from = variable.value_from.as_ref()?;
        Some(from.names())
    });
    let of_all = container.env_from.iter().flat_map(EnvFrom::names);
    let all = of_variables.flatten().chain(of_all);
    all.map(|(name, _)| name).collect()
}

fn object<'a>(
    found: &'a Found,
    name: &Name,
    selector: &Selector,
) -> Result<Option<&'a Contents>, String> {
    match found.get(name) {
        Some(contents) => Ok(Some(contents)),
        None if selector.optional => Ok(None),
        None => Err(name.not_found()),
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
mod tests;
