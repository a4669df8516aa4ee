use serde_json::json;

use super::*;

/// A Deployment that somebody applied by hand. Each test adds markers.
fn deployment() -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "checkout", "labels": {}, "annotations": {},
            "managedFields": [written("kubectl-client-side-apply")]},
        "spec": {},
    })
}

fn written(manager: &str) -> Value {
    json!({"manager": manager, "operation": "Apply",
        "fieldsV1": {"f:spec": {"f:template": {}}}})
}

fn carrying(labels: Value, annotations: Value, managers: &[&str]) -> Value {
    let mut object = deployment();
    object["metadata"]["labels"] = labels;
    object["metadata"]["annotations"] = annotations;
    let entries: Vec<Value> = managers.iter().copied().map(written).collect();
    object["metadata"]["managedFields"] = entries.into();
    object
}

fn flux_labels(group: &str) -> Value {
    let (name, namespace) = (format!("{group}/name"), format!("{group}/namespace"));
    json!({name: "apps", namespace: "flux-system"})
}

fn tracked(id: &str) -> Value {
    json!({"argocd.argoproj.io/tracking-id": id})
}

/// `Tool namespace/name`, and whether it is kept away.
#[track_caller]
fn check(object: &Value, expected: Option<(Tool, &str, &str, bool)>) {
    let found = owner(object, "argocd");
    let found = found.as_ref().map(|found| {
        let (namespace, name) = (found.namespace.as_str(), found.name.as_str());
        (found.tool, namespace, name, found.paused)
    });
    assert_eq!(found, expected, "{object}");
}

const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const HELM: &str = "helm.toolkit.fluxcd.io";
const OWN_ID: &str = "shop:apps/Deployment:shop/checkout";

#[test]
fn what_somebody_applied_by_hand_has_no_reconciler() {
    check(&deployment(), None);
}

#[test]
fn flux_is_found_by_its_labels_and_its_writes() {
    let kustomization = (Tool::FluxKustomization, "flux-system", "apps", false);
    let release = (Tool::FluxHelmRelease, "flux-system", "apps", false);
    for (group, manager, expected) in [
        (KUSTOMIZE, "kustomize-controller", kustomization),
        (HELM, "helm-controller", release),
    ] {
        let labels = flux_labels(group);
        check(
            &carrying(labels.clone(), json!({}), &["kubectl", manager]),
            Some(expected),
        );
        // Copied from another object, as with `kubectl get -o yaml`.
        check(&carrying(labels.clone(), json!({}), &["kubectl"]), None);
        // Nothing tells who wrote it.
        check(&carrying(labels, json!({}), &[]), Some(expected));
    }
    let half = json!({"kustomize.toolkit.fluxcd.io/name": "apps"});
    check(&carrying(half, json!({}), &[]), None);
}

#[test]
fn flux_is_kept_away_by_an_annotation_or_a_label() {
    let paused = Some((Tool::FluxKustomization, "flux-system", "apps", true));
    let key = "kustomize.toolkit.fluxcd.io/reconcile";
    let managers = ["kustomize-controller"];
    let labels = flux_labels(KUSTOMIZE);
    let annotated = |value: &str| carrying(labels.clone(), json!({key: value}), &managers);
    check(&annotated("disabled"), paused);
    check(&annotated("Disabled"), paused);
    let running = Some((Tool::FluxKustomization, "flux-system", "apps", false));
    check(&annotated("enabled"), running);
    let mut labelled = labels.clone();
    labelled[key] = json!("disabled");
    check(&carrying(labelled, json!({}), &managers), paused);
    // Another tool's annotation keeps nobody away.
    let other = json!({"helm.toolkit.fluxcd.io/driftDetection": "disabled"});
    check(&carrying(labels, other.clone(), &managers), running);
    let release = carrying(flux_labels(HELM), other, &["helm-controller"]);
    check(
        &release,
        Some((Tool::FluxHelmRelease, "flux-system", "apps", true)),
    );
}

