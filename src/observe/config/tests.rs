use serde_json::json;

use super::*;
use crate::decide::ConfigUse;
use crate::port::simulated::{ApiFault, ApiRule, Settings, SimulatedCluster, Verb};

fn config_map(name: &str, version: u32, url: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name,
        "resourceVersion": version.to_string()}, "data": {"url": url}})
}

fn uses(names: &[ConfigName]) -> ConfigUses {
    let names = names.iter().cloned();
    names.map(|name| (name, ConfigUse::default())).collect()
}

fn app() -> ConfigUses {
    uses(&[ConfigName::config_map("app")])
}

/// A store that knows one ConfigMap and one Deployment that reads it.
fn store() -> ConfigStore {
    let store = ConfigStore::default();
    store.handle(0, &WatchEvent::Restarted);
    store.handle(0, &WatchEvent::Applied(config_map("app", 3, "db.example")));
    store.handle(0, &WatchEvent::Complete);
    store.reads(&checkout(), &app());
    store
}

fn checkout() -> Key {
    Key::new("shop", "checkout")
}

fn apply(store: &ConfigStore, object: Value) -> Vec<Key> {
    store.handle(0, &WatchEvent::Applied(object))
}

#[test]
fn nothing_is_known_before_the_first_list_is_complete() {
    let store = ConfigStore::default();
    store.handle(0, &WatchEvent::Restarted);
    apply(&store, config_map("app", 3, "db.example"));
    assert_eq!(store.config_of("shop", &app()), None);
    store.handle(0, &WatchEvent::Complete);
    let config = store.config_of("shop", &app()).unwrap();
    let expected = config::contents(&config_map("app", 9, "db.example"));
    assert_eq!(
        config,
        Config::from([(ConfigName::config_map("app"), Some(expected))])
    );
    let parts = ConfigStore::default();
    parts.expect_parts(2);
    parts.handle(0, &WatchEvent::Complete);
    assert_eq!(parts.config_of("shop", &app()), None);
}

#[test]
fn what_does_not_exist_is_missing_and_secrets_are_not_known() {
    let store = store();
    let names = [ConfigName::config_map("gone"), ConfigName::secret("app")];
    assert_eq!(
        store.config_of("shop", &uses(&names)),
        Some(Config::from([(ConfigName::config_map("gone"), None)]))
    );
    assert_eq!(
        store.config_of("other", &app()),
        Some(Config::from([(ConfigName::config_map("app"), None)]))
    );
}

#[test]
fn only_changes_of_content_concern_the_readers() {
    let store = store();
    assert_eq!(apply(&store, config_map("app", 4, "db.example")), []);
    assert_eq!(
        apply(&store, config_map("app", 5, "new.example")),
        [checkout()]
    );
    assert_eq!(apply(&store, config_map("other", 6, "new.example")), []);
    let known = store.config_map(&Key::new("shop", "app")).unwrap();
    assert_eq!(known.resource_version, "5");
}

#[test]
fn config_that_goes_and_comes_concerns_its_readers() {
    let store = store();
    let gone = WatchEvent::Deleted(config_map("app", 7, "db.example"));
    assert_eq!(store.handle(0, &gone), [checkout()]);
    assert_eq!(
        apply(&store, config_map("app", 8, "db.example")),
        [checkout()]
    );
    // A new list that does not hold it.
    store.handle(0, &WatchEvent::Restarted);
    assert_eq!(store.handle(0, &WatchEvent::Complete), [checkout()]);
    assert_eq!(store.readers_of(&Key::new("shop", "app")), [checkout()]);
}

#[test]
fn who_reads_something_else_now_is_concerned_no_more() {
    let store = store();
    let basket = Key::new("shop", "basket");
    store.reads(&basket, &app());
    let key = Key::new("shop", "app");
    assert_eq!(store.readers_of(&key), [basket.clone(), checkout()]);
    store.reads(&checkout(), &uses(&[ConfigName::config_map("other")]));
    assert_eq!(store.readers_of(&key), std::slice::from_ref(&basket));
    store.reads(&basket, &ConfigUses::new());
    assert_eq!(store.readers_of(&key), []);
    let inner = store.lock();
    assert_eq!((inner.readers.of.len(), inner.readers.by.len()), (1, 1));
}

