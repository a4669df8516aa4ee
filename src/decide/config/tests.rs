use super::*;

#[expect(
    clippy::unnecessary_wraps,
    reason = "an object that is there, beside `None`"
)]
fn contents(keys: &[(&str, &str)]) -> Option<Contents> {
    let entries = keys.iter();
    Some(Contents {
        keys: entries
            .map(|(key, digest)| ((*key).to_owned(), (*digest).to_owned()))
            .collect(),
    })
}

fn app(held: Option<Contents>) -> Config {
    Config::from([(ConfigName::config_map("app"), held)])
}

/// What the app reads: all of it, and it needs `url`.
fn all() -> ConfigUse {
    ConfigUse {
        required: BTreeSet::from(["url".to_owned()]),
        ..ConfigUse::default()
    }
}

fn only(key: &str) -> ConfigUse {
    ConfigUse {
        keys: Some(BTreeSet::from([key.to_owned()])),
        ..ConfigUse::default()
    }
}

fn optional(wanted: ConfigUse) -> ConfigUse {
    ConfigUse {
        optional: true,
        required: BTreeSet::new(),
        ..wanted
    }
}

fn uses(wanted: ConfigUse) -> ConfigUses {
    ConfigUses::from([(ConfigName::config_map("app"), wanted)])
}

/// The content that each case changes.
fn before() -> Option<Contents> {
    contents(&[("", "a1b2"), ("url", "11"), ("level", "22")])
}

#[track_caller]
fn check(wanted: ConfigUse, then: Option<Contents>, now: Option<Contents>, said: &[&str]) {
    let changes = changed(&uses(wanted), &app(then), &app(now));
    let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(texts, said);
}

#[test]
fn what_is_as_it_was_did_not_change() {
    check(all(), before(), before(), &[]);
    check(only("url"), before(), before(), &[]);
    check(optional(all()), None, None, &[]);
}

