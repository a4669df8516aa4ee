use serde_json::json;

use super::*;
use crate::port::simulated::{ApiFault, ApiRule, Settings, SimulatedCluster, Verb};

fn deployment() -> Value {
    json!({"metadata": {"namespace": "shop", "name": "checkout"}})
}

/// As Flux leaves it after a reconcile.
fn flux_kustomization() -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"namespace": "flux-system", "name": "apps"},
        "spec": {
            "interval": "10m0s",
            "path": "./apps",
            "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
        },
        "status": {
            "inventory": {"entries": [
                {"id": "shop_checkout_apps_Deployment", "v": "v1"},
                {"id": "shop_checkout__Service", "v": "v1"},
            ]},
            "lastAppliedRevision": "main@sha1:0aaa",
            "lastAttemptedRevision": "main@sha1:0bbb",
        },
    })
}

fn flux_helm_release() -> Value {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"namespace": "shop", "name": "checkout-release"},
        "spec": {"interval": "5m", "driftDetection": {"mode": "enabled"}},
        "status": {
            "lastAttemptedRevision": "6.5.4",
            "lastAttemptedConfigDigest": "sha256:77",
        },
    })
}

fn argo_application() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"namespace": "argocd", "name": "shop", "managedFields": [
            {"manager": "argocd-application-controller", "operation": "Update",
                "fieldsV1": {"f:status": {}}},
        ]},
        "spec": {
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "project": "default",
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
        },
        "status": {
            "resources": [
                {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop",
                    "name": "checkout", "status": "Synced"},
            ],
            "sync": {"status": "Synced", "revision": "c0ffee"},
        },
    })
}

fn changed(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, key) = path.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).expect("it is there")[key] = value;
    object
}

#[test]
fn a_kustomization_corrects_drift() {
    let expected = ReconcilerState {
        corrects_drift: true,
        follows_git: true,
        every: Some(SignedDuration::from_mins(10)),
        revision: Some("main@sha1:0bbb".to_owned()),
        suspended: false,
        held_by: Vec::new(),
        managed_by_set: false,
    };
    let found = kustomization(&flux_kustomization(), &deployment());
    assert_eq!(found, Some(expected));
}

#[test]
fn a_suspended_kustomization_does_nothing() {
    let suspended = changed(flux_kustomization(), "/spec/suspend", json!(true));
    let state = kustomization(&suspended, &deployment()).expect("its own");
    assert!(state.suspended && !state.corrects_drift && !state.follows_git);
}

/// A namesake: what deploys this cluster lives in another.
#[test]
fn a_kustomization_without_the_deployment_is_another_one() {
    let entries = json!([{"id": "shop_other_apps_Deployment", "v": "v1"}]);
    let other = changed(flux_kustomization(), "/status/inventory/entries", entries);
    assert_eq!(kustomization(&other, &deployment()), None);
    let young = changed(flux_kustomization(), "/status", json!({}));
    let state = kustomization(&young, &deployment()).expect("nothing says otherwise");
    assert_eq!(state.revision, None);
}

#[test]
fn only_a_rule_for_the_whole_template_of_this_deployment_stops_flux() {
    let template = json!(["/spec/template"]);
    for (rule, ignored) in [
        (json!({"paths": template}), true),
        (json!({"paths": ["/spec/replicas", "/spec"]}), true),
        (json!({"paths": ["/spec/replicas"]}), false),
        (
            json!({"paths": ["/spec/template/metadata/annotations"]}),
            false,
        ),
        (
            json!({"paths": template, "target": {"kind": "Deployment", "name": "checkout",
                "group": "apps", "version": "v1", "namespace": "shop"}}),
            true,
        ),
        (
            json!({"paths": template, "target": {"kind": "Deployment", "name": ".*"}}),
            true,
        ),
        (
            json!({"paths": template, "target": {"kind": "StatefulSet"}}),
            false,
        ),
        (
            json!({"paths": template, "target": {"name": "other"}}),
            false,
        ),
        // Whether these fit is not weighed.
        (
            json!({"paths": template, "target": {"name": "check.*"}}),
            false,
        ),
        (
            json!({"paths": template, "target": {"labelSelector": "app=checkout"}}),
            false,
        ),
    ] {
        let object = changed(flux_kustomization(), "/spec/ignore", json!([rule]));
        let state = kustomization(&object, &deployment()).expect("its own");
        assert_eq!(!state.corrects_drift, ignored, "{rule}");
        let path = "/spec/driftDetection/ignore";
        let object = changed(flux_helm_release(), path, json!([rule]));
        let state = helm_release(&object, &deployment());
        assert_eq!(!state.corrects_drift, ignored, "{rule}");
    }
}

