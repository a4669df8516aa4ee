//! Which series to ask for: the operator's own, and of those only what is about one Deployment.
//!
//! The operator asks once for all workloads of a namespace, and joins afterwards. Over a month that
//! would be far too much, so the same selectors get one matcher more here. What the series mean is said
//! in [`crate::observe::prometheus`].

use crate::decide::{LabelNames, Shape, Trigger, TriggerKind};
use crate::observe::evidence::wanted;
use crate::observe::prometheus::buffer::{Owner, Subject};
use crate::observe::prometheus::presets::{Identity, SpecId};
use crate::observe::prometheus::selector::{any_of, label_matcher, literal};
use crate::observe::prometheus::series::{Metric, Series};

/// Letters of the names that Kubernetes makes up for ReplicaSets and pods. It leaves out vowels, so
/// `checkout-web-x2b4c` is no pod of a ReplicaSet `checkout-web` of the Deployment `checkout`.
pub const LETTERS: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// Returns a pattern for the names of all ReplicaSets of a Deployment, ready to stand in quotes.
#[must_use]
pub fn replica_sets(deployment: &str) -> String {
    format!("{}-{LETTERS}{{1,10}}", literal(deployment))
}

/// Returns a pattern for the names of all its pods.
#[must_use]
pub fn pods(deployment: &str) -> String {
    format!("{}-{LETTERS}{{5}}", replica_sets(deployment))
}

/// Returns a pattern for the names of all pods of a ReplicaSet.
#[must_use]
pub fn pods_of(replica_set: &str) -> String {
    format!("{}-{LETTERS}{{5}}", literal(replica_set))
}

/// Returns whether a pod's name may be that of one of the Deployment's pods.
#[must_use]
pub fn is_pod_of(deployment: &str, pod: &str) -> bool {
    let made_up = |part: &str, most: usize| {
        let known = |letter: char| LETTERS[1..LETTERS.len() - 1].contains(letter);
        (1..=most).contains(&part.len()) && part.chars().all(known)
    };
    let rest = pod.strip_prefix(deployment);
    let parts = rest.and_then(|rest| rest.strip_prefix('-')?.split_once('-'));
    parts.is_some_and(|(set, own)| made_up(set, 10) && made_up(own, 5) && own.len() == 5)
}

/// Returns the series of `metric` that a policy's own words narrow.
#[must_use]
pub fn series(metric: Metric, shape: Option<&Shape>) -> Series {
    Series {
        source: String::new(),
        tenant: None,
        metric,
        matchers: shape.map_or_else(String::new, |shape| shape.matchers.clone()),
        labels: shape.map_or_else(LabelNames::default, |shape| shape.labels.clone()),
    }
}

/// Returns the series by pod in which a trigger may find requests, in the order in which they are
/// tried.
#[must_use]
pub fn by_pod(trigger: &Trigger) -> Vec<Series> {
    let latency = matches!(trigger.kind, TriggerKind::Latency(_));
    let metric: fn(SpecId) -> Metric = if latency {
        Metric::Latency
    } else {
        Metric::Requests
    };
    let shape = wanted::shape(trigger);
    let candidates = shape.map_or_else(Vec::new, |shape| wanted::candidates(shape, latency));
    let by_pod = candidates
        .into_iter()
        .filter(|id| id.spec().identity.tells_revisions_apart());
    by_pod.map(|id| series(metric(id), shape)).collect()
}

/// Returns the matchers that leave of `series` what is about a Deployment: more than one where one
/// selector cannot say it, none where there is nothing to ask for. `in_front` is what leads to its pods,
/// for shapes that are counted there.
#[must_use]
pub fn narrowings(series: &Series, deployment: &str, in_front: &[Owner]) -> Vec<String> {
    let by_name = || format!("{}=~\"{}\"", series.pod_label("pod"), pods(deployment));
    let Some(spec) = series.spec() else {
        return match series.metric {
            Metric::Probes(_) => vec![by_name()],
            Metric::Alert(_) | Metric::Custom { .. } | Metric::Requests(_) | Metric::Latency(_) => {
                vec![String::new()]
            }
        };
    };
    let label = match spec.identity {
        Identity::Pod { .. } => return vec![by_name()],
        Identity::Istio { .. } => {
            let whole = label_matcher("destination_workload", deployment);
            return vec![by_name(), format!("reporter=\"waypoint\",{whole}")];
        }
        Identity::Service { service, .. } | Identity::Traefik { service } => service,
        Identity::ContourCluster | Identity::EnvoyGatewayCluster => "envoy_cluster_name",
    };
    let patterns: Vec<String> = in_front.iter().flat_map(patterns).collect();
    if patterns.is_empty() {
        return Vec::new();
    }
    vec![format!("{label}=~\"{}\"", any_of(patterns))]
}

