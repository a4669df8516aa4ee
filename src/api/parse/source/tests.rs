//! One base source that is fine; each case changes one thing.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::parse::metric_source;

fn source(fields: &Value) -> Value {
    let mut spec = json!({"url": "https://prometheus.example.com/prometheus/"});
    for (key, value) in fields.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": "default"}, "spec": spec})
}

#[track_caller]
fn taken(fields: &Value) -> MetricSource {
    metric_source(&source(fields)).unwrap()
}

/// The field, and a part of what is said about it.
#[track_caller]
fn refused(fields: &Value, field: &str, problem: &str) {
    let errors = metric_source(&source(fields)).unwrap_err();
    assert_eq!(errors.len(), 1, "{fields}: {errors:?}");
    assert_eq!(errors[0].field, field);
    assert!(errors[0].problem.contains(problem), "{:?}", errors[0]);
    assert!(!errors[0].good_value.is_empty());
}

fn secret(name: &str, key: &str) -> Material {
    Material::Secret(SecretKey {
        name: name.to_owned(),
        key: key.to_owned(),
    })
}

fn file(path: &str) -> Material {
    Material::File(PathBuf::from(path))
}

#[test]
fn an_address_is_all_that_is_needed() {
    let parsed = taken(&json!({}));
    let expected = MetricSource {
        name: "default".to_owned(),
        url: "https://prometheus.example.com/prometheus/".to_owned(),
        timeout: SignedDuration::from_secs(10),
        method: QueryMethod::Post,
        auth: SourceAuth::None,
        tls: SourceTls::default(),
        headers: Vec::new(),
        parameters: BTreeMap::new(),
        match_labels: BTreeMap::new(),
        tenant: None,
        partial_answers: PartialAnswers::Unknown,
        limits: AnswerLimits {
            bytes: 32 * 1024 * 1024,
            series: 100_000,
        },
        allowed_namespaces: None,
        confine: Some("namespace".to_owned()),
    };
    assert_eq!(parsed, expected);
    let nulls = json!({"auth": null, "tls": null, "headers": null, "tenant": null, "limits": null,
        "allowedNamespaces": null, "promql": null, "matchLabels": null, "method": null});
    assert_eq!(taken(&nulls), expected);
}

#[test]
fn each_way_to_prove_who_asks_is_read() {
    let auth = |auth: Value| taken(&json!({"auth": auth})).auth;
    assert_eq!(
        auth(json!({"bearer": {"secretRef": {"name": "prometheus"}}})),
        SourceAuth::Bearer(secret("prometheus", "token"))
    );
    assert_eq!(
        auth(json!({"bearer": {"secretRef": {"name": "prometheus", "key": "api-key"}}})),
        SourceAuth::Bearer(secret("prometheus", "api-key"))
    );
    assert_eq!(
        auth(json!({"bearer": {"file": "/etc/astern/openshift/token"}})),
        SourceAuth::Bearer(file("/etc/astern/openshift/token"))
    );
    let basic = |username: &str, password: &str| SourceAuth::Basic {
        secret: "grafana".to_owned(),
        username: username.to_owned(),
        password: password.to_owned(),
    };
    assert_eq!(
        auth(json!({"basic": {"secretRef": {"name": "grafana"}}})),
        basic("username", "password")
    );
    let keys = json!({"name": "grafana", "usernameKey": "user", "passwordKey": "pass"});
    assert_eq!(
        auth(json!({"basic": {"secretRef": keys}})),
        basic("user", "pass")
    );
    let SourceAuth::OAuth2(grant) = auth(json!({"oauth2": {
        "tokenUrl": "https://login.example.com/token", "clientId": "astern",
        "secretRef": {"name": "login"}, "scopes": ["a", "b/.default"], "audience": "prometheus",
        "tls": {"caFile": "/etc/astern/login/ca.crt"},
    }})) else {
        panic!("no grant");
    };
    assert_eq!(grant.token_url, "https://login.example.com/token");
    assert_eq!(grant.client_id, "astern");
    assert_eq!(
        Material::Secret(grant.secret),
        secret("login", "client-secret")
    );
    assert_eq!(grant.scopes, ["a", "b/.default"]);
    assert_eq!(grant.audience.as_deref(), Some("prometheus"));
    assert_eq!(
        grant.tls.authorities,
        Some(file("/etc/astern/login/ca.crt"))
    );
}

