use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::api::names;
use crate::decide::config::{WHOLE, changed, used};
use crate::decide::{Config, ConfigName, ConfigUse, Contents};

/// A template with one container and the volumes that it may mount.
fn template(container: &Value, volumes: &Value) -> Value {
    let mut app = json!({"name": "app", "image": "registry.example/shop:v1"});
    for (field, value) in container.as_object().into_iter().flatten() {
        app[field] = value.clone();
    }
    json!({"spec": {"containers": [app], "volumes": volumes}})
}

fn mount(volume: &str) -> Value {
    json!({"name": volume, "mountPath": format!("/etc/{volume}")})
}

fn keys(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn all() -> ConfigUse {
    ConfigUse::default()
}

fn only(names: &[&str]) -> ConfigUse {
    ConfigUse {
        keys: Some(keys(names)),
        required: keys(names),
        ..ConfigUse::default()
    }
}

fn live(wanted: ConfigUse) -> ConfigUse {
    ConfigUse {
        live: true,
        ..wanted
    }
}

#[track_caller]
fn check(template: &Value, expected: &[(ConfigName, ConfigUse)]) {
    let expected: BTreeMap<ConfigName, ConfigUse> = expected.iter().cloned().collect();
    assert_eq!(uses(template), expected);
}

#[test]
fn variables_read_one_key_and_need_it() {
    let env = json!([
        {"name": "A", "value": "plain"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "url"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "D", "valueFrom": {"configMapKeyRef":
            {"name": "flags", "key": "beta", "optional": true}}},
        {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]);
    let maybe = ConfigUse {
        optional: true,
        keys: Some(keys(&["beta"])),
        ..ConfigUse::default()
    };
    check(
        &template(&json!({"env": env}), &json!([])),
        &[
            (ConfigName::config_map("app"), only(&["url"])),
            (ConfigName::secret("db"), only(&["password"])),
            (ConfigName::config_map("flags"), maybe),
        ],
    );
}

#[test]
fn variables_from_a_whole_object_read_all_of_it() {
    let from = json!([
        {"prefix": "APP_", "configMapRef": {"name": "app"}},
        {"secretRef": {"name": "db", "optional": true}},
        {"configMapRef": {"name": ""}},
    ]);
    let maybe = ConfigUse {
        optional: true,
        ..ConfigUse::default()
    };
    check(
        &template(&json!({"envFrom": from}), &json!([])),
        &[
            (ConfigName::config_map("app"), all()),
            (ConfigName::secret("db"), maybe),
        ],
    );
}

#[test]
fn mounted_volumes_are_live() {
    let volumes = json!([
        {"name": "app", "configMap": {"name": "app", "defaultMode": 420}},
        {"name": "tls", "secret": {"secretName": "cert", "items": [{"key": "tls.crt", "path": "crt"}]}},
        {"name": "none", "emptyDir": {}},
    ]);
    let mounts = json!([mount("app"), mount("tls"), mount("none")]);
    check(
        &template(&json!({"volumeMounts": mounts}), &volumes),
        &[
            (ConfigName::config_map("app"), live(all())),
            (ConfigName::secret("cert"), live(only(&["tls.crt"]))),
        ],
    );
}

#[test]
fn volumes_that_nobody_mounts_are_not_read() {
    let volumes = json!([{"name": "app", "configMap": {"name": "app"}}]);
    check(&template(&json!({}), &volumes), &[]);
}

#[test]
fn a_part_of_a_volume_is_read_once_and_never_again() {
    let volumes = json!([
        {"name": "app", "configMap": {"name": "app"}},
        {"name": "web", "configMap": {"name": "web", "items": [
            {"key": "a", "path": "conf/a"}, {"key": "b", "path": "conf/b"},
            {"key": "c", "path": "config"}]}},
        {"name": "any", "configMap": {"name": "any"}},
    ]);
    let part = |volume: &str, field: &str, path: &str| {
        let mut mount = mount(volume);
        mount[field] = json!(path);
        mount
    };
    let mounts = json!([
        part("app", "subPath", "./nginx.conf"),
        part("web", "subPath", "conf/"),
        part("any", "subPathExpr", "$(POD_NAME)"),
    ]);
    let web = ConfigUse {
        // The kubelet puts all files in place before it mounts some.
        required: keys(&["a", "b", "c"]),
        ..only(&["a", "b"])
    };
    let app = ConfigUse {
        required: BTreeSet::new(),
        ..only(&["nginx.conf"])
    };
    check(
        &template(&json!({"volumeMounts": mounts}), &volumes),
        &[
            (ConfigName::config_map("app"), app),
            (ConfigName::config_map("web"), web),
            (ConfigName::config_map("any"), all()),
        ],
    );
}

#[test]
fn projected_volumes_read_each_of_their_sources() {
    let volumes = json!([{"name": "all", "projected": {"sources": [
        {"configMap": {"name": "app", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "db", "optional": true}},
        {"serviceAccountToken": {"path": "token"}},
        {"clusterTrustBundle": {"name": "ca", "path": "ca"}},
    ]}}]);
    let maybe = ConfigUse {
        optional: true,
        ..live(all())
    };
    check(
        &template(&json!({"volumeMounts": [mount("all")]}), &volumes),
        &[
            (ConfigName::config_map("app"), live(only(&["a"]))),
            (ConfigName::secret("db"), maybe),
        ],
    );
}

#[test]
fn what_other_volumes_and_image_pulls_are_given_is_not_config() {
    let mut template = template(
        &json!({"volumeMounts": [mount("csi"), mount("azure")]}),
        &json!([
            {"name": "csi", "csi": {"driver": "x.example", "nodePublishSecretRef": {"name": "s"}}},
            {"name": "azure", "azureFile": {"secretName": "t", "shareName": "u"}},
        ]),
    );
    template["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]);
    check(&template, &[]);
}

#[test]
fn all_references_to_one_object_count_together() {
    let mut template = template(
        &json!({
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef":
                {"name": "app", "key": "beta", "optional": true}}}],
            "volumeMounts": [mount("app")],
        }),
        &json!([{"name": "app", "configMap": {"name": "app"}}]),
    );
    template["spec"]["initContainers"] = json!([{"name": "init", "restartPolicy": "Always",
        "env": [{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "url"}}}]}]);
    let together = ConfigUse {
        optional: false,
        keys: None,
        required: keys(&["url"]),
        live: true,
    };
    check(&template, &[(ConfigName::config_map("app"), together)]);
    // An init container mounts as well as any other.
    template["spec"]["initContainers"][0]["volumeMounts"] = json!([mount("app")]);
    template["spec"]["containers"] = json!([{"name": "app"}]);
    assert!(uses(&template)[&ConfigName::config_map("app")].live);
}

