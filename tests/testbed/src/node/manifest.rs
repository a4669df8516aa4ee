//! The part of a pod that a simulated node reads.
//!
//! Own structs instead of the typed Pod: thousands of them are held, and most of a pod is of no use
//! here.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::util::intstr::IntOrString};
use kube::api::ObjectMeta;
use serde::Deserialize;

/// A pod as the watch delivers it.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = "Pod")]
pub(crate) struct Manifest {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) node_name: String,
    pub(crate) service_account_name: String,
    pub(crate) restart_policy: String,
    pub(crate) termination_grace_period_seconds: Option<u64>,
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Vec<InitContainer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) phase: String,
}

/// A container that is taken to have done its work at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InitContainer {
    pub(crate) name: String,
    pub(crate) image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<Variable>,
    pub(crate) env_from: Vec<EnvFrom>,
    pub(crate) ports: Vec<Port>,
    pub(crate) liveness_probe: Option<Probe>,
    pub(crate) readiness_probe: Option<Probe>,
    pub(crate) startup_probe: Option<Probe>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    pub(crate) name: String,
    #[serde(rename = "containerPort")]
    pub(crate) number: u16,
    pub(crate) protocol: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) value_from: Option<ValueFrom>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ValueFrom {
    #[serde(rename = "fieldRef")]
    pub(crate) field: Option<FieldRef>,
    #[serde(rename = "configMapKeyRef")]
    pub(crate) config_map_key: Option<Selector>,
    #[serde(rename = "secretKeyRef")]
    pub(crate) secret_key: Option<Selector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EnvFrom {
    pub(crate) config_map_ref: Option<Selector>,
    pub(crate) secret_ref: Option<Selector>,
}

/// Names a `ConfigMap` or a Secret, or one key of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Selector {
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) optional: bool,
}

/// What must be there before a container can be created: its name, and the key that is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Referent<'a> {
    ConfigMap(&'a str, Option<&'a str>),
    Secret(&'a str, Option<&'a str>),
}