#[test]
fn one_proves_oneself_in_one_way() {
    let bearer = json!({"secretRef": {"name": "a"}});
    for (auth, field, problem) in [
        (json!({}), "spec.auth", "exactly one"),
        (json!("token"), "spec.auth", "is no object"),
        (
            json!({"bearer": bearer, "basic": {"secretRef": {"name": "b"}}}),
            "spec.auth",
            "exactly one",
        ),
        (json!({"bearer": {}}), "spec.auth.bearer", "exactly one"),
        (
            json!({"bearer": {"secretRef": {"name": "a"}, "file": "/etc/astern/token"}}),
            "spec.auth.bearer",
            "exactly one",
        ),
        (
            json!({"bearer": {"secretRef": {"name": "../a"}}}),
            "spec.auth.bearer.secretRef.name",
            "is no name of an object",
        ),
        (
            json!({"bearer": {"secretRef": {"name": "a", "key": "a/b"}}}),
            "spec.auth.bearer.secretRef.key",
            "is no key of a Secret",
        ),
        (
            json!({"basic": {}}),
            "spec.auth.basic.secretRef",
            "is missing",
        ),
        (
            json!({"oauth2": {"tokenUrl": "login", "clientId": "a", "secretRef": {"name": "b"}}}),
            "spec.auth.oauth2.tokenUrl",
            "does not begin with http",
        ),
        (
            json!({"oauth2": {"tokenUrl": "https://l", "secretRef": {"name": "b"}}}),
            "spec.auth.oauth2.clientId",
            "is missing",
        ),
        (
            json!({"oauth2": {"tokenUrl": "https://l", "clientId": "a", "secretRef": {"name": "b"},
                "scopes": ["a b"]}}),
            "spec.auth.oauth2.scopes[0]",
            "is no scope",
        ),
    ] {
        refused(&json!({"auth": auth}), field, problem);
    }
}

/// The token of the pod's own `ServiceAccount` can do much more than read metrics.
#[test]
fn only_files_that_were_mounted_for_it_can_be_named() {
    for path in [
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "/etc/astern/../passwd",
        "/etc/astern/..data/token",
        "/etc/astern/",
        "/etc/astern",
        "/etc/asternal/token",
        "etc/astern/token",
        "/etc/astern//token",
        "/etc/astern/a b",
        "/etc/astern/token\n",
    ] {
        let auth = json!({"auth": {"bearer": {"file": path}}});
        refused(
            &auth,
            "spec.auth.bearer.file",
            "is no file below /etc/astern",
        );
    }
}

#[test]
fn tls_is_read() {
    let parsed = taken(&json!({"tls": {
        "caSecretRef": {"name": "prometheus-ca"}, "certSecretRef": {"name": "prometheus-client"},
        "serverName": "prometheus.example.com",
    }}));
    let expected = SourceTls {
        authorities: Some(secret("prometheus-ca", "ca.crt")),
        identity: Some((
            secret("prometheus-client", "tls.crt"),
            secret("prometheus-client", "tls.key"),
        )),
        server_name: Some("prometheus.example.com".to_owned()),
        trust_anyone: false,
    };
    assert_eq!(parsed.tls, expected);
    let parsed = taken(&json!({"tls": {
        "caFile": "/etc/astern/ca.crt", "certFile": "/etc/astern/tls.crt", "keyFile": "/etc/astern/tls.key",
    }}));
    assert_eq!(parsed.tls.authorities, Some(file("/etc/astern/ca.crt")));
    let pair = (file("/etc/astern/tls.crt"), file("/etc/astern/tls.key"));
    assert_eq!(parsed.tls.identity, Some(pair));
    assert!(
        taken(&json!({"tls": {"insecureSkipVerify": true}}))
            .tls
            .trust_anyone
    );
}