#[test]
fn a_template_that_names_very_many_objects_is_followed_in_part() {
    let from: Vec<Value> = (0..100)
        .map(|number| json!({"configMapRef": {"name": format!("c{number}")}}))
        .collect();
    assert_eq!(
        uses(&template(&json!({"envFrom": from}), &json!([]))).len(),
        64
    );
    assert_eq!(uses(&Value::Null).len(), 0);
    assert_eq!(
        uses(&json!({"spec": {"containers": {"env": 3}, "volumes": "x"}})).len(),
        0
    );
}

#[test]
fn repointing_changes_every_reference_and_nothing_else() {
    let one = |app: &str| {
        json!({
            "metadata": {"labels": {"app": "app"}},
            "spec": {
                "imagePullSecrets": [{"name": "app"}],
                "initContainers": [{"name": "app", "envFrom": [{"configMapRef": {"name": app}}]}],
                "containers": [{"name": "app",
                    "env": [
                        {"name": "A", "value": "app"},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": app, "key": "app"}}},
                        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "app", "key": "app"}}}],
                    "envFrom": [{"secretRef": {"name": "app"}}, {"configMapRef": {"name": "other"}}],
                    "volumeMounts": [mount("app")]}],
                "volumes": [
                    {"name": "app", "configMap": {"name": app, "defaultMode": 420}},
                    {"name": "unmounted", "projected": {"sources": [
                        {"configMap": {"name": app}}, {"secret": {"name": "app"}}]}},
                    {"name": "tls", "secret": {"secretName": "app"}}],
                "fieldOfNextYear": 1,
            },
        })
    };
    let copies = BTreeMap::from([("app".to_owned(), "app-astern-5eed5eed".to_owned())]);
    assert_eq!(repointed(&one("app"), &copies), one("app-astern-5eed5eed"));
    assert_eq!(repointed(&one("app"), &BTreeMap::new()), one("app"));
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
           "metadata": {"name": name, "namespace": "shop"}, "data": data})
}

#[test]
fn contents_are_digests_of_keys_and_of_the_whole() {
    let held = contents(&config_map(
        "app",
        &json!({"url": "db.example", "level": "info"}),
    ));
    let names: Vec<&str> = held.keys.keys().map(String::as_str).collect();
    assert_eq!(names, [WHOLE, "level", "url"]);
    assert!(held.keys.values().all(|digest| digest.len() == 16));
    // Computed elsewhere, `printf 'data\0db.example\0' | sha256sum`: what older versions recorded
    // must be found again.
    assert_eq!(held.keys["url"], "e27ba17d2e2e0b98");
    assert!(!format!("{held:?}").contains("example"));
}

