//! What an image does once a simulated node runs it.
//!
//! It says nothing about when an image is deployed; that is the scenario's part.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

mod images;
mod latency;
mod units;

pub(crate) use images::is_reference;
pub use images::{Images, image_id};
pub use latency::Latency;
pub(crate) use units::{duration, optional_duration};
pub use units::{parse_duration, parse_percentage};

/// The behaviour of one image. The default is an application without faults.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Behaviour {
    pub pull: Pull,
    /// What comes of creating the container once the image is there.
    pub create: Create,
    /// From the start of the container until it listens.
    #[serde(deserialize_with = "duration")]
    pub startup: Duration,
    /// How long requests take.
    pub latency: Latency,
    /// The share of requests answered by 500, evenly spread.
    #[serde(deserialize_with = "units::percentage")]
    pub error_rate: f64,
    /// From the start of the container until the first such answer.
    #[serde(deserialize_with = "duration")]
    pub errors_after: Duration,
    pub liveness: Probed,
    pub readiness: Probed,
    pub crash: Option<Crash>,
    /// What the application does instead in an environment of a certain kind. The first that fits
    /// holds, for all that it names.
    pub when: Vec<When>,
    /// From the start of the pod until its node, short of memory, evicts it.
    #[serde(deserialize_with = "optional_duration")]
    pub evicted_after: Option<Duration>,
    /// How long the application serves on after SIGTERM, until nobody sends it requests any more.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
    pub metrics: Metrics,
    /// Runs a local program instead of the simulated application.
    pub program: Option<Program>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            pull: Pull::Succeeds,
            create: Create::Succeeds,
            startup: Duration::ZERO,
            latency: Latency::default(),
            error_rate: 0.0,
            errors_after: Duration::ZERO,
            liveness: Probed::default(),
            readiness: Probed::default(),
            crash: None,
            when: Vec::new(),
            evicted_after: None,
            drain: Duration::from_secs(2),
            metrics: Metrics::HTTPRequests,
            program: None,
        }
    }
}

impl Behaviour {
    /// Returns the behaviour of an image that no registry has.
    #[must_use]
    pub fn missing() -> Self {
        Self {
            pull: Pull::Fails,
            ..Self::default()
        }
    }

    /// Returns the share of requests answered by 500 in an environment.
    pub(crate) fn error_rate_in(&self, environment: &BTreeMap<String, String>) -> f64 {
        let special = self.when_in(environment);
        special
            .and_then(|when| when.error_rate)
            .unwrap_or(self.error_rate)
    }

    /// Returns how the application ends by itself in an environment.
    pub(crate) fn crash_in(&self, environment: &BTreeMap<String, String>) -> Option<&Crash> {
        let special = self.when_in(environment);
        special
            .and_then(|when| when.crash.as_ref())
            .or(self.crash.as_ref())
    }

    fn when_in(&self, environment: &BTreeMap<String, String>) -> Option<&When> {
        let fits = |when: &&When| environment.get(&when.variable) == Some(&when.equals);
        self.when.iter().find(fits)
    }
}

/// What an application does where a variable of its environment has a value. What is left out is as
/// without it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    pub variable: String,
    pub equals: String,
    #[serde(default, deserialize_with = "units::optional_percentage")]
    pub error_rate: Option<f64>,
    #[serde(default)]
    pub crash: Option<Crash>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Pull {
    Succeeds,
    /// `ErrImagePull`, and then `ImagePullBackOff` for most of the time.
    Fails,
    /// `InvalidImageName`, as for every name that is no reference to an image.
    InvalidName,
}

/// What comes of creating a container. One that refers to a `ConfigMap` or a Secret that is not
/// there cannot be created either, whatever its image.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Create {
    Succeeds,
    /// `CreateContainerConfigError`: what the container refers to is not there.
    ConfigFails,
    /// `CreateContainerError`: the runtime refuses.
    Fails,
}

/// How a kind of probe is answered. The default is always well.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Probed {
    /// From the start of the container until it fails.
    #[serde(deserialize_with = "optional_duration")]
    pub fail_after: Option<Duration>,
    /// From the start of the container until it answers well again.
    #[serde(deserialize_with = "optional_duration")]
    pub recover_after: Option<Duration>,
}

impl Probed {
    /// Says whether a container of this age answers well.
    #[must_use]
    pub fn passes(&self, age: Duration) -> bool {
        let failed = self.fail_after.is_some_and(|limit| age >= limit);
        let recovered = self.recover_after.is_some_and(|limit| age >= limit);
        !failed || recovered
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Crash {
    #[serde(deserialize_with = "duration")]
    pub after: Duration,
    #[serde(default = "one")]
    pub exit_code: i32,
    /// The kernel kills it for want of memory: `OOMKilled`, with exit code 137.
    #[serde(default)]
    pub out_of_memory: bool,
}

fn one() -> i32 {
    1
}

/// The names under which an application counts its requests.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Metrics {
    /// `http_requests_total{code,method}`, as the client libraries name it.
    HTTPRequests,
    /// `istio_requests_total`, as a sidecar reports it.
    Istio,
    None,
}

/// A local program that stands for an image.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Program {
    pub path: PathBuf,
    /// Come before the arguments of the pod.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Wins over the environment of the pod, since it adapts the program to one machine.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_words_has_no_faults() {
        let behaviour: Behaviour = serde_saphyr::from_str("{}").unwrap();
        assert_eq!(behaviour, Behaviour::default());
    }

    #[test]
    fn probes_fail_between_the_two_limits() {
        let probed = Probed {
            fail_after: Some(Duration::from_secs(3)),
            recover_after: Some(Duration::from_secs(7)),
        };
        let passes = |seconds| probed.passes(Duration::from_secs(seconds));
        assert_eq!(
            [passes(2), passes(3), passes(6), passes(7)],
            [true, false, false, true]
        );
    }

    const BY_FEATURE: &str = "{errorRate: 1%, when: [
        {variable: FEATURE, equals: 'on', errorRate: 30%},
        {variable: LIMIT, equals: '0', crash: {after: 1s, exitCode: 3}}]}";

    #[test]
    fn the_first_variable_that_fits_says_what_an_image_does() {
        let behaviour: Behaviour = serde_saphyr::from_str(BY_FEATURE).unwrap();
        let in_environment = |variables: &[(&str, &str)]| {
            let variables = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let crash = behaviour.crash_in(&variables);
            let rate = behaviour.error_rate_in(&variables) * 100.0;
            (rate.round(), crash.map(|crash| crash.exit_code))
        };
        assert_eq!(in_environment(&[]), (1.0, None));
        assert_eq!(in_environment(&[("FEATURE", "off")]), (1.0, None));
        assert_eq!(in_environment(&[("FEATURE", "on")]), (30.0, None));
        assert_eq!(in_environment(&[("LIMIT", "0")]), (1.0, Some(3)));
        let both = [("LIMIT", "0"), ("FEATURE", "on")];
        assert_eq!(in_environment(&both), (30.0, None));
    }

    #[test]
    fn unknown_words_are_refused_by_name() {
        let error = serde_saphyr::from_str::<Behaviour>("errorRat: 3%").unwrap_err();
        assert!(error.to_string().contains("errorRat"), "{error}");
    }
}
