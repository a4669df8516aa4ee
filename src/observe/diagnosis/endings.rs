//! What the end of a container means: exit codes and last words.

use serde_json::Value;

use crate::api::record::text;

/// What ended, and what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Tells endings of one kind from others.
    pub(super) kind: String,
    pub(super) what: String,
    pub(super) attempt: String,
}

/// A signal's number is added to this, by shells and runtimes alike.
const SIGNAL: i64 = 128;

/// Returns what `ended`, a `terminated` state, means. `limit` is the container's limit of memory.
pub(super) fn ending(ended: &Value, limit: Option<&str>) -> Ending {
    let number = |path: &str| ended.pointer(path).and_then(Value::as_i64);
    let signal = number("/signal").filter(|signal| *signal != 0);
    let code = number("/exitCode")
        .or_else(|| signal.map(|signal| SIGNAL + signal))
        .unwrap_or_default();
    let reason = text(ended, "/reason").unwrap_or_default();
    if reason == "OOMKilled" {
        let limit = limit.map(|limit| format!(" (limit {limit})"));
        return Ending {
            kind: reason.to_owned(),
            what: format!(
                "ran out of memory{} and was killed",
                limit.unwrap_or_default()
            ),
            attempt:
                "compare its memory use with the revision before; raise resources.limits.memory if \
                      the new one needs more"
                    .to_owned(),
        };
    }
    let (what, attempt) = meaning(code);
    Ending {
        kind: format!("exit {code}"),
        what: format!("ended with exit code {code}: {what}"),
        attempt: attempt.to_owned(),
    }
}

const SEE_LOGS: &str = "kubectl logs --previous shows what it wrote before it ended";

/// Codes above 128 are signals; 126 and 127 are the shells', 125 and 128 the runtimes'.
fn meaning(code: i64) -> (&'static str, &'static str) {
    match code {
        0 => (
            "it finished, though it should go on",
            "check command and args: the process must stay in the foreground",
        ),
        2 => (
            "wrong use of a command, or a Go program that panicked",
            SEE_LOGS,
        ),
        125 | 128 => (
            "the runtime could not run it",
            "kubectl describe pod shows the runtime's message",
        ),
        126 => (
            "its command may not be executed",
            "make the file executable in the image, and check securityContext and the interpreter in its \
             first line",
        ),
        127 => (
            "its command does not exist in the image",
            "check command and args, and that the image still holds the program and its shell",
        ),
        132 => (
            "an illegal instruction (SIGILL)",
            "build for the processors that the nodes have",
        ),
        134 => ("it aborted itself (SIGABRT)", SEE_LOGS),
        135 => (
            "a bad access to memory (SIGBUS)",
            "check its shared memory and memory-mapped files: /dev/shm has 64 MiB by default",
        ),
        137 => (
            "killed (SIGKILL)",
            "a failing liveness probe or a node out of memory kills so; kubectl describe pod tells which",
        ),
        139 => (
            "a bad access to memory (SIGSEGV)",
            "a native library or the base image may not fit; compare them with the revision before",
        ),
        143 => (
            "asked to end (SIGTERM)",
            "a failing liveness probe ends so; otherwise somebody deleted or drained it",
        ),
        _ => ("an error of the application", SEE_LOGS),
    }
}

/// What last words tell better than an exit code, and what to try then.
const TOLD_BY: [(&str, &str); 7] = [
    (
        "exec format error",
        "build the image for the nodes' architecture, or choose nodes with a nodeSelector on \
         kubernetes.io/arch",
    ),
    (
        "is forbidden: user",
        "grant that right to the pod's ServiceAccount with a Role and a RoleBinding",
    ),
    (
        "address already in use",
        "two processes of the pod want one port; check the containers' ports",
    ),
    (
        "read-only file system",
        "give it a volume to write to: securityContext sets readOnlyRootFilesystem",
    ),
    (
        "permission denied",
        "check securityContext (runAsUser, fsGroup) and the rights of files in the image",
    ),
    (
        "no such host",
        "check the name that it calls, and that network policies let it ask the cluster's DNS",
    ),
    (
        "connection refused",
        "check that what it calls is up, and that address and port are right",
    ),
];

/// Returns what to try, where last words tell.
pub(super) fn told_by(words: &str) -> Option<&'static str> {
    let words = words.to_lowercase();
    let told = TOLD_BY.iter().find(|(told, _)| words.contains(told));
    told.map(|(_, attempt)| *attempt)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(ended: &Value, kind: &str, what: &str) {
        let found = ending(ended, Some("128Mi"));
        assert_eq!(found.kind, kind, "{ended}");
        assert!(found.what.contains(what), "{}", found.what);
        assert!(!found.attempt.is_empty());
    }

    #[test]
    fn exit_codes_say_what_they_mean() {
        for (code, what) in [
            (0, "finished"),
            (1, "of the application"),
            (2, "panicked"),
            (3, "of the application"),
            (126, "may not be executed"),
            (127, "does not exist"),
            (128, "runtime"),
            (132, "SIGILL"),
            (134, "SIGABRT"),
            (135, "SIGBUS"),
            (137, "SIGKILL"),
            (139, "SIGSEGV"),
            (143, "SIGTERM"),
            (255, "of the application"),
        ] {
            let ended = json!({"exitCode": code, "reason": "Error"});
            check(&ended, &format!("exit {code}"), what);
        }
    }

    #[test]
    fn memory_is_told_apart_from_other_kills() {
        check(
            &json!({"exitCode": 137, "reason": "OOMKilled"}),
            "OOMKilled",
            "out of memory (limit 128Mi)",
        );
        check(
            &json!({"exitCode": 137, "reason": "Error"}),
            "exit 137",
            "SIGKILL",
        );
    }

    #[test]
    fn a_signal_without_a_code_is_one() {
        check(&json!({"signal": 9}), "exit 137", "SIGKILL");
        check(
            &json!({"signal": 0, "exitCode": 1}),
            "exit 1",
            "application",
        );
    }

    #[test]
    fn last_words_tell_better_than_codes() {
        for (words, expected) in [
            ("exec /app: Exec format error", Some("architecture")),
            (
                "pods is forbidden: User \"system:serviceaccount:shop:checkout\" cannot list",
                Some("ServiceAccount"),
            ),
            (
                "listen tcp :8080: bind: address already in use",
                Some("port"),
            ),
            ("open /tmp/x: read-only file system", Some("volume")),
            ("mkdir /data: permission denied", Some("fsGroup")),
            ("lookup db: no such host", Some("DNS")),
            (
                "dial tcp 10.0.0.1:5432: connect: connection refused",
                Some("is up"),
            ),
            ("panic: nil pointer", None),
        ] {
            let told = told_by(words);
            assert_eq!(told.is_some(), expected.is_some(), "{words}");
            assert!(
                told.unwrap_or_default()
                    .contains(expected.unwrap_or_default()),
                "{words}"
            );
        }
    }
}