#[test]
fn contents_differ_when_anything_in_data_does() {
    let base = contents(&config_map("app", &json!({"a": "eA=="})));
    let mut binary = config_map("app", &json!(null));
    binary["binaryData"] = json!({"a": "eA=="});
    for other in [
        contents(&config_map("app", &json!({"a": "eA=", "=": ""}))),
        contents(&config_map("app", &json!({"b": "eA=="}))),
        contents(&config_map("app", &json!({"a": "eA==", "b": ""}))),
        contents(&binary),
        contents(&config_map("app", &json!({}))),
    ] {
        assert_ne!(other.whole(), base.whole());
    }
    let mut renamed = config_map("other", &json!({"a": "eA=="}));
    renamed["metadata"]["labels"] = json!({"team": "shop"});
    assert_eq!(contents(&renamed), base);
    assert_eq!(
        contents(&config_map("app", &Value::Null)),
        Contents::default()
    );
}

#[test]
fn of_very_many_keys_only_the_whole_is_kept() {
    let data = |count: usize| {
        let keys: BTreeMap<String, String> = (0..count)
            .map(|number| (format!("key{number}"), "x".to_owned()))
            .collect();
        contents(&config_map("app", &json!(keys)))
    };
    assert_eq!(data(64).keys.len(), 65);
    assert!(data(64).knows_keys());
    assert_eq!(data(65).keys.len(), 1);
    assert_ne!(data(65), data(66));
    assert!(!data(65).knows_keys());
}

#[test]
fn a_secret_is_known_by_when_its_data_was_written_and_not_by_what_it_holds() {
    let entry = |manager: &str, time: &str, field: &str| json!({"manager": manager, "time": time, "fieldsV1": {field: {"f:password": {}}}});
    let secret = |time: &str| {
        json!({"metadata": {"uid": "5eed0001", "resourceVersion": "7", "managedFields": [
            entry("kubectl", "2026-01-05T10:00:00Z", "f:data"),
            entry("vault", time, "f:data"),
            entry("labeller", "2026-01-09T10:00:00Z", "f:metadata"),
        ]}})
    };
    let then = secret("2026-01-06T10:00:00Z");
    let mut with_data = then.clone();
    with_data["data"] = json!({"password": "aHVudGVyMg=="});
    with_data["metadata"]["resourceVersion"] = json!("8");
    assert_eq!(secret_contents(&then), secret_contents(&with_data));
    assert!(!secret_contents(&then).knows_keys());
    let mut made_anew = then.clone();
    made_anew["metadata"]["uid"] = json!("5eed0002");
    for other in [secret("2026-01-07T10:00:00Z"), made_anew] {
        assert_ne!(secret_contents(&then), secret_contents(&other));
    }
    let unmanaged =
        |version: &str| json!({"metadata": {"uid": "5eed0001", "resourceVersion": version}});
    assert_ne!(
        secret_contents(&unmanaged("7")),
        secret_contents(&unmanaged("8"))
    );
}

#[test]
fn what_is_written_is_read_again() {
    let config = Config::from([
        (
            ConfigName::config_map("app"),
            Some(contents(&config_map("app", &json!({"url": "x"})))),
        ),
        (ConfigName::config_map("gone"), None),
        (ConfigName::config_map("hollow"), Some(Contents::default())),
        (
            ConfigName::secret("app"),
            Some(secret_contents(&Value::Null)),
        ),
    ]);
    assert_eq!(read(&write(&config)), Some(config.clone()));
    assert_eq!(from_text(&to_text(&config)), Some(config));
    assert_eq!(read(&write(&Config::new())), Some(Config::new()));
}

#[test]
fn what_makes_no_sense_is_not_known() {
    assert_eq!(read(&Value::Null), None);
    assert_eq!(from_text("{"), None);
    let odd = json!({"configMaps": {"app": {"url": 3}, "gone": null}, "secrets": [1], "later": 2});
    let gone = Config::from([(ConfigName::config_map("gone"), None)]);
    assert_eq!(read(&odd), Some(gone));
}

#[test]
fn the_largest_config_fits_into_an_annotation() {
    let data: BTreeMap<String, String> = (0..64)
        .map(|number| (format!("{number:0>253}"), String::new()))
        .collect();
    let held = contents(&config_map("app", &json!(data)));
    let config: Config = (0..64)
        .map(|number| {
            let name = ConfigName::config_map(format!("{number:0>253}"));
            (name, Some(held.clone()))
        })
        .collect();
    let text = to_text(&config);
    assert!(text.len() <= 64 * 1024, "{}", text.len());
    // Cut down, and still the same.
    let read = from_text(&text).unwrap();
    let uses = config.keys().map(|name| (name.clone(), all())).collect();
    assert_eq!(changed(&uses, &read, &config), []);
    assert_eq!(used(&uses, &read), used(&uses, &config));
}