/// How the label that names it may read.
fn patterns((namespace, subject): &Owner) -> Vec<String> {
    let namespace = literal(namespace);
    match subject {
        // Contour puts the namespace before it and the port behind; the others nothing.
        Subject::Service(name) => {
            let name = literal(name);
            vec![format!("{namespace}_{name}_.+"), name]
        }
        Subject::TraefikService(name) => vec![format!("{}@kubernetes.*", literal(name))],
        Subject::Route(rule) => {
            let of_kind = |kind| format!("{kind}/{namespace}/{}", literal(rule));
            vec![of_kind("httproute"), of_kind("grpcroute")]
        }
        Subject::Pod(_) | Subject::Workload(_) | Subject::All => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Preset;

    fn narrowed(preset: Preset, in_front: &[Subject]) -> Vec<String> {
        let id = SpecId::of(preset).next().expect("a shape");
        let series = series(Metric::Requests(id), None);
        let in_front: Vec<Owner> = in_front
            .iter()
            .map(|subject| ("shop".to_owned(), subject.clone()))
            .collect();
        narrowings(&series, "check.out", &in_front)
    }

    #[test]
    fn only_names_that_kubernetes_makes_up_are_those_of_pods() {
        for pod in ["checkout-7d9f8c6b54-x2b4c", "checkout-b4-zzzzz"] {
            assert!(is_pod_of("checkout", pod), "{pod}");
        }
        for pod in [
            "checkout-web-x2b4c",
            "checkout-7d9f8c6b54-x2b4",
            "checkout-x2b4c",
            "checkout-db-7d9f8c6b54-x2b4c",
            "payments-7d9f8c6b54-x2b4c",
            "checkout-7d9f8c6b54x-x2b4c",
        ] {
            assert!(!is_pod_of("checkout", pod), "{pod}");
        }
    }

    #[test]
    fn pods_are_asked_for_by_the_names_that_the_deployment_gives_them() {
        let by_name = format!(r#"pod=~"check\\.out-{LETTERS}{{1,10}}-{LETTERS}{{5}}""#);
        let waypoint = r#"reporter="waypoint",destination_workload="check.out""#;
        assert_eq!(narrowed(Preset::HttpRequests, &[]), [by_name.as_str()]);
        assert_eq!(narrowed(Preset::Istio, &[]), [by_name.as_str(), waypoint]);
    }

    #[test]
    fn what_counts_in_front_is_asked_for_by_what_leads_to_the_pods() {
        let service = [Subject::Service("web".to_owned())];
        assert_eq!(
            narrowed(Preset::IngressNginx, &service),
            [r#"exported_service=~"shop_web_.+|web""#]
        );
        assert_eq!(
            narrowed(Preset::Contour, &service),
            [r#"envoy_cluster_name=~"shop_web_.+|web""#]
        );
        assert_eq!(
            narrowed(
                Preset::Traefik,
                &[Subject::TraefikService("shop-web-80".to_owned())]
            ),
            [r#"exported_service=~"shop-web-80@kubernetes.*""#]
        );
        assert_eq!(
            narrowed(
                Preset::EnvoyGateway,
                &[Subject::Route("web/rule/0".to_owned())]
            ),
            [r#"envoy_cluster_name=~"httproute/shop/web/rule/0|grpcroute/shop/web/rule/0""#]
        );
        assert_eq!(narrowed(Preset::Traefik, &[]), Vec::<String>::new());
    }
}
