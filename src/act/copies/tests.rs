//! On the simulated cluster, whose writes tell what reached the API server.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;

use super::*;
use crate::port::simulated::{
    ApiFault, ApiRule, Crash, CrashingPort, Settings, SimulatedCluster, Verb,
};
use crate::port::{Cluster, Kind};

const SECRET: &str = "db.example/hunter2";

fn body(kind: Kind, name: &str) -> Value {
    json!({"apiVersion": kind.api_version(), "kind": kind.kind,
           "metadata": {"name": name, "namespace": "shop"}})
}

fn config_map(name: &str, url: &str) -> Value {
    let mut object = body(kinds::CONFIG_MAPS, name);
    object["data"] = json!({"url": url});
    object
}

fn object(name: &str) -> ObjectRef {
    ObjectRef::new(kinds::CONFIG_MAPS, "shop", name)
}

/// A cluster in which `app` holds what the revision worked with.
fn cluster() -> SimulatedCluster {
    let cluster = SimulatedCluster::new(Settings::default());
    let original = config_map("app", SECRET);
    cluster.put(kinds::CONFIG_MAPS, original).unwrap();
    cluster
}

/// Records a revision, which is the owner of copies.
fn record(cluster: &SimulatedCluster, name: &str) -> OwnerRef {
    let mut revision = body(kinds::CONTROLLER_REVISIONS, name);
    revision["revision"] = json!(1);
    revision["data"] = json!({"template": {}});
    let stored = cluster.put(kinds::CONTROLLER_REVISIONS, revision).unwrap();
    OwnerRef {
        name: name.to_owned(),
        uid: text(&stored, "/metadata/uid").unwrap().to_owned(),
    }
}

fn wanted(owners: &[OwnerRef]) -> Wanted {
    Wanted {
        name: "app".to_owned(),
        contents: contents(&config_map("app", SECRET)),
        owners: owners.to_vec(),
    }
}

fn copy_of_app() -> String {
    copy_name("app", &wanted(&[]).contents)
}

fn hands(cluster: Arc<dyn Cluster>) -> Hands {
    Hands {
        cluster,
        leads: Arc::new(|| true),
        instance: "astern-0".to_owned(),
        announced: Mutex::new(HashSet::new()),
    }
}

async fn ensure(cluster: &SimulatedCluster, wanted: Wanted) -> Result<Copied, Error> {
    let hands = hands(Arc::new(cluster.clone()));
    let outcome = ensure_copies(&hands, "shop", &[wanted], &mut Vec::new()).await;
    outcome.map(|mut copied| copied.remove(0))
}