#[test]
fn a_helm_release_corrects_drift_only_when_told_to() {
    let path = "/spec/driftDetection";
    for (detection, corrects) in [
        (json!({"mode": "enabled"}), true),
        (json!({"mode": "warn"}), false),
        (json!({"mode": "disabled"}), false),
        (json!({}), false),
        (Value::Null, false),
    ] {
        let object = changed(flux_helm_release(), path, detection.clone());
        let state = helm_release(&object, &deployment());
        assert_eq!(state.corrects_drift, corrects, "{detection}");
        assert!(state.follows_git);
        let object = changed(object, "/spec/suspend", json!(true));
        let state = helm_release(&object, &deployment());
        assert!(state.suspended && !state.corrects_drift);
    }
}

/// A new tag usually stands in the values, with the chart as it was.
#[test]
fn new_values_are_a_new_revision_of_a_helm_release() {
    let revision = |object: &Value| helm_release(object, &deployment()).revision;
    let before = revision(&flux_helm_release());
    assert_eq!(before.as_deref(), Some("6.5.4#sha256:77"));
    let digest = "/status/lastAttemptedConfigDigest";
    let after = revision(&changed(flux_helm_release(), digest, json!("sha256:88")));
    assert_ne!(after, before);
    let alone = revision(&changed(flux_helm_release(), digest, Value::Null));
    assert_eq!(alone.as_deref(), Some("6.5.4"));
}

#[test]
fn an_application_corrects_drift_where_it_heals_itself() {
    let expected = ReconcilerState {
        corrects_drift: true,
        follows_git: true,
        every: Some(SignedDuration::from_secs(5)),
        revision: Some("c0ffee".to_owned()),
        suspended: false,
        held_by: Vec::new(),
        managed_by_set: false,
    };
    let found = application(&argo_application(), &deployment());
    assert_eq!(found, Some(expected));
}

#[test]
fn every_spelling_of_a_sync_policy_is_understood() {
    for (policy, follows_git, corrects) in [
        (Value::Null, false, false),
        (json!({}), false, false),
        (json!({"automated": null}), false, false),
        (json!({"automated": {}}), true, false),
        (json!({"automated": {"selfHeal": false}}), true, false),
        (json!({"automated": {"selfHeal": true}}), true, true),
        (
            json!({"automated": {"enabled": null, "selfHeal": true}}),
            true,
            true,
        ),
        (
            json!({"automated": {"enabled": true, "selfHeal": true}}),
            true,
            true,
        ),
        (
            json!({"automated": {"enabled": false, "selfHeal": true}}),
            false,
            false,
        ),
    ] {
        let object = changed(argo_application(), "/spec/syncPolicy", policy.clone());
        let state = application(&object, &deployment()).expect("its own");
        let found = (state.follows_git, state.corrects_drift);
        assert_eq!(found, (follows_git, corrects), "{policy}");
        assert_eq!(state.every.is_some(), corrects, "{policy}");
    }
}

/// Each rollback in one Application needs a mark of its own, or the first to go undoes the others.
#[test]
fn what_we_switched_off_for_another_rollback_does_not_count_as_off() {
    let policy = json!({"automated": {"enabled": false, "selfHeal": true}});
    let off = changed(argo_application(), "/spec/syncPolicy", policy);
    let annotations = json!({"astern.dev/gitops-paused-by": "shop/cart-1@c0ffee"});
    let ours = changed(off, "/metadata/annotations", annotations);
    let state = application(&ours, &deployment()).expect("its own");
    assert!(state.follows_git && state.corrects_drift);
}