impl Referent<'_> {
    /// Returns why a container cannot be created, given the keys of the object if it exists.
    pub(crate) fn obstacle(&self, namespace: &str, keys: Option<&[String]>) -> Option<String> {
        let (kind, lower_kind, name, key) = match *self {
            Self::ConfigMap(name, key) => ("ConfigMap", "configmap", name, key),
            Self::Secret(name, key) => ("Secret", "secret", name, key),
        };
        let Some(keys) = keys else {
            return Some(format!("{lower_kind} {name:?} not found"));
        };
        let key = key.filter(|key| !keys.iter().any(|known| known == key))?;
        Some(format!(
            "couldn't find key {key} in {kind} {namespace}/{name}"
        ))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FieldRef {
    pub(crate) field_path: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Probe {
    pub(crate) http_get: Option<HttpGet>,
    pub(crate) tcp_socket: Option<TcpSocket>,
    pub(crate) initial_delay_seconds: u64,
    pub(crate) period_seconds: u64,
    pub(crate) timeout_seconds: u64,
    pub(crate) success_threshold: u32,
    pub(crate) failure_threshold: u32,
    pub(crate) termination_grace_period_seconds: Option<u64>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            http_get: None,
            tcp_socket: None,
            initial_delay_seconds: 0,
            period_seconds: 10,
            timeout_seconds: 1,
            success_threshold: 1,
            failure_threshold: 3,
            termination_grace_period_seconds: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpGet {
    #[serde(default = "root")]
    pub(crate) path: String,
    pub(crate) port: IntOrString,
    #[serde(default)]
    pub(crate) http_headers: Vec<Header>,
}

fn root() -> String {
    "/".to_owned()
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) value: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TcpSocket {
    pub(crate) port: IntOrString,
}

impl Container {
    /// Returns what the environment refers to and cannot do without.
    pub(crate) fn referents(&self) -> Vec<Referent<'_>> {
        fn wanted(selector: Option<&Selector>) -> Option<(&str, Option<&str>)> {
            let selector = selector.filter(|selector| !selector.optional)?;
            Some((&selector.name, selector.key.as_deref()))
        }
        let of_variables = self
            .env
            .iter()
            .filter_map(|variable| variable.value_from.as_ref())
            .map(|from| (&from.config_map_key, &from.secret_key));
        let of_all = self
            .env_from
            .iter()
            .map(|from| (&from.config_map_ref, &from.secret_ref));
        of_variables
            .chain(of_all)
            .flat_map(|(map, secret)| {
                let map = wanted(map.as_ref()).map(|(name, key)| Referent::ConfigMap(name, key));
                let secret = wanted(secret.as_ref()).map(|(name, key)| Referent::Secret(name, key));
                map.into_iter().chain(secret)
            })
            .collect()
    }

    /// Returns the number of a port that is given by number or by name.
    pub(crate) fn port(&self, port: &IntOrString) -> Option<u16> {
        match port {
            IntOrString::Int(number) => u16::try_from(*number).ok(),
            IntOrString::String(name) => self
                .ports
                .iter()
                .find(|port| port.name == *name)
                .map(|port| port.number),
        }
    }

    /// Returns every port on which the application listens: the declared ones and the probed ones.
    pub(crate) fn listening_ports(&self) -> Vec<u16> {
        let declared = self
            .ports
            .iter()
            .filter(|port| port.protocol.is_empty() || port.protocol == "TCP")
            .map(|port| port.number);
        let probed = [
            &self.liveness_probe,
            &self.readiness_probe,
            &self.startup_probe,
        ]
        .into_iter()
        .flatten()
        .filter_map(|probe| {
            let by_http = probe.http_get.as_ref().map(|get| &get.port);
            let by_tcp = probe.tcp_socket.as_ref().map(|socket| &socket.port);
            self.port(by_http.or(by_tcp)?)
        });
        let mut ports: Vec<u16> = declared.chain(probed).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// Drops what the API server adds to an object and no node reads.
pub(crate) fn slim(manifest: &mut Manifest) {
    manifest.metadata.managed_fields = None;
    manifest.metadata.annotations = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#"{
      "metadata": {"name": "checkout-1", "namespace": "shop"},
      "spec": {"nodeName": "node-1", "containers": [{
        "name": "app", "image": "shop/checkout:v1",
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5},
        "readinessProbe": {"tcpSocket": {"port": 9090}}
      }]}
    }"#;

    #[test]
    fn a_named_port_and_a_probed_port_are_served_and_udp_is_not() {
        let pod: Manifest = serde_json::from_str(POD).unwrap();
        assert_eq!(pod.spec.containers[0].listening_ports(), [8080, 9090]);
    }

    #[test]
    fn probes_have_the_defaults_of_kubernetes() {
        let pod: Manifest = serde_json::from_str(POD).unwrap();
        let probe = pod.spec.containers[0].liveness_probe.clone().unwrap();
        assert_eq!(
            (
                probe.period_seconds,
                probe.timeout_seconds,
                probe.failure_threshold
            ),
            (5, 1, 3)
        );
    }

    #[test]
    fn what_is_optional_is_not_waited_for() {
        let container: Container = serde_json::from_str(
            r#"{"env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "limits", "key": "a"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "b", "optional": true}}},
                {"name": "C", "value": "c"}
              ], "envFrom": [{"secretRef": {"name": "all"}}]}"#,
        )
        .unwrap();
        let expected = [
            Referent::ConfigMap("limits", Some("a")),
            Referent::Secret("all", None),
        ];
        assert_eq!(container.referents(), expected);
    }

    #[test]
    fn a_missing_object_and_a_missing_key_are_told_apart() {
        let referent = Referent::ConfigMap("limits", Some("a"));
        let obstacle = |keys: Option<&[&str]>| {
            let keys =
                keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
            referent.obstacle("shop", keys.as_deref())
        };
        assert_eq!(obstacle(Some(&["a"])), None);
        let missing = obstacle(None).unwrap();
        assert_eq!(missing, "configmap \"limits\" not found");
        let missing = obstacle(Some(&["b"])).unwrap();
        assert_eq!(missing, "couldn't find key a in ConfigMap shop/limits");
    }
}
