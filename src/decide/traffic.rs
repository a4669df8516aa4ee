//! Where the traffic of a workload leads, as facts; and whether it leads to the restored revision.
//!
//! Says what the cluster's objects say. What a proxy or a client still has in its own memory is not
//! known here; how long a name may live is told.

use std::collections::BTreeMap;

/// Where the traffic of one workload leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Pods of the restored revision that are ready.
    pub ready: usize,
    /// The Services that lead to pods of the workload, or should.
    pub services: Vec<Serving>,
    /// The Services that miss the restored pods by some of their labels.
    pub elsewhere: Vec<Elsewhere>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

/// A Service that leads to pods of the workload, or should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    pub service: String,
    /// Its name resolves to the pods themselves.
    pub headless: bool,
    /// Whether its selector selects the restored pods. Endpoints may be written by others as well.
    pub selects: bool,
    /// Ready endpoints that are pods of the restored revision.
    pub restored: usize,
    /// Ready endpoints that are pods of other revisions, by name.
    pub left: Vec<String>,
}

/// A Service whose selector misses the restored pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    pub service: String,
    /// The labels that it asks for and that the restored pods do not carry.
    pub lacks: BTreeMap<String, String>,
    /// It selects the revision that was gone back from, so that it surely served this workload.
    pub selected_bad: bool,
    /// What leads to it, such as `ingress/shop`.
    pub routes: Vec<String>,
}

/// Objects that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The right that it takes: `list` or `get`.
    pub verb: &'static str,
    /// As RBAC names them, such as `endpointslices.discovery.k8s.io`.
    pub resource: String,
    pub cause: UnseenCause,
}

/// Why objects could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnseenCause {
    /// The API server does not serve them.
    NotServed,
    /// Astern has no right to list or get them.
    Forbidden,
    /// No answer; another look may get one.
    NoAnswer,
}

/// How long answers of a cluster's DNS live: `ttl 30` in the Corefile that Kubernetes installs
/// (`cluster/addons/dns/coredns`). Without that line `CoreDNS` itself takes 5 seconds (its plugin
/// `kubernetes`), and whoever runs the cluster may have chosen another.
const DNS_SECONDS: u32 = 30;

/// Names of pods in one sentence; the rest is counted.
const NAMED: usize = 3;

/// Checks that traffic leads to the restored revision, and to no other.
///
/// A workload without a Service is settled: nothing can lead elsewhere. What Astern may not look at
/// does not keep an incident open, since no time would change it; [`told`] names it.
///
/// # Errors
///
/// With what still leads elsewhere, for people. The caller looks again until its deadline.
pub fn settled(traffic: &Traffic) -> Result<(), String> {
    if let Some(unseen) = traffic.unseen.iter().find(|unseen| unseen.is_passing()) {
        return Err(unseen.to_line());
    }
    for serving in &traffic.services {
        let service = &serving.service;
        if !serving.left.is_empty() {
            let pods = named(&serving.left);
            return Err(format!(
                "service {service:?} still leads to pods of another revision: {pods}"
            ));
        }
        if serving.selects && serving.restored == 0 && traffic.ready > 0 && traffic.sees_endpoints()
        {
            return Err(format!(
                "service {service:?} selects the restored pods and leads to none of them yet"
            ));
        }
    }
    match traffic.elsewhere.iter().find(|one| one.selected_bad) {
        Some(elsewhere) => Err(elsewhere.to_line()),
        None => Ok(()),
    }
}

/// Returns what people should know of `traffic` besides whether it is settled, a line each.
#[must_use]
pub fn told(traffic: &Traffic) -> Vec<String> {
    let elsewhere = traffic.elsewhere.iter().map(Elsewhere::to_line);
    let headless = traffic.services.iter().filter(|serving| serving.headless);
    let headless = headless.map(|serving| {
        format!(
            "service {:?} is headless: clients that resolved it may use old addresses for as long as \
             DNS answers live, {DNS_SECONDS} s in the cluster's usual configuration",
            serving.service
        )
    });
    let unseen = traffic.unseen.iter().map(Unseen::to_line);
    elsewhere.chain(headless).chain(unseen).collect()
}

impl Traffic {
    fn sees_endpoints(&self) -> bool {
        let slices = |unseen: &Unseen| unseen.resource.starts_with("endpointslices.");
        !self.unseen.iter().any(slices)
    }
}

impl Elsewhere {
    fn to_line(&self) -> String {
        let lacks: Vec<String> = self
            .lacks
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let routes = if self.routes.is_empty() {
            String::new()
        } else {
            format!(" ({} to it)", leads(&self.routes))
        };
        format!(
            "service {:?} asks for {}, which the restored pods do not carry{routes}",
            self.service,
            lacks.join(",")
        )
    }
}

fn leads(routes: &[String]) -> String {
    let verb = if routes.len() == 1 { "leads" } else { "lead" };
    format!("{} {verb}", named(routes))
}