#[test]
fn tls_that_contradicts_itself_is_refused() {
    let (ca, cert) = (json!({"name": "ca"}), json!({"name": "client"}));
    for (tls, field, problem) in [
        (
            json!({"caSecretRef": ca, "caFile": "/etc/astern/ca.crt"}),
            "spec.tls",
            "exactly one of caSecretRef and caFile",
        ),
        (
            json!({"certFile": "/etc/astern/tls.crt"}),
            "spec.tls",
            "either certSecretRef",
        ),
        (
            json!({"certSecretRef": cert, "keyFile": "/etc/astern/tls.key"}),
            "spec.tls",
            "either certSecretRef",
        ),
        (
            json!({"insecureSkipVerify": true, "caSecretRef": ca}),
            "spec.tls.insecureSkipVerify",
            "meaningless",
        ),
        (
            json!({"serverName": "10.0.0.1"}),
            "spec.tls.serverName",
            "is no name of a server",
        ),
        (
            json!({"serverName": ".example.com"}),
            "spec.tls.serverName",
            "is no name of a server",
        ),
    ] {
        refused(&json!({"tls": tls}), field, problem);
    }
    let plain = json!({"url": "http://prometheus", "tls": {}});
    refused(&plain, "spec.tls", "makes no sense with an address in http");
}

#[test]
fn headers_are_those_that_a_source_may_set() {
    let header = |name: &str| json!({"headers": [{"name": name, "value": "a"}]});
    let parsed = taken(&json!({"headers": [
        {"name": "X-Scope-OrgID", "value": "shop|pay"},
        {"name": "X-Api-Key", "secretRef": {"name": "key", "key": "value"}},
    ]}));
    assert_eq!(
        parsed.headers[0].value,
        HeaderText::Plain("shop|pay".to_owned())
    );
    let HeaderText::Secret(key) = &parsed.headers[1].value else {
        panic!("{:?}", parsed.headers);
    };
    assert_eq!((key.name.as_str(), key.key.as_str()), ("key", "value"));
    for name in bounds::REFUSED_HEADERS
        .iter()
        .copied()
        .chain(["Authorization", "HOST"])
    {
        refused(
            &header(name),
            "spec.headers[0].name",
            "is not for a source to set",
        );
    }
    for name in ["X Key", "X:Key", "X-Key\r\n", "-X", "é"] {
        refused(
            &header(name),
            "spec.headers[0].name",
            "is no name of a header",
        );
    }
    for value in [" a", "a ", "a\nb", "é", "a\u{7f}"] {
        let header = json!({"headers": [{"name": "X-Key", "value": value}]});
        refused(&header, "spec.headers[0].value", "visible ASCII");
    }
    let both = json!({"headers": [{"name": "X-Key"}]});
    refused(
        &both,
        "spec.headers[0]",
        "exactly one of value and secretRef",
    );
    let twice =
        json!({"headers": [{"name": "X-Key", "value": "a"}, {"name": "x-key", "value": "b"}]});
    refused(&twice, "spec.headers[1].name", "set twice");
    let tenant =
        json!({"tenant": {"value": "a"}, "headers": [{"name": "x-scope-orgid", "value": "b"}]});
    refused(&tenant, "spec.headers[0].name", "set twice");
    let keyless = json!({"headers": [{"name": "X-Key", "secretRef": {"name": "a"}}]});
    refused(&keyless, "spec.headers[0].secretRef.key", "is missing");
}

