//! Why an image cannot be had, by the words of the kubelet, the runtime and the registry.
//!
//! Runtimes have no codes for it, so the words are all there is: containerd's, CRI-O's and those of the
//! registries that they pass on.

use super::words::said;
use super::{Seen, finding};
use crate::decide::diagnosis::Weight;

/// Characters of what the registry said, beside the name of the image.
const SAID_MAX: usize = 140;

/// Why, and what to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NotFound,
    Refused,
    RateLimited,
    Architecture,
    Untrusted,
    Unreachable,
    NoSpace,
    InvalidName,
    NeverPull,
    Unknown,
}

/// What each cause is told by, in the order asked: a registry answers "denied" for what it limits, and
/// "not found" stands at the end of many other errors.
const TOLD_BY: [(Cause, &[&str]); 7] = [
    (
        Cause::RateLimited,
        &["toomanyrequests", "too many requests", "rate limit"],
    ),
    (
        Cause::Architecture,
        &[
            "no matching manifest",
            "no match for platform",
            "no image found in image index for architecture",
            "does not match the specified platform",
            "exec format error",
        ],
    ),
    (Cause::NoSpace, &["no space left on device"]),
    (
        Cause::Untrusted,
        &["x509", "signaturevalidationfailed", "signature"],
    ),
    (
        Cause::Refused,
        &[
            "unauthorized",
            "forbidden",
            "authentication required",
            "denied",
            "insufficient_scope",
            "no basic auth credentials",
        ],
    ),
    (
        Cause::Unreachable,
        &[
            "no such host",
            "dial tcp",
            "timeout",
            "connection refused",
            "deadline exceeded",
            "http response to https client",
            "service unavailable",
            "bad gateway",
            "unexpected eof",
        ],
    ),
    (
        Cause::NotFound,
        &[
            "not found",
            "manifest unknown",
            "name unknown",
            "does not exist",
        ],
    ),
];

impl Cause {
    fn of(reason: &str, message: &str, image: &str) -> Self {
        match reason {
            "InvalidImageName" => return Self::InvalidName,
            "ErrImageNeverPull" => return Self::NeverPull,
            "SignatureValidationFailed" => return Self::Untrusted,
            _ => (),
        }
        // A name may hold any of the words.
        let mut words = message.to_lowercase();
        if !image.is_empty() {
            words = words.replace(&image.to_lowercase(), "");
        }
        let told = |words: &str, by: &[&str]| by.iter().any(|word| words.contains(word));
        let cause = TOLD_BY.iter().find(|(_, by)| told(&words, by));
        cause.map_or(Self::Unknown, |(cause, _)| *cause)
    }

    const fn what(self) -> &'static str {
        match self {
            Self::NotFound => "is not in its registry",
            Self::Refused => "may not be pulled",
            Self::RateLimited => "is pulled too often for the registry's limit",
            Self::Architecture => "is not built for the node's architecture",
            Self::Untrusted => "or its registry is not trusted",
            Self::Unreachable => "cannot be pulled, its registry gives no answer",
            Self::NoSpace => "does not fit on the node's disk",
            Self::InvalidName => "has a name that is none",
            Self::NeverPull => "is not on the node, and imagePullPolicy is Never",
            Self::Unknown => "cannot be pulled",
        }
    }

    const fn attempt(self) -> &'static str {
        match self {
            Self::NotFound => "push the image, or correct its name, tag or digest in the template",
            Self::Refused => {
                "check imagePullSecrets of the pod and its ServiceAccount, and that the repository exists: \
                 registries answer the same for both"
            }
            Self::RateLimited => {
                "pull with credentials, or through a mirror or pull-through cache; it may pass by itself"
            }
            Self::Architecture => {
                "build the image for the nodes' architecture, or choose nodes with a nodeSelector on \
                 kubernetes.io/arch"
            }
            Self::Untrusted => {
                "check the registry's certificate on the nodes, and signature policies for the image"
            }
            Self::Unreachable => "check the registry, and the nodes' DNS, proxy and network to it",
            Self::NoSpace => {
                "free or enlarge the node's disk; kubectl describe node shows DiskPressure"
            }
            Self::InvalidName => {
                "correct the image's name in the template: registry/repository:tag"
            }
            Self::NeverPull => "load the image on every node, or set imagePullPolicy: IfNotPresent",
            Self::Unknown => {
                "kubectl describe pod shows the whole message; pull it by hand to see more"
            }
        }
    }
}

