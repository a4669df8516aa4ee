//! Ownership follows the change, and a patch of nothing but entries is taken at its word.

use super::*;

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "spec": {
            "replicas": 3,
            "template": { "spec": { "containers": [{ "name": "app", "image": image }] } },
        },
    })
}

fn written_by(old: &Value, mut new: Value, manager: &str) -> Value {
    let writer = Writer {
        manager,
        subresource: None,
        now: Timestamp::UNIX_EPOCH,
    };
    record(old, &mut new, &writer);
    new
}

fn managers(object: &Value) -> Vec<&str> {
    items(object, "/metadata/managedFields")
        .iter()
        .map(|entry| text(entry, "/manager"))
        .collect()
}

/// What `kubectl` deployed and `astern` then changed.
fn rolled_back() -> Value {
    let deployed = written_by(&json!({}), deployment("shop:2"), "kubectl");
    let mut changed = deployment("shop:1");
    changed["metadata"] = deployed["metadata"].clone();
    written_by(&deployed, changed, "astern")
}

#[test]
fn changed_field_moves_to_the_writer_and_no_other() {
    let object = rolled_back();
    assert_eq!(managers(&object), ["kubectl", "astern"]);
    let of = |at: usize| paths(&object["metadata"]["managedFields"][at]["fieldsV1"]);
    let image = vec![
        "f:spec".to_owned(),
        "f:template".to_owned(),
        "f:spec".to_owned(),
        "f:containers".to_owned(),
        r#"k:{"name":"app"}"#.to_owned(),
        "f:image".to_owned(),
    ];
    assert_eq!(of(1), BTreeSet::from([image.clone()]));
    assert!(!of(0).contains(&image));
    assert!(of(0).contains(&vec!["f:spec".to_owned(), "f:replicas".to_owned()]));
}

#[test]
fn entry_dropped_by_the_changing_patch_comes_back() {
    let deployed = written_by(&json!({}), deployment("shop:2"), "kubectl");
    let mut changed = deployment("shop:1");
    changed["metadata"] = deployed["metadata"].clone();
    let changed = written_by(&deployed, changed, "astern");
    assert!(managers(&changed).contains(&"astern"));
}

#[test]
fn patch_of_entries_alone_is_honoured() {
    let object = rolled_back();
    let mut restored = object.clone();
    let entries = &mut restored["metadata"]["managedFields"];
    entries
        .as_array_mut()
        .unwrap()
        .retain(|entry| entry["manager"] != "astern");
    let restored = written_by(&object, restored, "astern");
    assert_eq!(managers(&restored), ["kubectl"]);
}

#[test]
fn notation_reads_back_as_written() {
    let object = rolled_back();
    for entry in items(&object, "/metadata/managedFields") {
        let fields = &entry["fieldsV1"];
        assert_eq!(&nested(paths(fields).into_iter()), fields);
    }
}