#[test]
fn what_we_wrote_is_known_at_once() {
    let store = store();
    let copy = config::copy(&config_map("app", 3, "db.example"), &[]);
    store.wrote(&copy);
    let key = Key::of(&copy).unwrap();
    assert_eq!(
        store.config_map(&key).map(|known| known.standing.clone()),
        Some(Standing::Copy {
            of: "app".to_owned()
        })
    );
}

#[test]
fn no_content_stays_in_memory() {
    assert!(!format!("{:?}", store()).contains("example"));
}

fn cluster() -> SimulatedCluster {
    let cluster = SimulatedCluster::new(Settings::default());
    let body = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "db", "namespace": "shop",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
        "data": {"password": "aHVudGVyMg=="}});
    cluster.put(kinds::SECRETS, body).unwrap();
    cluster
}

fn both() -> ConfigUses {
    uses(&[
        ConfigName::secret("db"),
        ConfigName::secret("gone"),
        ConfigName::config_map("app"),
    ])
}

#[tokio::test(start_paused = true)]
async fn granted_secrets_are_known_by_metadata() {
    let cluster = cluster();
    let read = secrets(&cluster, "shop", &both(), Secrets::Granted).await;
    let read = read.unwrap();
    let names: Vec<_> = read.keys().cloned().collect();
    assert_eq!(
        names,
        [ConfigName::secret("db"), ConfigName::secret("gone")]
    );
    assert_eq!(read[&ConfigName::secret("gone")], None);
    let again = secrets(&cluster, "shop", &both(), Secrets::Granted).await;
    assert_eq!(again, Ok(read.clone()));
    let object = ObjectRef::new(kinds::SECRETS, "shop", "db");
    cluster
        .edit(&object, |secret| secret["data"]["password"] = json!("eA=="))
        .unwrap();
    let rotated = secrets(&cluster, "shop", &both(), Secrets::Granted).await;
    assert_ne!(rotated, Ok(read));
}

#[tokio::test(start_paused = true)]
async fn secrets_that_may_not_be_read_are_not_known() {
    let cluster = cluster();
    let refused = |error| ApiRule::next(Verb::Get, kinds::SECRETS, ApiFault::Refused(error));
    cluster.break_api(refused(Error::Forbidden {
        message: "no".to_owned(),
    }));
    let read = secrets(&cluster, "shop", &both(), Secrets::Granted).await;
    assert_eq!(read, Ok(Config::from([(ConfigName::secret("gone"), None)])));
    let lost = Error::Unavailable {
        message: "lost".to_owned(),
        retry_after: None,
    };
    cluster.break_api(refused(lost.clone()));
    let read = secrets(&cluster, "shop", &both(), Secrets::Granted).await;
    assert_eq!(read, Err(lost));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_no_secret_is_asked_for() {
    let cluster = cluster();
    let never = Error::Unexpected {
        status: 500,
        message: "asked".to_owned(),
    };
    let rule = ApiRule::next(Verb::Get, kinds::SECRETS, ApiFault::Refused(never));
    cluster.break_api(rule);
    let read = secrets(&cluster, "shop", &both(), Secrets::NotGranted).await;
    assert_eq!(read, Ok(Config::new()));
}

#[test]
fn of_a_secret_only_what_tells_versions_apart_is_kept() {
    let secret = json!({
        "data": {"password": "aHVudGVyMg=="}, "stringData": {"a": "hunter2"}, "type": "Opaque",
        "metadata": {"uid": "5eed0001", "resourceVersion": "7", "managedFields": [],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
    });
    assert_eq!(
        without_data(secret),
        json!({"metadata": {"uid": "5eed0001", "resourceVersion": "7", "managedFields": []}})
    );
}