#[test]
fn an_application_that_is_skipped_does_nothing() {
    let annotations = json!({"argocd.argoproj.io/skip-reconcile": "true"});
    let skipped = changed(argo_application(), "/metadata/annotations", annotations);
    let state = application(&skipped, &deployment()).expect("its own");
    assert!(state.suspended && !state.corrects_drift && !state.follows_git);
}

#[test]
fn an_application_without_the_deployment_is_another_one() {
    for (field, value) in [
        ("name", "other"),
        ("namespace", "other"),
        ("kind", "StatefulSet"),
        ("group", "extensions"),
    ] {
        let path = format!("/status/resources/0/{field}");
        let mut other = argo_application();
        *other.pointer_mut(&path).expect("it is there") = json!(value);
        assert_eq!(application(&other, &deployment()), None, "{field}");
    }
    let young = changed(argo_application(), "/status", json!({}));
    assert!(application(&young, &deployment()).is_some());
}

#[test]
fn the_revisions_of_all_sources_count() {
    let sync = json!({"status": "Synced", "revisions": ["c0ffee", "1.2.3"]});
    let several = changed(argo_application(), "/status/sync", sync);
    let state = application(&several, &deployment()).expect("its own");
    assert_eq!(state.revision.as_deref(), Some("c0ffee,1.2.3"));
}