fn owner(number: u8) -> OwnerRef {
    OwnerRef {
        name: format!("checkout-{number}"),
        uid: format!("5eed000{number}"),
    }
}

#[test]
fn a_copy_holds_the_content_and_nothing_else_of_the_original() {
    let mut original = config_map("app", &json!({"url": "db.example"}));
    original["binaryData"] = json!({"logo": "eA=="});
    original["metadata"]["uid"] = json!("5eed0009");
    original["metadata"]["resourceVersion"] = json!("42");
    original["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "shop"});
    original["metadata"]["annotations"] = json!({"replicate-to": "*"});
    original["metadata"]["ownerReferences"] = json!([{"uid": "5eed0008"}]);
    original["metadata"]["finalizers"] = json!(["example.com/x"]);
    let held = contents(&original);
    let name = copy_name("app", &held);
    let copy = copy(&original, &[owner(1), owner(2)]);
    let reference = |number: u8| {
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision",
               "name": format!("checkout-{number}"), "uid": format!("5eed000{number}"),
               "controller": false, "blockOwnerDeletion": false})
    };
    assert_eq!(
        copy,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": name, "namespace": "shop",
                "labels": {names::CONFIG_COPY_OF: "app"},
                "annotations": {names::CONFIG_COPY_OF: "app"},
                "ownerReferences": [reference(1), reference(2)],
            },
            "immutable": true,
            "data": {"url": "db.example"},
            "binaryData": {"logo": "eA=="},
        })
    );
    assert_eq!(contents(&copy), held);
    assert_eq!(
        standing(&copy),
        Standing::Copy {
            of: "app".to_owned()
        }
    );
}

#[test]
fn a_copy_is_named_after_its_original_and_content() {
    let one = contents(&config_map("app", &json!({"a": "1"})));
    let two = contents(&config_map("app", &json!({"a": "2"})));
    assert_eq!(copy_name("app", &one), "app-astern-7f0f3aae");
    assert_ne!(copy_name("app", &one), copy_name("app", &two));
    let long = format!("{}.{}", "a".repeat(236), "b".repeat(16));
    let name = copy_name(&long, &one);
    // 237 characters fit, and a dot must not stand before a hyphen.
    assert_eq!(
        name.get(..244),
        Some(&*format!("{}-astern-", "a".repeat(236)))
    );
    assert_eq!(copy_name(&"a".repeat(253), &one).len(), 253);
    assert_ne!(
        copy_name(&"a".repeat(253), &one),
        copy_name(&"a".repeat(252), &one)
    );
    let mut object = config_map("app", &json!({"a": "1"}));
    object["metadata"]["name"] = json!("a".repeat(64));
    let copy = copy(&object, &[owner(1)]);
    assert_eq!(
        copy["metadata"]["labels"],
        json!({names::CONFIG_COPY_OF: ""})
    );
    assert!(matches!(standing(&copy), Standing::Copy { .. }));
}

#[test]
fn nobody_can_pass_another_content_off_as_a_copy() {
    let mut forged = copy(&config_map("app", &json!({"a": "1"})), &[owner(1)]);
    forged["data"]["a"] = json!("2");
    assert_eq!(standing(&forged), Standing::Ordinary);
    let mut open = copy(&config_map("app", &json!({"a": "1"})), &[owner(1)]);
    open["immutable"] = json!(false);
    assert_eq!(standing(&open), Standing::Ordinary);
}

#[test]
fn what_another_program_keeps_current_is_never_put_back() {
    let marked = |name: &str, place: &str, value: Value| {
        let mut object = config_map(name, &json!({"a": "1"}));
        if !place.is_empty() {
            object["metadata"][place] = value;
        }
        standing(&object)
    };
    let cases = [
        ("kube-root-ca.crt", "", json!(0)),
        ("openshift-service-ca.crt", "", json!(0)),
        ("istio-ca-root-cert", "", json!(0)),
        (
            "app",
            "ownerReferences",
            json!([{"uid": "x", "controller": true}]),
        ),
        (
            "app",
            "labels",
            json!({"trust.cert-manager.io/bundle": "ca"}),
        ),
        (
            "app",
            "annotations",
            json!({"service.beta.openshift.io/inject-cabundle": "true"}),
        ),
        (
            "app",
            "labels",
            json!({"config.openshift.io/inject-trusted-cabundle": "true"}),
        ),
    ];
    for (name, place, value) in cases {
        assert_eq!(
            marked(name, place, value.clone()),
            Standing::Managed,
            "{value}"
        );
    }
    assert_eq!(marked("app", "", json!(0)), Standing::Ordinary);
    // Owned is not controlled: a Helm chart's or a person's own grouping.
    let owned = json!([{"uid": "x", "controller": false}]);
    assert_eq!(marked("app", "ownerReferences", owned), Standing::Ordinary);
}
