//! The part of a pod that a simulated node reads.
//!
//! Own structs instead of the typed Pod: thousands of them are held, and most of a pod is of no use
//! here.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::util::intstr::IntOrString};
use kube::api::ObjectMeta;
use serde::Deserialize;

use crate::node::config::Name;

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
    pub(crate) volumes: Vec<Volume>,
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
    pub(crate) image_pull_policy: String,
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
    pub(crate) prefix: String,
    pub(crate) config_map_ref: Option<Selector>,
    pub(crate) secret_ref: Option<Selector>,
}

/// Names a `ConfigMap` or a Secret, or one key of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Selector {
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) optional: bool,
}

/// A volume, if it is filled from `ConfigMaps` or Secrets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) config_map: Option<Files>,
    pub(crate) secret: Option<Files>,
    pub(crate) projected: Option<Projected>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Projected {
    pub(crate) sources: Vec<Projection>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Projection {
    pub(crate) config_map: Option<Files>,
    pub(crate) secret: Option<Files>,
}

/// Names an object whose keys become files: all of them, unless some are listed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Files {
    #[serde(alias = "secretName")]
    pub(crate) name: String,
    pub(crate) items: Vec<Item>,
    pub(crate) optional: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Item {
    pub(crate) key: String,
}

impl ValueFrom {
    /// Returns the object that a value comes from, if it comes from one.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Name, &Selector)> {
        names(self.config_map_key.as_ref(), self.secret_key.as_ref())
    }
}

impl EnvFrom {
    /// Returns the object whose keys become variables.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Name, &Selector)> {
        names(self.config_map_ref.as_ref(), self.secret_ref.as_ref())
    }
}

fn names<'a>(
    map: Option<&'a Selector>,
    secret: Option<&'a Selector>,
) -> impl Iterator<Item = (Name, &'a Selector)> {
    let map = map.map(|selector| (Name::ConfigMap(selector.name.clone()), selector));
    let secret = secret.map(|selector| (Name::Secret(selector.name.clone()), selector));
    map.into_iter().chain(secret)
}

impl Volume {
    /// Returns every object that fills the volume.
    pub(crate) fn names(&self) -> Vec<(Name, &Files)> {
        let mut names = Vec::new();
        let projected = self.projected.iter().flat_map(|volume| &volume.sources);
        let projected = projected.map(|source| (&source.config_map, &source.secret));
        for (map, secret) in [(&self.config_map, &self.secret)]
            .into_iter()
            .chain(projected)
        {
            let map = map.iter();
            names.extend(map.map(|files| (Name::ConfigMap(files.name.clone()), files)));
            let secret = secret.iter();
            names.extend(secret.map(|files| (Name::Secret(files.name.clone()), files)));
        }
        names
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

/// What the API server calls the volume with the token that it adds to every pod.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// Drops what the API server adds to an object and no node reads, and volumes that are always
/// there. The one with the token counts as such: to look for it would be a request for every pod.
pub(crate) fn slim(manifest: &mut Manifest) {
    manifest.metadata.managed_fields = None;
    manifest.metadata.annotations = None;
    let volumes = &mut manifest.spec.volumes;
    volumes.retain(|volume| !volume.name.starts_with(TOKEN_VOLUME) && !volume.names().is_empty());
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
    fn of_volumes_only_those_with_config_are_kept() {
        let mut pod: Manifest = serde_json::from_str(
            r#"{"metadata": {}, "spec": {"volumes": [
                {"name": "scratch", "emptyDir": {}},
                {"name": "kube-api-access-x7", "projected": {"sources": [
                    {"configMap": {"name": "kube-root-ca.crt"}}]}},
                {"name": "all", "projected": {"sources": [
                    {"secret": {"name": "tokens"}}, {"configMap": {"name": "limits"}},
                    {"downwardAPI": {}}]}},
                {"name": "one", "secret": {"secretName": "login", "optional": true}}
              ]}}"#,
        )
        .unwrap();
        slim(&mut pod);
        let names: Vec<_> = pod
            .spec
            .volumes
            .iter()
            .flat_map(Volume::names)
            .map(|(name, files)| (name, files.optional))
            .collect();
        let secret = |name: &str| Name::Secret(name.to_owned());
        let map = Name::ConfigMap("limits".to_owned());
        let expected = [
            (secret("tokens"), false),
            (map, false),
            (secret("login"), true),
        ];
        assert_eq!(names, expected);
    }
}