#[test]
fn what_flux_leaves_alone_counts_only_if_git_says_so() {
    let annotations = json!({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"});
    let mut object = carrying(
        flux_labels(KUSTOMIZE),
        annotations,
        &["kustomize-controller"],
    );
    let found = |object: &Value| owner(object, "argocd").is_some_and(|found| found.paused);
    assert!(!found(&object), "set in the cluster, where Flux looks not");
    object["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"] =
        json!({"f:annotations": {"f:kustomize.toolkit.fluxcd.io/ssa": {}}});
    assert!(found(&object));
    object["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/ssa"] = json!("Merge");
    assert!(!found(&object));
}

#[test]
fn a_tracking_id_counts_only_on_its_own_object() {
    let argo = |namespace, name| Some((Tool::ArgoCd, namespace, name, false));
    for (id, expected) in [
        (OWN_ID, argo("argocd", "shop")),
        (
            "team-a_shop:apps/Deployment:shop/checkout",
            argo("team-a", "shop"),
        ),
        ("shop:apps/Deployment:shop/other", None),
        ("shop:apps/Deployment:other/checkout", None),
        ("shop:apps/StatefulSet:shop/checkout", None),
        ("shop:/Deployment:shop/checkout", None),
        (":apps/Deployment:shop/checkout", None),
        ("shop", None),
        ("shop:apps:shop", None),
    ] {
        check(&carrying(json!({}), tracked(id), &[]), expected);
    }
}

#[test]
fn the_recommended_label_needs_a_witness() {
    let argo = Some((Tool::ArgoCd, "argocd", "shop", false));
    let labels = json!({"app.kubernetes.io/instance": "shop"});
    let carrying = |annotations, managers: &[&str]| carrying(labels.clone(), annotations, managers);
    check(&carrying(json!({}), &["kubectl"]), None);
    check(&carrying(json!({}), &[]), None);
    check(&carrying(json!({}), &["argocd-controller"]), argo);
    check(
        &carrying(json!({}), &["argocd-application-controller"]),
        argo,
    );
    let installed = json!({"argocd.argoproj.io/installation-id": "blue"});
    check(&carrying(installed, &[]), argo);
    // The id of another object says that this one is a copy.
    let copied = tracked("shop:apps/Deployment:shop/other");
    check(&carrying(copied, &["argocd-controller"]), None);
}

#[test]
fn argo_cds_own_label_comes_before_the_recommended_one() {
    let labels = json!({
        "app.kubernetes.io/instance": "recommended",
        "argocd.argoproj.io/instance": "own",
    });
    let object = carrying(labels, json!({}), &["argocd-controller"]);
    check(&object, Some((Tool::ArgoCd, "argocd", "own", false)));
}

#[test]
fn helm_is_found_behind_all_others() {
    let mut annotations = json!({
        "meta.helm.sh/release-name": "checkout-release",
        "meta.helm.sh/release-namespace": "shop",
    });
    let helm = carrying(json!({}), annotations.clone(), &["helm"]);
    check(&helm, Some((Tool::Helm, "shop", "checkout-release", false)));
    let release = carrying(flux_labels(HELM), annotations.clone(), &["helm-controller"]);
    check(
        &release,
        Some((Tool::FluxHelmRelease, "flux-system", "apps", false)),
    );
    annotations["argocd.argoproj.io/tracking-id"] = json!(OWN_ID);
    let both = carrying(json!({}), annotations, &[]);
    check(&both, Some((Tool::ArgoCd, "argocd", "shop", false)));
}

#[test]
fn an_operator_comes_before_the_labels_that_it_hands_down() {
    let mut object = carrying(flux_labels(KUSTOMIZE), json!({}), &[]);
    object["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "for-cleaning-up"},
        {"apiVersion": "example.com/v1", "kind": "Shop", "name": "main", "controller": true},
    ]);
    check(&object, Some((Tool::Operator, "", "main", false)));
    object["metadata"]["ownerReferences"][1]["controller"] = json!(false);
    check(
        &object,
        Some((Tool::FluxKustomization, "flux-system", "apps", false)),
    );
}