/// Returns what is wrong with `image`. `names` are left out of the message.
pub(super) fn image(about: &str, image: &str, told: (&str, &str), names: &[&str]) -> Seen {
    let (reason, message) = told;
    let cause = Cause::of(reason, message, image);
    let said = said(message, names, SAID_MAX);
    let saw = if said.is_empty() {
        format!("image {image} {} ({reason})", cause.what())
    } else {
        format!("image {image} {}: {said}", cause.what())
    };
    finding(
        Weight::Blocks,
        &format!("image/{image}"),
        about,
        (saw, cause.attempt().to_owned()),
    )
}

/// Whether a message says more than that pulling is tried again later.
pub(super) fn says_why(message: &str) -> bool {
    let later = message.starts_with("Back-off pulling image");
    !message.is_empty() && (!later || message.contains("ErrImagePull"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &str, message: &str, expected: Cause) {
        let image = "registry.example/shop/denied-timeout:1.404";
        assert_eq!(Cause::of(reason, message, image), expected, "{message}");
    }

    #[test]
    fn every_cause_is_told_by_the_words_of_runtimes_and_registries() {
        let pull = "ErrImagePull";
        check(
            pull,
            "rpc error: code = NotFound desc = failed to pull and unpack image \
             \"registry.example/shop/denied-timeout:1.404\": failed to resolve reference: not found",
            Cause::NotFound,
        );
        check(
            pull,
            "reading manifest 9 in repo: manifest unknown",
            Cause::NotFound,
        );
        check(
            pull,
            "pull access denied, repository does not exist or may require authorization: server \
             message: insufficient_scope: authorization failed",
            Cause::Refused,
        );
        check(
            pull,
            "unexpected status from HEAD request: 401 Unauthorized",
            Cause::Refused,
        );
        check(
            pull,
            "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate \
             limit. You may increase the limit by authenticating",
            Cause::RateLimited,
        );
        check(
            pull,
            "no match for platform in manifest: not found",
            Cause::Architecture,
        );
        check(
            pull,
            "no matching manifest for linux/arm64/v8 in the manifest list entries",
            Cause::Architecture,
        );
        check(
            pull,
            "failed to do request: dial tcp: lookup registry.example: no such host",
            Cause::Unreachable,
        );
        check(
            pull,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Cause::Untrusted,
        );
        check(
            pull,
            "write /var/lib/x: no space left on device",
            Cause::NoSpace,
        );
    }

    #[test]
    fn some_causes_are_told_by_the_reason_alone() {
        let pull = "ErrImagePull";
        check(
            "InvalidImageName",
            "couldn't parse image name",
            Cause::InvalidName,
        );
        check(
            "ErrImageNeverPull",
            "Container image is not present",
            Cause::NeverPull,
        );
        check("SignatureValidationFailed", "", Cause::Untrusted);
        check(pull, "something else", Cause::Unknown);
        check(
            "ImagePullBackOff",
            "Back-off pulling image \"registry.example/shop/denied-timeout:1.404\"",
            Cause::Unknown,
        );
    }

    #[test]
    fn a_back_off_says_why_only_where_the_kubelet_repeats_the_error() {
        assert!(!says_why("Back-off pulling image \"a:1\""));
        assert!(says_why(
            "Back-off pulling image \"a:1\": ErrImagePull: not found"
        ));
        assert!(says_why("not found"));
        assert!(!says_why(""));
    }
}