/// What Astern writes goes back to who deployed it, so trust in the manager `astern` ends there.
#[test]
fn only_a_rule_for_the_whole_template_of_this_deployment_stops_argo_cd() {
    for (rule, ignored) in [
        (
            json!({"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/template"]}),
            true,
        ),
        (
            json!({"group": "*", "kind": "*", "jsonPointers": ["/spec"]}),
            true,
        ),
        (
            json!({"group": "apps", "kind": "Deployment", "name": "checkout", "namespace": "shop",
                "jqPathExpressions": [".spec.template"]}),
            true,
        ),
        (
            json!({"group": "apps", "kind": "Deployment", "name": "other",
                "jsonPointers": ["/spec/template"]}),
            false,
        ),
        (
            json!({"group": "batch", "kind": "Job", "jsonPointers": ["/spec/template"]}),
            false,
        ),
        (
            json!({"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}),
            false,
        ),
        (
            json!({"group": "apps", "kind": "Deployment",
                "jqPathExpressions": [".spec.template.spec.containers[].image"]}),
            false,
        ),
        (
            json!({"group": "apps", "kind": "Deployment",
                "managedFieldsManagers": ["astern", "kube-controller-manager"]}),
            false,
        ),
    ] {
        let object = changed(argo_application(), "/spec/ignoreDifferences", json!([rule]));
        let state = application(&object, &deployment()).expect("its own");
        assert_eq!(!state.corrects_drift, ignored, "{rule}");
        assert!(state.follows_git, "{rule}");
    }
}

#[test]
fn who_makes_an_application_would_undo_a_change_to_it() {
    let applied = json!([{"manager": "argocd-controller", "operation": "Update",
        "fieldsV1": {"f:spec": {"f:project": {}}}}]);
    for (path, value) in [
        (
            "/metadata/ownerReferences",
            json!([{"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
                "name": "shops", "controller": true}]),
        ),
        (
            "/metadata/annotations",
            json!({"argocd.argoproj.io/tracking-id":
                "root:argoproj.io/Application:argocd/shop"}),
        ),
        (
            "/metadata/labels",
            json!({"kustomize.toolkit.fluxcd.io/name": "argo-apps"}),
        ),
        ("/metadata/managedFields", applied),
    ] {
        let made = changed(argo_application(), path, value);
        let state = application(&made, &deployment()).expect("its own");
        assert!(state.managed_by_set, "{path}");
    }
    // The id of another Application: this one is a copy of it.
    let annotations = json!({"argocd.argoproj.io/tracking-id":
        "root:argoproj.io/Application:argocd/other"});
    let copied = changed(argo_application(), "/metadata/annotations", annotations);
    let state = application(&copied, &deployment()).expect("its own");
    assert!(!state.managed_by_set);
}

#[test]
fn intervals_are_what_go_writes() {
    for (text, milliseconds) in [
        ("10m0s", Some(600_000)),
        ("1h0m0s", Some(3_600_000)),
        ("1.5h", Some(5_400_000)),
        ("500ms", Some(500)),
        ("1h1m1s1ms", Some(3_661_001)),
        ("60", None),
        ("", None),
        ("soon", None),
        ("1d", None),
        ("1.2.3s", None),
        ("99999999999999999999h", None),
    ] {
        let expected = milliseconds.map(SignedDuration::from_millis);
        assert_eq!(go_duration(text), expected, "{text:?}");
    }
}

#[test]
fn a_revision_that_fits_in_no_mark_is_not_known() {
    assert_eq!(
        revision("main@sha1:0aaa").as_deref(),
        Some("main@sha1:0aaa")
    );
    assert_eq!(revision(""), None);
    assert_eq!(revision("two words"), None);
    assert!(revision(&"a".repeat(REVISION_MAX)).is_some());
    assert_eq!(revision(&"a".repeat(REVISION_MAX + 1)), None);
}

fn reconciler(tool: Tool, namespace: &str, name: &str) -> Reconciler {
    Reconciler {
        tool,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: "Whatever".to_owned(),
        state: None,
        paused: false,
    }
}

fn all() -> [(Kind, Value, Reconciler); 4] {
    let release = reconciler(Tool::FluxHelmRelease, "shop", "checkout-release");
    let mut before = flux_helm_release();
    before["apiVersion"] = json!("helm.toolkit.fluxcd.io/v2beta2");
    [
        (
            kinds::KUSTOMIZATIONS,
            flux_kustomization(),
            reconciler(Tool::FluxKustomization, "flux-system", "apps"),
        ),
        (kinds::HELM_RELEASES, flux_helm_release(), release.clone()),
        (kinds::HELM_RELEASES_BEFORE, before, release),
        (
            kinds::APPLICATIONS,
            argo_application(),
            reconciler(Tool::ArgoCd, "argocd", "shop"),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_reconciler_is_read_where_it_lives() {
    for (kind, object, owner) in all() {
        let cluster = SimulatedCluster::new(Settings::default());
        cluster.put(kind, object).expect("it is taken");
        let state = read_state(&cluster, &owner, &deployment()).await;
        let state = state.expect("an answer").expect("it is known");
        assert!(state.corrects_drift, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_or_not_allowed_is_not_known() {
    for (_, _, owner) in all() {
        let cluster = SimulatedCluster::new(Settings::default());
        let state = read_state(&cluster, &owner, &deployment()).await;
        assert_eq!(state.expect("an answer"), None);
    }
    for (kind, object, owner) in all() {
        let cluster = SimulatedCluster::new(Settings::default());
        cluster.put(kind, object).expect("it is taken");
        cluster.break_api(ApiRule {
            verb: Some(Verb::Get),
            kind: Some(kind),
            skip: 0,
            times: 1,
            fault: ApiFault::Refused(port::Error::Forbidden {
                message: "no".to_owned(),
            }),
        });
        let state = read_state(&cluster, &owner, &deployment()).await;
        assert_eq!(state.expect("an answer"), None, "{kind:?}");
    }
    let helm = reconciler(Tool::Helm, "shop", "checkout-release");
    let cluster = SimulatedCluster::new(Settings::default());
    let state = read_state(&cluster, &helm, &deployment()).await;
    assert_eq!(state.expect("nothing to ask"), None);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_an_error_and_not_a_fact() {
    for (kind, _, owner) in all() {
        let cluster = SimulatedCluster::new(Settings::default());
        cluster.break_api(ApiRule::next(Verb::Get, kind, ApiFault::RequestLost));
        let state = read_state(&cluster, &owner, &deployment()).await;
        assert!(
            matches!(state, Err(Error::GetReconciler { .. })),
            "{kind:?}"
        );
    }
}