#[test]
fn changed_added_and_removed_keys_are_named() {
    let now = contents(&[("", "c3"), ("url", "11"), ("level", "99"), ("new", "33")]);
    check(
        all(),
        before(),
        now,
        &[r#"ConfigMap "app" changed in "level", "new""#],
    );
    let now = contents(&[("", "c3"), ("url", "11")]);
    check(
        all(),
        before(),
        now,
        &[r#"ConfigMap "app" changed in "level""#],
    );
}

#[test]
fn keys_that_nobody_reads_may_change() {
    let now = contents(&[("", "c3"), ("url", "11"), ("level", "99")]);
    check(only("url"), before(), now.clone(), &[]);
    check(
        only("level"),
        before(),
        now,
        &[r#"ConfigMap "app" changed in "level""#],
    );
}

#[test]
fn what_is_needed_and_not_there_is_missing() {
    check(all(), before(), None, &[r#"ConfigMap "app" is missing"#]);
    // Whether it was there before or not: pods do not start.
    check(all(), None, None, &[r#"ConfigMap "app" is missing"#]);
    let now = contents(&[("", "c3"), ("level", "99")]);
    check(
        all(),
        before(),
        now,
        &[
            r#"ConfigMap "app" lacks "url""#,
            r#"ConfigMap "app" changed in "level""#,
        ],
    );
}

#[test]
fn optional_objects_that_are_gone_changed_but_are_not_missing() {
    check(
        optional(all()),
        before(),
        None,
        &[r#"ConfigMap "app" changed"#],
    );
    check(
        optional(all()),
        None,
        before(),
        &[r#"ConfigMap "app" changed"#],
    );
    check(optional(only("none")), before(), None, &[]);
    check(
        optional(only("url")),
        None,
        before(),
        &[r#"ConfigMap "app" changed"#],
    );
    // Of an object without keys, a mount is empty instead of absent.
    check(
        optional(all()),
        None,
        contents(&[]),
        &[r#"ConfigMap "app" changed"#],
    );
}

#[test]
fn without_known_keys_only_the_whole_is_compared() {
    let whole = |digest| contents(&[("", digest)]);
    check(all(), before(), whole("a1b2"), &[]);
    check(
        all(),
        before(),
        whole("c3"),
        &[r#"ConfigMap "app" changed"#],
    );
    check(
        only("url"),
        whole("a1b2"),
        before(),
        // The same object in two shapes.
        &[],
    );
    check(
        only("url"),
        whole("c3"),
        before(),
        &[r#"ConfigMap "app" changed"#],
    );
}

#[test]
fn what_is_not_known_is_no_change() {
    let uses = uses(all());
    assert_eq!(changed(&uses, &Config::new(), &app(before())), []);
    assert_eq!(changed(&uses, &app(before()), &Config::new()), []);
    assert!(same(&uses, &app(before()), &Config::new()));
    // Missing is known.
    assert_eq!(changed(&uses, &Config::new(), &app(None)).len(), 1);
}

#[test]
fn objects_that_nobody_reads_may_change() {
    let other = ConfigUses::from([(ConfigName::secret("app"), all())]);
    assert_eq!(changed(&other, &app(before()), &app(None)), []);
    assert!(same(&other, &app(before()), &app(None)));
    assert!(!same(&uses(all()), &app(before()), &app(None)));
    assert!(same(&uses(all()), &app(None), &app(None)));
}

#[test]
fn a_long_list_of_keys_is_cut() {
    let keys: Vec<String> = (10..21).map(|number| format!("key{number}")).collect();
    let change = ConfigChange {
        name: ConfigName::secret("db"),
        keys,
        missing: false,
    };
    assert_eq!(
        change.to_string(),
        r#"Secret "db" changed in "key10", "key11", "key12", "key13", "key14", "key15", "key16", "key17" and 3 more"#
    );
}

#[test]
fn a_fingerprint_is_made_of_what_is_used_only() {
    let then = app(before());
    let now = app(contents(&[("", "c3"), ("url", "11"), ("level", "99")]));
    let print = |wanted: ConfigUse, config| fingerprint(&used(&uses(wanted), config));
    assert_eq!(print(only("url"), &then), print(only("url"), &now));
    assert_ne!(print(only("level"), &then), print(only("level"), &now));
    assert_ne!(print(all(), &then), print(all(), &now));
    assert_eq!(print(all(), &Config::new()), "");
}

#[test]
fn the_fingerprint_is_the_same_for_ever() {
    // Revisions that older versions recorded must be found again.
    let mut config = app(before());
    config.insert(ConfigName::secret("db"), contents(&[("", "feed")]));
    config.insert(ConfigName::config_map("gone"), None);
    config.insert(ConfigName::config_map("hollow"), contents(&[]));
    let text = r#"ConfigMap/"app" ""="a1b2" "level"="22" "url"="11"
ConfigMap/"gone" missing
ConfigMap/"hollow"
Secret/"db" ""="feed"
"#;
    assert_eq!(fingerprint(&config), text);
}

#[test]
fn too_much_text_costs_the_keys_of_the_largest_objects() {
    let many = |count: usize| {
        let mut keys: BTreeMap<String, String> = (0..count)
            .map(|number| (format!("{number:0>200}"), "ab".repeat(8)))
            .collect();
        keys.insert(WHOLE.to_owned(), "cd".repeat(8));
        Some(Contents { keys })
    };
    let mut config = Config::new();
    for number in 0..8 {
        config.insert(ConfigName::config_map(format!("c{number}")), many(60));
    }
    config.insert(ConfigName::config_map("small"), many(3));
    let cut = bounded(config.clone());
    let known = |config: &Config| {
        let held = config.values().flatten();
        held.filter(|held| held.knows_keys()).count()
    };
    // 224 bytes a key: 60 keys are 13 KiB, of which four fit.
    assert_eq!((known(&config), known(&cut)), (9, 5));
    assert!(
        cut[&ConfigName::config_map("small")]
            .as_ref()
            .is_some_and(Contents::knows_keys)
    );
    assert_eq!(bounded(cut.clone()), cut);
    assert_eq!(bounded(app(before())), app(before()));
    // The object is the same one in both shapes.
    let uses = config.keys().map(|name| (name.clone(), all())).collect();
    assert!(same(&uses, &config, &cut));
}