fn owner_uids(cluster: &SimulatedCluster, name: &str) -> Vec<String> {
    let found = cluster.object(&object(name)).unwrap();
    let owners = found.pointer("/metadata/ownerReferences");
    let owners = owners.and_then(Value::as_array).into_iter().flatten();
    owners
        .map(|owner| text(owner, "/uid").unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_made_once_and_cannot_change() {
    let cluster = cluster();
    let owner = record(&cluster, "checkout-1");
    let ready = Copied::Ready {
        copy: copy_of_app(),
    };
    for _ in 0..3 {
        let copied = ensure(&cluster, wanted(std::slice::from_ref(&owner))).await;
        assert_eq!(copied.unwrap(), ready);
    }
    assert_eq!(cluster.writes().len(), 1);
    let copy = cluster.object(&object(&copy_of_app())).unwrap();
    assert_eq!(copy["data"], json!({"url": SECRET}));
    for field in ["data", "binaryData"] {
        let edited = cluster.edit(&object(&copy_of_app()), |copy| {
            copy[field] = json!({"other": "x"});
        });
        assert!(matches!(edited, Err(port::Error::Invalid { .. })));
    }
    assert_eq!(owner_uids(&cluster, &copy_of_app()), [owner.uid]);
}

#[tokio::test(start_paused = true)]
async fn the_original_is_only_read() {
    let cluster = cluster();
    let owner = record(&cluster, "checkout-1");
    let before = cluster.object(&object("app"));
    ensure(&cluster, wanted(&[owner])).await.unwrap();
    assert_eq!(cluster.object(&object("app")), before);
}

#[tokio::test(start_paused = true)]
async fn a_copy_lives_as_long_as_one_of_its_owners() {
    let cluster = cluster();
    let (first, second) = (record(&cluster, "first"), record(&cluster, "second"));
    ensure(&cluster, wanted(std::slice::from_ref(&first)))
        .await
        .unwrap();
    ensure(&cluster, wanted(std::slice::from_ref(&second)))
        .await
        .unwrap();
    assert_eq!(
        owner_uids(&cluster, &copy_of_app()),
        [first.uid, second.uid.clone()]
    );
    assert_eq!(cluster.writes().len(), 2);
    let revision = |name| ObjectRef::new(kinds::CONTROLLER_REVISIONS, "shop", name);
    cluster.remove(&revision("first"));
    cluster.run_for(SignedDuration::from_secs(5)).await;
    assert!(cluster.object(&object(&copy_of_app())).is_some());
    cluster.remove(&revision("second"));
    cluster.run_for(SignedDuration::from_secs(5)).await;
    assert_eq!(cluster.object(&object(&copy_of_app())), None);
}

#[tokio::test(start_paused = true)]
async fn what_the_revision_never_had_is_not_copied() {
    let cluster = cluster();
    let owner = record(&cluster, "checkout-1");
    cluster
        .edit(&object("app"), |app| app["data"]["url"] = json!("other"))
        .unwrap();
    let again = wanted(std::slice::from_ref(&owner));
    assert_eq!(ensure(&cluster, again.clone()).await.unwrap(), Copied::Lost);
    cluster.remove(&object("app"));
    assert_eq!(ensure(&cluster, again).await.unwrap(), Copied::Lost);
    assert_eq!(cluster.writes(), []);
}

#[tokio::test(start_paused = true)]
async fn a_copy_made_in_time_outlives_the_original() {
    let cluster = cluster();
    let owner = record(&cluster, "checkout-1");
    ensure(&cluster, wanted(std::slice::from_ref(&owner)))
        .await
        .unwrap();
    cluster.remove(&object("app"));
    let copied = ensure(&cluster, wanted(&[owner])).await.unwrap();
    assert_eq!(
        copied,
        Copied::Ready {
            copy: copy_of_app()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_pinned_copy_is_kept_and_not_copied_again() {
    let cluster = cluster();
    let (first, second) = (record(&cluster, "first"), record(&cluster, "second"));
    ensure(&cluster, wanted(std::slice::from_ref(&first)))
        .await
        .unwrap();
    let pinned = Wanted {
        name: copy_of_app(),
        ..wanted(std::slice::from_ref(&second))
    };
    let copied = ensure(&cluster, pinned).await.unwrap();
    assert_eq!(
        copied,
        Copied::Ready {
            copy: copy_of_app()
        }
    );
    assert_eq!(
        owner_uids(&cluster, &copy_of_app()),
        [first.uid, second.uid]
    );
    assert_eq!(cluster.objects(kinds::CONFIG_MAPS, "shop").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn config_of_another_program_is_not_copied() {
    let cluster = cluster();
    let owner = record(&cluster, "checkout-1");
    cluster
        .edit(&object("app"), |app| {
            app["metadata"]["labels"] = json!({"trust.cert-manager.io/bundle": "ca"});
        })
        .unwrap();
    let copied = ensure(&cluster, wanted(&[owner])).await.unwrap();
    assert_eq!(copied, Copied::Managed);
    assert_eq!(cluster.writes(), []);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_only_has_the_name_of_a_copy_is_left_alone() {
    let cluster = cluster();
    let owner = record(&cluster, "checkout-1");
    let planted = config_map(&copy_of_app(), "evil.example");
    cluster.put(kinds::CONFIG_MAPS, planted).unwrap();
    let copied = ensure(&cluster, wanted(&[owner])).await.unwrap();
    assert_eq!(
        copied,
        Copied::Taken {
            copy: copy_of_app()
        }
    );
    assert_eq!(cluster.writes(), []);
}

/// Between our look and our write another workload makes the same copy.
#[tokio::test(start_paused = true)]
async fn a_copy_that_another_makes_meanwhile_is_shared() {
    let cluster = cluster();
    let (first, second) = (record(&cluster, "first"), record(&cluster, "second"));
    let (ours, theirs) = tokio::join!(
        ensure(&cluster, wanted(std::slice::from_ref(&first))),
        ensure(&cluster, wanted(std::slice::from_ref(&second))),
    );
    assert_eq!(ours.unwrap(), theirs.unwrap());
    let refused = cluster
        .writes()
        .iter()
        .filter(|write| write.outcome == Err(port::Error::AlreadyExists))
        .count();
    assert_eq!(refused, 1, "the two did not meet");
    let owners: HashSet<String> = owner_uids(&cluster, &copy_of_app()).into_iter().collect();
    assert_eq!(owners, HashSet::from([first.uid, second.uid]));
}

#[tokio::test(start_paused = true)]
async fn an_owner_added_meanwhile_is_not_overwritten() {
    let cluster = cluster();
    let (first, second) = (record(&cluster, "first"), record(&cluster, "second"));
    ensure(&cluster, wanted(std::slice::from_ref(&first)))
        .await
        .unwrap();
    let conflict = port::Error::Conflict {
        message: "modified".to_owned(),
    };
    let rule = ApiRule::next(
        Verb::JsonPatch,
        kinds::CONFIG_MAPS,
        ApiFault::Refused(conflict),
    );
    cluster.break_api(rule);
    let again = wanted(std::slice::from_ref(&second));
    let outcome = ensure(&cluster, again.clone()).await;
    assert!(matches!(outcome, Err(Error::Stale { .. })), "{outcome:?}");
    ensure(&cluster, again).await.unwrap();
    let patch = &cluster.writes()[1].body;
    assert_eq!(patch[0]["path"], "/metadata/uid");
    assert_eq!(patch[1]["path"], "/metadata/resourceVersion");
    assert_eq!(
        owner_uids(&cluster, &copy_of_app()),
        [first.uid, second.uid]
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_write_is_finished_by_the_next_look() {
    for writes in 1..=2 {
        for crash in [Crash::Before(writes), Crash::After(writes)] {
            let cluster = cluster();
            cluster
                .put(kinds::CONFIG_MAPS, config_map("other", SECRET))
                .unwrap();
            let owner = record(&cluster, "checkout-1");
            let app = wanted(std::slice::from_ref(&owner));
            let both = [
                app.clone(),
                Wanted {
                    name: "other".to_owned(),
                    ..app
                },
            ];
            let port = Arc::new(CrashingPort::new(Arc::new(cluster.clone()), crash));
            let dying = hands(port.clone());
            let mut written = Vec::new();
            tokio::select! {
                outcome = ensure_copies(&dying, "shop", &both, &mut written) =>
                    panic!("survived {crash:?}: {outcome:?}"),
                () = port.crashed() => {}
            }
            let living = hands(Arc::new(cluster.clone()));
            let copied = ensure_copies(&living, "shop", &both, &mut Vec::new()).await;
            let copied = copied.unwrap();
            assert!(copied.iter().all(|one| matches!(one, Copied::Ready { .. })));
            assert_eq!(cluster.objects(kinds::CONFIG_MAPS, "shop").len(), 4);
            assert_eq!(cluster.writes().len(), 2, "{crash:?}");
        }
    }
}

/// Leadership may be lost between any two calls, so it is asked right before each write.
#[tokio::test(start_paused = true)]
async fn who_does_not_lead_writes_nothing() {
    let cluster = cluster();
    let (first, second) = (record(&cluster, "first"), record(&cluster, "second"));
    let leads = Arc::new(AtomicBool::new(false));
    let hands = Hands {
        leads: {
            let leads = leads.clone();
            Arc::new(move || leads.load(Ordering::SeqCst))
        },
        ..hands(Arc::new(cluster.clone()))
    };
    let mut written = Vec::new();
    let refused = ensure_copies(
        &hands,
        "shop",
        &[wanted(std::slice::from_ref(&first))],
        &mut written,
    )
    .await;
    assert!(matches!(refused, Err(Error::NotLeading)));
    leads.store(true, Ordering::SeqCst);
    ensure_copies(&hands, "shop", &[wanted(&[first])], &mut written)
        .await
        .unwrap();
    assert_eq!(written.len(), 1);
    leads.store(false, Ordering::SeqCst);
    let refused = ensure_copies(&hands, "shop", &[wanted(&[second])], &mut written).await;
    assert!(matches!(refused, Err(Error::NotLeading)));
    assert_eq!(cluster.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_refusal_brings_config_into_an_error() {
    let quoting = format!(r#"admission webhook "x.example" denied the request: url is "{SECRET}""#);
    let cases = [
        port::Error::Forbidden {
            message: quoting.clone(),
        },
        port::Error::Invalid {
            message: format!("data.url: Invalid value: {SECRET:?}"),
        },
        port::Error::Unexpected {
            status: 400,
            message: quoting.clone(),
        },
        port::Error::Unavailable {
            message: quoting,
            retry_after: None,
        },
    ];
    for case in cases {
        let cluster = cluster();
        let owner = record(&cluster, "checkout-1");
        let rule = ApiRule::next(Verb::Create, kinds::CONFIG_MAPS, ApiFault::Refused(case));
        cluster.break_api(rule);
        let error = ensure(&cluster, wanted(&[owner])).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let rbac = r#"configmaps is forbidden: User "astern" cannot create resource "configmaps""#;
    let kept = without_quotes(port::Error::Forbidden {
        message: rbac.to_owned(),
    });
    assert!(kept.to_string().ends_with(rbac), "{kept}");
}