#[test]
fn parameters_are_not_those_of_the_query() {
    let parsed = taken(&json!({"parameters": {"nocache": "1", "extra_filters[]": "{a=\"b\"}"}}));
    assert_eq!(parsed.parameters["nocache"], "1");
    assert_eq!(parsed.parameters["extra_filters[]"], "{a=\"b\"}");
    for name in bounds::REFUSED_PARAMETERS {
        let field = format!("spec.parameters.{name}");
        refused(
            &json!({"parameters": {*name: "1"}}),
            &field,
            "is set by Astern itself",
        );
    }
    refused(
        &json!({"parameters": {"a&b": "1"}}),
        "spec.parameters.a&b",
        "is no name",
    );
    refused(
        &json!({"parameters": {"a": 1}}),
        "spec.parameters.a",
        "1 is no text",
    );
}

#[test]
fn labels_that_are_forced_are_labels_of_metrics() {
    let parsed = taken(&json!({"matchLabels": {"cluster": "eu-1 \"}"}}));
    assert_eq!(parsed.match_labels["cluster"], "eu-1 \"}");
    let label = |name: &str| json!({"matchLabels": {name: "a"}});
    refused(
        &label("a-b"),
        "spec.matchLabels.a-b",
        "is no name of a label",
    );
    refused(&label("9a"), "spec.matchLabels.9a", "is no name of a label");
    refused(
        &label("__name__"),
        "spec.matchLabels.__name__",
        "must not name the metric",
    );
    let lines = json!({"matchLabels": {"a": "b\nc"}});
    refused(&lines, "spec.matchLabels.a", "control characters");
    let many: serde_json::Map<String, Value> = (0..17)
        .map(|number| (format!("a{number}"), json!("b")))
        .collect();
    refused(
        &json!({"matchLabels": many}),
        "spec.matchLabels",
        "17 entries, 16 are allowed",
    );
}

#[test]
fn a_tenant_is_fixed_or_comes_from_the_namespace() {
    let tenant = |tenant: Value| taken(&json!({"tenant": tenant})).tenant.unwrap();
    assert_eq!(
        tenant(json!({"value": "shop"})),
        Tenant {
            header: "X-Scope-OrgID".to_owned(),
            value: TenantValue::Fixed("shop".to_owned()),
        }
    );
    assert_eq!(
        tenant(json!({"header": "THANOS-TENANT", "namespaceLabel": "example.com/Tenant"})),
        Tenant {
            header: "THANOS-TENANT".to_owned(),
            value: TenantValue::NamespaceLabel("example.com/Tenant".to_owned()),
        }
    );
    let refused = |tenant: Value, field: &str, problem: &str| {
        refused(&json!({"tenant": tenant}), field, problem);
    };
    refused(
        json!({}),
        "spec.tenant",
        "exactly one of value and namespaceLabel",
    );
    refused(
        json!({"value": "a", "namespaceLabel": "b"}),
        "spec.tenant",
        "exactly one of value and namespaceLabel",
    );
    for label in ["a b", "/a", "a/", "-a", "A.com/a", "a/b/c"] {
        let tenant = json!({"namespaceLabel": label});
        refused(
            tenant,
            "spec.tenant.namespaceLabel",
            "is no name of a label",
        );
    }
    refused(
        json!({"header": "Authorization", "value": "a"}),
        "spec.tenant.header",
        "is not for a source to set",
    );
}

#[test]
fn sizes_are_whole_numbers_of_bytes_within_limits() {
    for (text, bytes) in [
        ("64Ki", 65_536),
        ("65536", 65_536),
        ("1Mi", 1_048_576),
        ("128Mi", 134_217_728),
    ] {
        let parsed = taken(&json!({"limits": {"bytes": text}}));
        assert_eq!(parsed.limits.bytes, bytes, "{text}");
    }
    for text in [
        "65535",
        "129Mi",
        "1Gi",
        "1.5Mi",
        "-1Mi",
        "+1Mi",
        "Mi",
        "",
        "1MiMi",
        "1M",
        "999999999Mi",
    ] {
        let limits = json!({"limits": {"bytes": text}});
        refused(
            &limits,
            "spec.limits.bytes",
            "is no number of bytes from 64Ki to 128Mi",
        );
    }
    let number = json!({"limits": {"bytes": 65_536}});
    refused(&number, "spec.limits.bytes", "65536 is no text");
    let number = json!({"limits": {"bytes": "9999999999Mi"}});
    refused(&number, "spec.limits.bytes", "more than 11 characters");
    for series in [99, 1_000_001] {
        let limits = json!({"limits": {"series": series}});
        refused(&limits, "spec.limits.series", "from 100 to 1000000");
    }
}

