//! The chart and the manifest that is rendered from it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use astern_testbed::{
    bed::{Bed, Output},
    tools::{Tool, Tools},
};
use serde_json::{Value, json};

use crate::support::{eventually, install, installed, own, repository, run};

const CHART: &str = "charts/astern";
const MANIFEST: &str = "deploy/install.yaml";
/// The chart cannot hold it: a release lives in a namespace that is there before.
const PREFACE: &str = "\
# Astern with the chart's default values. Generated: `make generate` writes it.
apiVersion: v1
kind: Namespace
metadata:
  name: astern-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
";
const OPERATOR: &str = "--as=system:serviceaccount:astern-system:astern";

/// Both in one test, since the manifest is made of the copies.
#[test]
fn generated_copies_and_manifest_are_up_to_date() {
    run(async {
        let generated = yaml_files(&repository("crds"))?;
        ensure!(!generated.is_empty(), "crds/ is empty");
        let copies = repository(CHART).join("files/crds");
        if updating() {
            fs::remove_dir_all(&copies).ok();
            fs::create_dir_all(&copies)?;
            for (name, text) in &generated {
                fs::write(copies.join(name), text)?;
            }
        }
        ensure!(
            yaml_files(&copies)? == generated,
            "{} is not a copy of crds/; run `make generate`",
            copies.display()
        );
        let manifest = format!("{PREFACE}{}", rendered(&["--no-hooks"]).await?);
        let path = repository(MANIFEST);
        if updating() {
            fs::write(&path, &manifest)?;
        }
        let stored = fs::read_to_string(&path).unwrap_or_default();
        ensure!(
            stored == manifest,
            "{MANIFEST} is not what the chart renders; run `make generate`"
        );
        Ok(())
    });
}

#[test]
fn the_chart_pleases_helm_lint() {
    run(async {
        let chart = repository(CHART);
        let output = helm(&["lint", "--strict", &chart.to_string_lossy()]).await?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(())
    });
}

#[test]
fn a_value_that_does_not_exist_is_refused_by_its_name() {
    run(async {
        for (value, named) in [
            ("replicaCount=2", "replicaCount"),
            ("image.digests=x", "digests"),
            ("approvals.enabled=true", "enabled"),
            ("replicas=two", "replicas"),
            ("logLevel=loud", "logLevel"),
        ] {
            let refusal = rendered(&["--set", value]).await.err();
            let refusal = refusal.map(|error| error.to_string()).unwrap_or_default();
            ensure!(refusal.contains(named), "{value}: {refusal:?}");
        }
        Ok(())
    });
}

#[test]
fn with_listed_namespaces_no_right_on_workloads_reaches_beyond_them() {
    run(async {
        let text = rendered(&["--set", "namespaces={shop,billing}"]).await?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        let mut namespaces = Vec::new();
        for object in &objects {
            let touches_workloads = object["rules"].to_string().contains("deployments");
            match object["kind"].as_str() {
                Some("ClusterRole") => ensure!(!touches_workloads, "{object}"),
                Some("Role") if touches_workloads => {
                    namespaces.push(object["metadata"]["namespace"].clone());
                }
                _ => {}
            }
        }
        // Once for the operator, once for the job that ends its pauses.
        ensure!(
            namespaces == ["shop", "billing", "shop", "billing"],
            "{namespaces:?}"
        );
        ensure!(text.contains("--watch-namespaces=shop,billing"), "{text}");
        Ok(())
    });
}

#[test]
fn rights_on_secrets_and_namespaces_can_be_narrowed_to_names() {
    run(async {
        let names = "namespaces={shop},metricSources.secrets={thanos,login}";
        for (values, namespaces, secrets) in [
            ("replicas=1", Value::Null, Value::Null),
            // The kill switch of the cluster is on Astern's own.
            (
                names,
                json!(["shop", "astern-system"]),
                json!(["thanos", "login"]),
            ),
        ] {
            let text = rendered(&["--set", values]).await?;
            let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
            let rules: Vec<&Value> = objects
                .iter()
                .filter_map(|object| object["rules"].as_array())
                .flatten()
                .collect();
            for (resource, expected) in [("namespaces", namespaces), ("secrets", secrets)] {
                let found: Vec<&&Value> = rules
                    .iter()
                    .filter(|rule| rule["resources"] == json!([resource]))
                    .collect();
                ensure!(found.len() == 1, "{resource}: {found:?}");
                ensure!(found[0]["verbs"] == json!(["get"]), "{:?}", found[0]);
                ensure!(found[0]["resourceNames"] == expected, "{:?}", found[0]);
            }
        }
        Ok(())
    });
}

