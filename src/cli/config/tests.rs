use super::*;
use crate::api::config::{OwnerRef, copy as copy_of};

fn original(mode: &str) -> Value {
    json!({
        "metadata": {"name": "settings", "namespace": "shop", "resourceVersion": "7"},
        "data": {"mode": mode, "region": "eu"},
    })
}

fn kept(mode: &str) -> Copy {
    let owner = OwnerRef {
        name: "checkout-1".to_owned(),
        uid: "5eed0001".to_owned(),
    };
    copy(copy_of(&original(mode), &[owner])).expect("a copy")
}

fn choice(copies: &[Copy], wanted: Option<&str>, live: Option<&Value>) -> Result<String, String> {
    let chosen = chosen(copies, (wanted, live), Timestamp::UNIX_EPOCH);
    chosen
        .map(|copy| copy.map_or("unchanged".to_owned(), |copy| copy.name.clone()))
        .map_err(|error| error.to_string())
}

#[test]
fn a_config_map_is_named_as_with_kubectl() {
    for good in ["configmap/settings", "cm/settings", "ConfigMaps/settings"] {
        assert_eq!(config_map(good), Ok("settings".to_owned()), "{good}");
    }
    for wrong in ["settings", "secret/settings", "cm/", "cm/a/b", ""] {
        let error = config_map(wrong).expect_err(wrong);
        assert!(error.contains("configmap/NAME"), "{error}");
    }
}

#[test]
fn the_one_that_differs_is_brought_back() {
    let (live, old, older) = (original("new"), kept("old"), kept("older"));
    let one = [old.clone()];
    assert_eq!(choice(&one, None, Some(&live)), Ok(old.name.clone()));
    assert_eq!(choice(&one, None, None), Ok(old.name.clone()));
    // The copy of what is there is no news.
    let with_same = [kept("new"), old.clone()];
    assert_eq!(choice(&with_same, None, Some(&live)), Ok(old.name.clone()));
    assert_eq!(
        choice(&one, None, Some(&original("old"))),
        Ok("unchanged".to_owned())
    );
    let several = [old.clone(), older.clone()];
    let error = choice(&several, None, Some(&live)).expect_err("two");
    assert!(
        error.contains("--copy") && error.contains(&old.name) && error.contains(&older.name),
        "{error}"
    );
    assert_eq!(
        choice(&several, Some(&older.name), Some(&live)),
        Ok(older.name)
    );
    let error = choice(&one, Some("other"), Some(&live)).expect_err("none");
    assert!(error.contains(&old.name), "{error}");
    let error = choice(&[], None, None).expect_err("none");
    assert!(error.contains("config.mode: Restore"), "{error}");
}

#[test]
fn what_only_claims_to_be_a_copy_is_none() {
    let mut forged = kept("old").object;
    forged["data"]["mode"] = json!("forged");
    assert_eq!(copy(forged), None);
}

#[test]
fn what_would_not_stay_is_refused() {
    let check = |change: fn(&mut Value)| {
        let mut live = original("new");
        change(&mut live);
        super::check(&live, "settings").map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| ()), Ok(()));
    let sealed = check(|live| live["immutable"] = json!(true)).expect_err("sealed");
    assert!(sealed.contains("kubectl delete"), "{sealed}");
    let managed = check(|live| live["metadata"]["name"] = json!("kube-root-ca.crt"));
    assert!(managed.expect_err("managed").contains("undo"));
    let copied = super::check(&kept("old").object, "settings-astern").expect_err("a copy");
    assert!(copied.to_string().contains("configmap/settings"));
}

#[test]
fn the_content_goes_back_and_nothing_else() {
    let mut live = original("new");
    live["binaryData"] = json!({"logo": "AAAA"});
    let operations = patch(&live, &kept("old").object);
    assert_eq!(
        operations,
        json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "add", "path": "/data", "value": {"mode": "old", "region": "eu"}},
            {"op": "remove", "path": "/binaryData"},
        ])
    );
    let body = remade("settings", &kept("old").object);
    assert_eq!(body["data"]["mode"], "old");
    assert_eq!(
        body["metadata"],
        json!({"name": "settings", "namespace": "shop"})
    );
    assert_eq!(body.get("immutable"), None);
}

#[test]
fn keys_are_told_and_contents_are_not() {
    let mut live = original("secret-new");
    live["data"]["extra"] = json!("x");
    live["data"]
        .as_object_mut()
        .expect("a map")
        .remove("region");
    let told = keys(&live, &kept("secret-old").object);
    assert_eq!(told, "added region; changed mode; removed extra");
    assert_eq!(keys(&json!({}), &kept("old").object), "added mode, region");
}