#[test]
fn namespaces_are_named_or_selected() {
    let parsed = taken(&json!({"allowedNamespaces": {"names": ["shop", "pay"]}}));
    let allowed = parsed.allowed_namespaces.unwrap();
    assert!(allowed.names.contains("shop") && allowed.selector.is_none());
    let parsed = taken(&json!({"allowedNamespaces": {"selector": {}}}));
    assert!(parsed.allowed_namespaces.unwrap().selector.is_some());
    let empty = json!({"allowedNamespaces": {}});
    refused(
        &empty,
        "spec.allowedNamespaces",
        "names and selects no namespace",
    );
    let named = json!({"allowedNamespaces": {"names": ["Shop"], "selector": {}}});
    refused(
        &named,
        "spec.allowedNamespaces.names[0]",
        "is no name of a namespace",
    );
}

#[test]
fn promql_is_confined_unless_the_admin_says_otherwise() {
    let confine = |promql: Value| taken(&json!({"promql": promql})).confine;
    assert_eq!(confine(json!({})).as_deref(), Some("namespace"));
    assert_eq!(
        confine(json!({"namespaceLabel": "exported_namespace"})).as_deref(),
        Some("exported_namespace")
    );
    assert_eq!(confine(json!({"confine": "None"})), None);
    let unknown = json!({"promql": {"confine": "Nothing"}});
    refused(&unknown, "spec.promql.confine", "is not known");
    let label = json!({"promql": {"namespaceLabel": "name-space"}});
    refused(
        &label,
        "spec.promql.namespaceLabel",
        "is no name of a label",
    );
}

#[test]
fn other_words_are_refused_by_name() {
    refused(&json!({"method": "post"}), "spec.method", "is not known");
    refused(
        &json!({"partialAnswers": "Ignore"}),
        "spec.partialAnswers",
        "is not known",
    );
}

#[test]
fn a_megabyte_makes_a_short_message() {
    let huge = "x".repeat(1_000_000);
    for fields in [
        json!({"auth": {"bearer": {"file": huge}}}),
        json!({"matchLabels": {huge.as_str(): huge}}),
        json!({"parameters": {huge.as_str(): huge}}),
        json!({"headers": vec![json!({"name": huge, "value": huge}); 100]}),
        json!({"allowedNamespaces": {"names": vec![huge.clone(); 1000]}}),
        json!({"limits": {"bytes": huge}}),
        json!({"tls": {"serverName": huge}}),
    ] {
        let errors = metric_source(&source(&fields)).unwrap_err();
        let text: usize = errors.iter().map(|error| error.to_string().len()).sum();
        assert!(text < 8_000, "{text} characters");
    }
}

/// Any JSON with the words of the API as keys, so that it gets past the first branch.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,20}",
        "[0-9]{1,12}(Ki|Mi)?",
        "/etc/astern/[a-z./]{0,10}",
        "https?://[a-z:0-9.]{0,10}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        "(url|auth|bearer|basic|oauth2|secretRef|file|name|key|tokenUrl|clientId|scopes|audience)",
        "(tls|caSecretRef|caFile|certSecretRef|certFile|keyFile|serverName|insecureSkipVerify)",
        "(headers|value|parameters|matchLabels|tenant|header|namespaceLabel|partialAnswers)",
        "(limits|bytes|series|allowedNamespaces|names|selector|promql|confine|method|timeout)",
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_panics(spec in any_json()) {
        if let Err(errors) = metric_source(&json!({"spec": spec})) {
            prop_assert!(errors.iter().all(|error| error.to_string().len() < 1_000));
        }
    }
}
