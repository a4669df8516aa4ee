//! What the API server says to specs that make no sense, and that it takes the ones that do.
//!
//! With kubectl, as users meet it: what counts is that its message names the field.

mod triggers;

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use astern_testbed::bed::{Bed, Output};
use serde_json::{Value, json};

use crate::support::{installed, namespace, repository, run};

/// A spec, and what the message must hold: the field, and a hint at what would be right.
struct Case {
    spec: String,
    message: &'static [&'static str],
}

fn case(spec: impl Into<String>, message: &'static [&'static str]) -> Case {
    Case {
        spec: spec.into(),
        message,
    }
}

/// Everything that people get wrong.
#[expect(clippy::too_many_lines, reason = "a table, one case a row")]
fn bad_policies() -> Vec<Case> {
    let mut many = String::new();
    for index in 0..200 {
        let _ = write!(many, "{{name: t{index}, restarts: {{}}}}, ");
    }
    let huge = "x".repeat(1_000_000);
    vec![
        case(
            "{mode: Sometimes}",
            &["spec.mode", "\"Observe\", \"RequireApproval\""],
        ),
        // YAML makes a boolean of it.
        case("{mode: Off}", &["spec.mode", "\"Disabled\""]),
        case(
            "{probation: \"-5m\"}",
            &["spec.probation", "such as \"15m\""],
        ),
        case("{probation: 1d}", &["spec.probation", "such as \"15m\""]),
        case("{probation: 169h}", &["spec.probation", "from 1s to 168h"]),
        case(
            "{triggers: [{name: a, restarts: {}}, {name: a, rolloutStalled: {}}]}",
            &["spec.triggers[1]", "Duplicate value"],
        ),
        case(
            "{triggers: [{name: a, restarts: {threshold: 0}}]}",
            &[
                "spec.triggers[0].restarts.threshold",
                "greater than or equal to 1",
            ],
        ),
        case(
            format!("{{triggers: [{many}]}}"),
            &["spec.triggers", "at most 32 items"],
        ),
        case(
            format!("{{probation: {huge}}}"),
            &["spec.probation", "Too long"],
        ),
        case(
            format!("{{triggers: [{{name: {huge}, restarts: {{}}}}]}}"),
            &["spec.triggers[0].name", "Too long"],
        ),
        case(
            "{targetRefs: [{name: checkout}], selector: {}}",
            &["spec", "targetRefs and selector exclude each other"],
        ),
        case(
            "{targetRefs: [{kind: StatefulSet, name: db}]}",
            &["spec.targetRefs[0].kind", "\"Deployment\""],
        ),
        case(
            "{targetRefs: [{name: ../secrets}]}",
            &["spec.targetRefs[0].name", "such as \"checkout\""],
        ),
        case(
            "{selector: {matchExpressions: [{key: team, operator: In}]}}",
            &["spec.selector.matchExpressions[0]", "values are needed"],
        ),
        case(
            "{metricSource: A B}",
            &["spec.metricSource", "such as \"default\""],
        ),
        case("{approval: {required: 0}}", &["spec.approval.required"]),
        case(
            "{approval: {onTimeout: Wait}}",
            &["spec.approval.onTimeout", "\"Escalate\""],
        ),
        case(
            "{rollback: {deadline: 1m, recovery: {for: 1m}}}",
            &[
                "spec.rollback",
                "recovery.for must be shorter than deadline",
            ],
        ),
        case(
            "{afterProbation: Never}",
            &["spec.afterProbation", "\"Observe\", \"RequireApproval\""],
        ),
        case("null", &["spec", "Required value"]),
        // What kubectl itself finds: a typing error must not become a policy that guards nothing.
        case(
            "{triggers: [{name: a, errorrate: {threshold: \"5%\"}}]}",
            &["spec.triggers[0].errorrate"],
        ),
    ]
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_by_field() {
    run(async {
        let bed = installed().await?;
        let namespace = namespace(bed, "input").await?;
        for case in bad_policies().into_iter().chain(triggers::bad()) {
            let manifest = manifest("RollbackPolicy", "bad", &case.spec);
            let output = create(bed, &namespace, &manifest).await?;
            refused(&output, &case)?;
        }
        let without =
            "apiVersion: astern.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {name: bad}\n";
        let output = create(bed, &namespace, without).await?;
        refused(&output, &case("", &["spec", "Required value"]))
    });
}

/// What admins get wrong.
fn bad_sources() -> Vec<Case> {
    vec![
        case("{}", &["spec.url", "Required value"]),
        case(
            "{url: \"prometheus:9090\"}",
            &["spec.url", "such as \"http://"],
        ),
        case(
            "{url: \"http://admin:secret@prometheus\"}",
            &["spec.url", "without user"],
        ),
        case(
            "{url: \"http://prometheus/?token=secret\"}",
            &["spec.url", "without user, query"],
        ),
        case(
            "{url: \"http://prometheus\", timeout: 2m}",
            &["spec.timeout", "from 1s to 1m"],
        ),
        case(
            "{url: \"http://prometheus\", tls: {}}",
            &["spec", "tls makes no sense with an address in http"],
        ),
        case(
            "{url: \"https://prometheus\", auth: {}}",
            &["spec.auth", "exactly one of bearer, basic and oauth2"],
        ),
        case(
            "{url: \"https://prometheus\", auth: {bearer: {file: /var/run/secrets/kubernetes.io/serviceaccount/token}}}",
            &["spec.auth.bearer.file", "a file below /etc/astern"],
        ),
        case(
            "{url: \"https://prometheus\", auth: {oauth2: {tokenUrl: \"login\", clientId: a, secretRef: {name: b}}}}",
            &["spec.auth.oauth2.tokenUrl", "such as \"https://login"],
        ),
        case(
            "{url: \"https://prometheus\", tls: {insecureSkipVerify: true, caFile: /etc/astern/ca.crt}}",
            &["spec.tls", "meaningless"],
        ),
        case(
            "{url: \"http://prometheus\", headers: [{name: Authorization, value: a}]}",
            &["spec.headers[0].name", "credentials belong into auth"],
        ),
        case(
            "{url: \"http://prometheus\", headers: [{name: X-Key}]}",
            &["spec.headers[0]", "exactly one of value and secretRef"],
        ),
        case(
            "{url: \"http://prometheus\", tenant: {}}",
            &["spec.tenant", "exactly one of value and namespaceLabel"],
        ),
        case(
            "{url: \"http://prometheus\", limits: {bytes: 1Gi}}",
            &["spec.limits.bytes", "from 64Ki to 128Mi"],
        ),
        case(
            "{url: \"http://prometheus\", parameters: {query: up}}",
            &["spec.parameters", "which Astern sets itself"],
        ),
        case(
            "{url: \"http://prometheus\", matchLabels: {__name__: up}}",
            &["spec.matchLabels", "must not name the metric"],
        ),
        case(
            "{url: \"http://prometheus\", allowedNamespaces: {}}",
            &["spec.allowedNamespaces", "must have names or a selector"],
        ),
    ]
}

#[test]
fn a_metric_source_that_makes_no_sense_is_refused_by_field() {
    run(async {
        let bed = installed().await?;
        let namespace = namespace(bed, "input").await?;
        for case in bad_sources() {
            let manifest = manifest("MetricSource", "bad", &case.spec);
            let output = create(bed, &namespace, &manifest).await?;
            refused(&output, &case)?;
        }
        Ok(())
    });
}

#[test]
fn defaults_are_filled_in_where_nothing_is_said() {
    run(async {
        let bed = installed().await?;
        let namespace = namespace(bed, "input").await?;
        // A key with nothing behind it is nothing said.
        let spec = "{mode: , approval: , targetRefs: [{name: checkout}], triggers: [\
            {name: a, errorRate: {threshold: \"5%\"}}, \
            {name: b, errorRate: {custom: {total: t, errors: e}, worseThanBefore: {}}}, \
            {name: c, latency: {threshold: 1s}}, \
            {name: d, unavailable: {}}, \
            {name: e, promql: {query: up, below: \"1\"}}, \
            {name: f, alert: {matchLabels: {alertname: Down}}}]}";
        let output = create(bed, &namespace, &manifest("RollbackPolicy", "filled", spec)).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        let get = ["get", "rbp", "filled", "-n", &namespace, "-o", "json"];
        let output = bed.kubectl(bed.kubeconfig(), &get, None).await?;
        let stored: Value = serde_json::from_str(&output.stdout)?;
        let expected = json!({
            "mode": "Observe",
            "probation": "15m",
            "metricSource": "default",
            "afterProbation": "Observe",
            "pauseRollout": false,
            "approval": {"required": 1, "timeout": "30m", "onTimeout": "Escalate"},
            "rollback": {
                "deadline": "10m", "recovery": {"for": "2m"}, "persistentVolumes": "RequireApproval",
                "budget": {"count": 3, "per": "24h"},
            },
            "config": {"mode": "Check"},
            "quarantine": {"enforcement": "Warn", "for": "168h"},
            "gitOps": {"onRollback": "Auto"},
            "targetRefs": [{"group": "apps", "kind": "Deployment", "name": "checkout"}],
            "triggers": [
                {"name": "a", "errorRate": {
                    "threshold": "5%", "window": "1m", "minimumRequests": 20,
                }},
                {"name": "b", "errorRate": {
                    "custom": {"total": "t", "errors": "e"},
                    "worseThanBefore": {"factor": "3", "atLeast": "1%"},
                    "window": "1m", "minimumRequests": 20,
                }},
                {"name": "c", "latency": {
                    "preset": "Auto", "percentile": "99", "threshold": "1s",
                    "window": "1m", "for": "2m", "minimumRequests": 20,
                }},
                {"name": "d", "unavailable": {"below": "50%", "for": "1m"}},
                {"name": "e", "promql": {"query": "up", "below": "1", "for": "2m"}},
                {"name": "f", "alert": {"matchLabels": {"alertname": "Down"}, "for": "0s"}},
            ],
        });
        ensure!(stored["spec"] == expected, "{:#}", stored["spec"]);
        // What the API server fills in is what the parser would have filled in.
        let filled = astern::api::parse::rollback_policy(&stored);
        let mut bare = stored.clone();
        bare["spec"] = serde_saphyr::from_str(spec)?;
        ensure!(
            filled == astern::api::parse::rollback_policy(&bare),
            "{filled:?}"
        );
        Ok(())
    });
}

/// A default in the schema would belong to nobody and stay beside what people apply later.
#[test]
fn a_first_trigger_that_is_applied_stands_alone() {
    run(async {
        let bed = installed().await?;
        let namespace = namespace(bed, "input").await?;
        for spec in ["{}", "{triggers: [{name: mine, rolloutStalled: {}}]}"] {
            let apply = ["apply", "--server-side", "-n", &namespace, "-f", "-"];
            let manifest = manifest("RollbackPolicy", "applied", spec);
            let output = bed
                .kubectl(bed.kubeconfig(), &apply, Some(&manifest))
                .await?;
            ensure!(output.status.success(), "{}", output.stderr);
        }
        let get = [
            "get",
            "rbp",
            "applied",
            "-n",
            &namespace,
            "-o",
            "jsonpath={.spec.triggers[*].name}",
        ];
        let output = bed.kubectl(bed.kubeconfig(), &get, None).await?;
        ensure!(output.stdout == "mine", "{:?}", output.stdout);
        Ok(())
    });
}

#[test]
fn the_examples_are_taken() {
    run(async {
        let bed = installed().await?;
        let namespace = namespace(bed, "examples").await?;
        let directory = repository("examples");
        let directory = directory.to_str().context("the path is no UTF-8")?;
        let create = [
            "create",
            "--dry-run=server",
            "--validate=strict",
            "-n",
            &namespace,
            "-f",
            directory,
        ];
        let output = bed.kubectl(bed.kubeconfig(), &create, None).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        ensure!(output.stdout.lines().count() >= 4, "{}", output.stdout);
        Ok(())
    });
}

#[test]
fn what_a_rollback_asks_for_cannot_be_changed() {
    run(async {
        let bed = installed().await?;
        let namespace = namespace(bed, "input").await?;
        let spec = "{deployment: {name: checkout}, reason: it answers with errors}";
        let output = create(bed, &namespace, &manifest("Rollback", "asked", spec)).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        for patch in [
            r#"{"spec": {"reason": "another one"}}"#,
            r#"{"spec": {"deployment": {"name": "payment"}}}"#,
            r#"{"spec": {"to": "0a1b2c3d"}}"#,
            r#"{"spec": {"dryRun": true}}"#,
        ] {
            let arguments = [
                "patch",
                "rbk",
                "asked",
                "-n",
                &namespace,
                "--type=merge",
                "-p",
                patch,
            ];
            let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
            refused(&output, &case(patch, &["spec", "cannot be changed"]))?;
        }
        let arguments = ["label", "rbk", "asked", "-n", &namespace, "team=shop"];
        let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
        ensure!(output.status.success(), "{}", output.stderr);
        Ok(())
    });
}

fn manifest(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: astern.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    )
}

/// Not `apply`, which copies the whole object into an annotation and would stumble over that first.
async fn create(bed: &Bed, namespace: &str, manifest: &str) -> anyhow::Result<Output> {
    let arguments = ["create", "--validate=strict", "-n", namespace, "-f", "-"];
    bed.kubectl(bed.kubeconfig(), &arguments, Some(manifest))
        .await
}

fn refused(output: &Output, case: &Case) -> anyhow::Result<()> {
    let spec: String = case.spec.chars().take(100).collect();
    let message: String = output.stderr.chars().take(2_000).collect();
    ensure!(!output.status.success(), "taken: {spec}");
    for part in case.message {
        ensure!(
            message.contains(part),
            "{spec}: {part:?} is not in {message}"
        );
    }
    ensure!(
        output.stderr.len() < 10_000,
        "{spec}: a message of {} bytes",
        output.stderr.len()
    );
    Ok(())
}