impl Unseen {
    /// Whether another look may see it.
    const fn is_passing(&self) -> bool {
        matches!(self.cause, UnseenCause::NoAnswer)
    }

    fn to_line(&self) -> String {
        let Self {
            verb,
            resource,
            cause,
        } = self;
        match cause {
            UnseenCause::NotServed => format!("{resource} are not served by this cluster"),
            UnseenCause::Forbidden => {
                format!(
                    "Astern has no right to {verb} {resource}, so it cannot say where they lead"
                )
            }
            UnseenCause::NoAnswer => format!("no answer to {verb} {resource}"),
        }
    }
}

fn named(names: &[String]) -> String {
    let shown = names.len().min(NAMED);
    let list = names[..shown].join(", ");
    match names.len() - shown {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ready pods behind one Service.
    fn fine() -> Traffic {
        Traffic {
            ready: 2,
            services: vec![Serving {
                service: "checkout".to_owned(),
                selects: true,
                restored: 2,
                ..Serving::default()
            }],
            ..Traffic::default()
        }
    }

    fn green(selected_bad: bool) -> Elsewhere {
        Elsewhere {
            service: "checkout-green".to_owned(),
            lacks: BTreeMap::from([("color".to_owned(), "green".to_owned())]),
            selected_bad,
            routes: vec!["ingress/shop".to_owned()],
        }
    }

    fn unseen(resource: &str, cause: UnseenCause) -> Vec<Unseen> {
        vec![Unseen {
            verb: "list",
            resource: resource.to_owned(),
            cause,
        }]
    }

    #[track_caller]
    fn check(traffic: &Traffic, expected: Result<(), &str>) {
        assert_eq!(settled(traffic), expected.map_err(str::to_owned));
    }

    #[test]
    fn traffic_that_leads_to_restored_pods_alone_is_settled() {
        check(&fine(), Ok(()));
    }

    #[test]
    fn pods_without_a_service_are_settled() {
        let alone = Traffic {
            services: Vec::new(),
            ..fine()
        };
        check(&alone, Ok(()));
    }

    #[test]
    fn one_endpoint_of_another_revision_is_not_settled() {
        let mut traffic = fine();
        traffic.services[0].left = vec!["checkout-7d9f-x2".to_owned()];
        check(
            &traffic,
            Err("service \"checkout\" still leads to pods of another revision: checkout-7d9f-x2"),
        );
        traffic.services[0].left = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        check(
            &traffic,
            Err("service \"checkout\" still leads to pods of another revision: a, b, c and 2 more"),
        );
    }

    #[test]
    fn a_service_that_leads_to_no_ready_pod_is_not_settled() {
        let mut traffic = fine();
        traffic.services[0].restored = 0;
        check(
            &traffic,
            Err("service \"checkout\" selects the restored pods and leads to none of them yet"),
        );
        // Whether pods are ready is the rollout's matter, and a workload may be scaled to nothing.
        traffic.ready = 0;
        check(&traffic, Ok(()));
    }

    #[test]
    fn endpoints_that_others_write_need_not_lead_to_restored_pods() {
        let mut traffic = fine();
        traffic.services[0].restored = 0;
        traffic.services[0].selects = false;
        check(&traffic, Ok(()));
    }

    #[test]
    fn a_service_that_selected_the_bad_revision_alone_is_not_settled() {
        let line = "service \"checkout-green\" asks for color=green, which the restored pods do not \
                    carry (ingress/shop leads to it)";
        let certain = Traffic {
            elsewhere: vec![green(true)],
            ..fine()
        };
        check(&certain, Err(line));
        // It may be meant for pods that are not there now, such as a canary's.
        let perhaps = Traffic {
            elsewhere: vec![green(false)],
            ..fine()
        };
        check(&perhaps, Ok(()));
        assert_eq!(told(&perhaps), [line]);
    }

    #[test]
    fn what_may_not_be_looked_at_keeps_nothing_open_and_is_told() {
        let mut blind = Traffic {
            unseen: unseen("endpointslices.discovery.k8s.io", UnseenCause::Forbidden),
            ..fine()
        };
        blind.services[0].restored = 0;
        check(&blind, Ok(()));
        assert_eq!(
            told(&blind),
            [
                "Astern has no right to list endpointslices.discovery.k8s.io, so it cannot say where they lead"
            ]
        );
    }

    #[test]
    fn no_answer_is_not_settled() {
        let unanswered = Traffic {
            unseen: unseen("services", UnseenCause::NoAnswer),
            ..Traffic::default()
        };
        check(&unanswered, Err("no answer to list services"));
    }

    #[test]
    fn headless_services_are_told_with_the_life_of_their_names() {
        let mut traffic = fine();
        traffic.services[0].headless = true;
        check(&traffic, Ok(()));
        assert_eq!(
            told(&traffic),
            [
                "service \"checkout\" is headless: clients that resolved it may use old addresses for as \
              long as DNS answers live, 30 s in the cluster's usual configuration"
            ]
        );
    }
}