#[test]
fn volumes_for_metric_sources_are_mounted() {
    run(async {
        let values = [
            "--set-json",
            r#"extraVolumes=[{"name": "prometheus", "secret": {"secretName": "prometheus"}}]"#,
            "--set-json",
            r#"extraVolumeMounts=[{"name": "prometheus", "mountPath": "/etc/astern/prometheus"}]"#,
        ];
        let text = rendered(&values).await?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        let deployment = objects
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .context("the chart has a Deployment")?;
        let pod = &deployment["spec"]["template"]["spec"];
        let mount = &pod["containers"][0]["volumeMounts"][0];
        ensure!(mount["mountPath"] == "/etc/astern/prometheus", "{pod}");
        ensure!(pod["volumes"][0]["name"] == "prometheus", "{pod}");
        Ok(())
    });
}

#[test]
fn the_program_understands_what_the_chart_passes_to_it() {
    run(async {
        let unusual = "namespaces={shop,billing},acceptUnverifiedApprovals=true,logFormat=text,\
            drills.schedule=0 9 * * MON-FRI,drills.timeZone=Europe/Berlin";
        for values in ["replicas=1", unusual] {
            let text = rendered(&["--set", values]).await?;
            let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
            for kind in ["Deployment", "Job"] {
                let object = objects.iter().find(|object| object["kind"] == kind);
                let object = object.context("the chart has one of each")?;
                let container = &object["spec"]["template"]["spec"]["containers"][0];
                let arguments: Vec<String> = serde_json::from_value(container["args"].clone())?;
                // Arguments are read in order, so the help comes only if it likes all before.
                let output = Command::new(env!("CARGO_BIN_EXE_astern"))
                    .args(&arguments)
                    .arg("--help")
                    .output()?;
                ensure!(
                    output.status.success(),
                    "{arguments:?}: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        Ok(())
    });
}

#[test]
fn the_api_server_takes_the_manifest_without_a_warning() {
    run(async {
        let bed = installed().await?;
        // The first time was when the bed was made. Who upgrades applies it again.
        let again = install(bed).await?;
        ensure!(!again.stderr.contains("Warning"), "{}", again.stderr);
        policies_are_understood(bed).await?;
        // The namespace lets only restricted pods in, so one that exists was let in.
        eventually("a pod of Astern exists", async || {
            let pods = get(bed, &["pods", "-n", "astern-system"]).await?;
            Ok(pods["items"]
                .as_array()
                .is_some_and(|pods| !pods.is_empty()))
        })
        .await
    });
}

#[test]
fn the_operator_may_do_its_work_and_nothing_else() {
    run(async {
        let bed = installed().await?;
        for allowed in [
            "patch deployments.apps -n shop",
            "create rollbacks.astern.dev -n shop",
            "patch rollbacks.astern.dev --subresource=status -n shop",
            "create controllerrevisions.apps -n shop",
            "create events.events.k8s.io -n shop",
            "create leases.coordination.k8s.io -n astern-system",
            "update leases.coordination.k8s.io/astern -n astern-system",
            "get validatingadmissionpolicybindings/astern-approvals",
            "get secrets/prometheus-credentials -n astern-system",
            "patch leases.coordination.k8s.io/astern -n astern-system",
            "get namespaces/shop",
            "get configmaps -n shop",
            "create configmaps -n shop",
            "list endpointslices.discovery.k8s.io -n shop",
            "list clusterrolebindings.rbac.authorization.k8s.io",
            "watch nodes",
        ] {
            let answer = can(bed, allowed).await?;
            ensure!(answer == "yes", "{allowed}: {answer}");
        }
        for refused in [
            "update deployments.apps -n shop",
            "create deployments.apps -n shop",
            "delete deployments.apps -n shop",
            "patch deployments.apps --subresource=scale -n shop",
            "patch replicasets.apps -n shop",
            "delete pods -n shop",
            "patch nodes",
            "patch nodes --subresource=status",
            "create pods --subresource=exec -n shop",
            "get secrets -n shop",
            "list secrets -n astern-system",
            "watch secrets -n astern-system",
            "patch secrets -n astern-system",
            "list namespaces",
            "patch namespaces/shop",
            "update configmaps -n shop",
            "patch applications.argoproj.io -n argocd",
            "patch kustomizations.kustomize.toolkit.fluxcd.io -n shop",
            "patch rollbackpolicies.astern.dev -n shop",
            "approve rollbacks.astern.dev -n shop",
            "delete rollbacks.astern.dev -n shop",
            "update leases.coordination.k8s.io/kube-scheduler -n astern-system",
            "create leases.coordination.k8s.io -n kube-system",
            "patch validatingadmissionpolicybindings/astern-approvals",
            "create serviceaccounts --subresource=token -n shop",
        ] {
            let answer = can(bed, refused).await?;
            ensure!(answer == "no", "{refused}: {answer}");
        }
        Ok(())
    });
}

/// On a bed of its own, because the names of the policies are the same in every cluster.
#[test]
fn helm_installs_upgrades_and_uninstalls_leaving_records_and_deploys_alone() {
    run(async {
        let bed = own("helm").await?;
        let chart = repository(CHART).to_string_lossy().into_owned();
        let place = ["--namespace", "astern-system"];
        let install = ["install", "astern", chart.as_str(), "--create-namespace"];
        succeed(&bed, &[&install[..], &place].concat()).await?;
        policies_are_understood(&bed).await?;
        let values = "replicas=2,uninstall.timeLimitSeconds=5";
        let upgrade = ["upgrade", "astern", chart.as_str(), "--set", values];
        succeed(&bed, &[&upgrade[..], &place].concat()).await?;
        let deployment = get(&bed, &["deployment", "astern", "-n", "astern-system"]).await?;
        ensure!(deployment["spec"]["replicas"] == 2, "{deployment}");

        // No node runs the last job here. It gives up, and everything else is gone all the same.
        let uninstall = [&["uninstall", "astern"][..], &place].concat();
        let output = bed.helm(bed.kubeconfig(), &uninstall).await?;
        ensure!(
            output
                .stderr
                .contains("uninstallation completed with 1 error"),
            "{}",
            output.stderr
        );
        let kinds = get(&bed, &["crds"]).await?;
        let names = kinds["items"].to_string();
        ensure!(names.contains("rollbacks.astern.dev"), "{names}");
        let left = [
            "validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,\
             clusterrolebindings,deployments,serviceaccounts,jobs",
            "--all-namespaces",
            "--selector",
            "app.kubernetes.io/name=astern",
        ];
        let left = get(&bed, &left).await?;
        ensure!(left["items"] == json!([]), "{left}");
        bed.stop().await
    });
}

/// The API server compiles what it can and notes in the status what it cannot make sense of.
async fn policies_are_understood(bed: &Bed) -> anyhow::Result<()> {
    for name in [
        "astern-approvals",
        "astern-rollbacks",
        "astern-quarantine-deny",
        "astern-quarantine-warn",
    ] {
        eventually("the policy was looked at", async || {
            let policy = get(bed, &["validatingadmissionpolicy", name]).await?;
            let checked = &policy["status"]["typeChecking"];
            let warnings = &checked["expressionWarnings"];
            ensure!(warnings.is_null(), "{name}: {warnings}");
            Ok(!checked.is_null())
        })
        .await?;
    }
    Ok(())
}

async fn get(bed: &Bed, what: &[&str]) -> anyhow::Result<Value> {
    let arguments = [&["get", "-o", "json"], what].concat();
    let output = bed.kubectl(bed.kubeconfig(), &arguments, None).await?;
    ensure!(output.status.success(), "{what:?}: {}", output.stderr);
    Ok(serde_json::from_str(&output.stdout)?)
}

async fn succeed(bed: &Bed, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = bed.helm(bed.kubeconfig(), arguments).await?;
    ensure!(output.status.success(), "{arguments:?}: {}", output.stderr);
    Ok(output)
}

async fn can(bed: &Bed, question: &str) -> anyhow::Result<String> {
    let words: Vec<&str> = ["auth", "can-i", OPERATOR]
        .into_iter()
        .chain(question.split(' '))
        .collect();
    let output = bed.kubectl(bed.kubeconfig(), &words, None).await?;
    Ok(output.stdout.trim().to_owned())
}

/// Renders the chart into the namespace that the documentation names.
async fn rendered(more: &[&str]) -> anyhow::Result<String> {
    let chart = repository(CHART).to_string_lossy().into_owned();
    let arguments = ["template", "astern", &chart, "--namespace", "astern-system"];
    let output = helm(&[&arguments[..], more].concat()).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs Helm without a cluster, and without what the user has configured for it.
async fn helm(arguments: &[&str]) -> anyhow::Result<std::process::Output> {
    let tools = Tools::ready().await?;
    Command::new(tools.path(Tool::Helm))
        .args(arguments)
        .env("HOME", repository("target/helm"))
        .env_remove("KUBECONFIG")
        .output()
        .context("cannot start helm")
}

fn yaml_files(directory: &Path) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)
        .with_context(|| format!("cannot read {}; run `make generate`", directory.display()))?
    {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let name = path.file_name().context("a file has a name")?;
            files.insert(PathBuf::from(name), fs::read_to_string(&path)?);
        }
    }
    Ok(files)
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}
