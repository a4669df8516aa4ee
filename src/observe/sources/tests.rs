//! Against a simulated API server with a clock of its own.

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::json;

use super::credentials::secrets_of;
use super::*;
use crate::api::parse::metric_source;
use crate::port::simulated::{ApiFault, ApiRule, Settings, SimulatedCluster, Verb};
use crate::port::{Auth, Credential, Error, Method, Secret};

const OWN: &str = "astern-system";

/// A source that is asked nothing: it keeps what it was asked with, and answers what it is told to.
#[derive(Default)]
struct Listener {
    answer: Mutex<Option<QueryError>>,
    queries: Mutex<Vec<Query>>,
}

#[async_trait]
impl Outside for Listener {
    async fn query(&self, query: &Query) -> Result<Vec<u8>, QueryError> {
        self.queries.lock().unwrap().push(query.clone());
        match self.answer.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(b"answer".to_vec()),
        }
    }
}

fn parsed(spec: &Value) -> MetricSource {
    metric_source(&json!({"metadata": {"name": "thanos"}, "spec": spec})).unwrap()
}

fn sources(cluster: &SimulatedCluster, spec: &Value) -> Sources {
    let source = Arc::new(parsed(spec));
    let find: FindSource = Arc::new(move |name| match name {
        "thanos" => Ok(Arc::clone(&source)),
        other => Err(format!("there is no MetricSource {other:?}")),
    });
    Sources::new(Arc::new(cluster.clone()), OWN.to_owned(), find)
}

fn cluster() -> SimulatedCluster {
    SimulatedCluster::new(Settings::default())
}

fn put_secret(cluster: &SimulatedCluster, namespace: &str, data: &Value) {
    let metadata = json!({"name": "credentials", "namespace": namespace});
    let secret = json!({"metadata": metadata, "data": data});
    cluster.put(kinds::SECRETS, secret).unwrap();
}

fn edit_secret(cluster: &SimulatedCluster, data: Value) {
    let secret = ObjectRef::new(kinds::SECRETS, OWN, "credentials");
    cluster
        .edit(&secret, |secret| secret["data"] = data)
        .unwrap();
}

fn put_namespace(cluster: &SimulatedCluster, labels: &Value) {
    let namespace = json!({"metadata": {"name": "shop", "labels": labels}});
    cluster.put(kinds::NAMESPACES, namespace).unwrap();
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn bearer() -> Value {
    json!({"url": "https://thanos.example/", "auth": {"bearer": {"secretRef": {"name": "credentials"}}}})
}

fn token(endpoint: &Endpoint) -> &str {
    let Auth::Bearer(Credential::Value(secret)) = &endpoint.access.auth else {
        panic!("{:?}", endpoint.access);
    };
    secret.reveal()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_all_that_a_query_needs() {
    let cluster = cluster();
    let spec = json!({
        "url": "http://thanos:9090/prefix/", "timeout": "7s", "method": "GET",
        "matchLabels": {"cluster": "eu-1"}, "parameters": {"dedup": "true"},
        "partialAnswers": "Accept", "limits": {"bytes": "64Ki", "series": 100},
        "headers": [{"name": "X-Fixed", "value": "yes"}], "promql": {"confine": "None"},
    });
    let endpoint = sources(&cluster, &spec)
        .resolve("thanos", None)
        .await
        .unwrap();
    let expected = Endpoint {
        source: "thanos".to_owned(),
        url: "http://thanos:9090/prefix".to_owned(),
        timeout: seconds(7),
        match_labels: [("cluster".to_owned(), "eu-1".to_owned())].into(),
        confine: None,
        partial_answers: PartialAnswers::Accept,
        limits: AnswerLimits {
            bytes: 65_536,
            series: 100,
        },
        access: Arc::new(Access {
            method: Method::Get,
            headers: vec![("X-Fixed".to_owned(), Secret::new("yes"))],
            parameters: vec![("dedup".to_owned(), "true".to_owned())],
            ..Access::default()
        }),
    };
    assert_eq!(endpoint, expected);
    let query = endpoint.query("api/v1/query", vec![("query", "up".to_owned())]);
    assert_eq!(query.url, "http://thanos:9090/prefix/api/v1/query");
    assert_eq!((query.timeout, query.bytes_max), (seconds(7), 65_536));
    assert!(Arc::ptr_eq(&query.access, &endpoint.access));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_changes_is_used_within_a_minute() {
    let cluster = cluster();
    put_secret(&cluster, OWN, &json!({"token": "b2xkCg=="}));
    let sources = sources(&cluster, &bearer());
    // What stands in the file behind the text is no part of it.
    assert_eq!(
        token(&sources.resolve("thanos", None).await.unwrap()),
        "old"
    );
    edit_secret(&cluster, json!({"token": "bmV3"}));
    cluster.run_for(seconds(50)).await;
    assert_eq!(
        token(&sources.resolve("thanos", None).await.unwrap()),
        "old"
    );
    cluster.run_for(seconds(11)).await;
    assert_eq!(
        token(&sources.resolve("thanos", None).await.unwrap()),
        "new"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_source_has_the_secret_read_again() {
    let cluster = cluster();
    put_secret(&cluster, OWN, &json!({"token": "b2xk"}));
    let sources = sources(&cluster, &bearer());
    let listener = Listener::default();
    let endpoint = sources.resolve("thanos", None).await.unwrap();
    edit_secret(&cluster, json!({"token": "bmV3"}));
    *listener.answer.lock().unwrap() = Some(QueryError::Status(503));
    sources
        .ask(&listener, &endpoint, "api/v1/query", Vec::new())
        .await
        .unwrap_err();
    cluster.run_for(seconds(6)).await;
    assert_eq!(
        token(&sources.resolve("thanos", None).await.unwrap()),
        "old"
    );

    *listener.answer.lock().unwrap() = Some(QueryError::NotAuthorized(401));
    let told = sources
        .ask(&listener, &endpoint, "api/v1/query", Vec::new())
        .await;
    assert_eq!(
        told.unwrap_err(),
        "MetricSource \"thanos\": answered with HTTP status 401; check its auth, headers and tenant"
    );
    assert_eq!(
        token(&sources.resolve("thanos", None).await.unwrap()),
        "new"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_api_server_does_not_make_the_source_unusable() {
    let cluster = cluster();
    put_secret(&cluster, OWN, &json!({"token": "b2xk"}));
    let sources = sources(&cluster, &bearer());
    sources.resolve("thanos", None).await.unwrap();
    let mut rule = ApiRule::next(Verb::Get, kinds::SECRETS, ApiFault::RequestLost);
    rule.times = u32::MAX;
    cluster.break_api(rule);
    cluster.run_for(seconds(300)).await;
    assert_eq!(
        token(&sources.resolve("thanos", None).await.unwrap()),
        "old"
    );
    cluster.run_for(seconds(301)).await;
    let told = sources.resolve("thanos", None).await.unwrap_err();
    assert!(
        told.contains("Secret \"credentials\" in \"astern-system\" cannot be read"),
        "{told}"
    );
}

/// What RBAC took away is not used any longer than what was kept.
#[tokio::test(start_paused = true)]
async fn a_secret_that_may_not_be_read_any_more_is_not_used() {
    let cluster = cluster();
    put_secret(&cluster, OWN, &json!({"token": "b2xk"}));
    let sources = sources(&cluster, &bearer());
    sources.resolve("thanos", None).await.unwrap();
    cluster.run_for(seconds(61)).await;
    let forbidden = Error::Forbidden {
        message: "no".to_owned(),
    };
    let fault = ApiFault::Refused(forbidden);
    cluster.break_api(ApiRule::next(Verb::Get, kinds::SECRETS, fault));
    sources.resolve("thanos", None).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_secret_is_told_without_what_is_in_it() {
    let cluster = cluster();
    // In another namespace it is none of ours.
    put_secret(&cluster, "shop", &json!({"token": "b2xk"}));
    let sources = sources(&cluster, &bearer());
    let told = sources.resolve("thanos", None).await.unwrap_err();
    assert_eq!(
        told,
        "there is no Secret \"credentials\" in namespace \"astern-system\""
    );
    put_secret(&cluster, OWN, &json!({"other": "b2xk"}));
    for (data, expected) in [
        (json!({"other": "b2xk"}), "has no key \"token\""),
        (json!({"token": "Cg=="}), "is empty"),
        (json!({"token": "/w=="}), "is no text"),
        (json!({"token": "not base64!"}), "has no key \"token\""),
    ] {
        edit_secret(&cluster, data);
        cluster.run_for(seconds(61)).await;
        let told = sources.resolve("thanos", None).await.unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_place_for_a_secret_is_filled_and_doubted() {
    let cluster = cluster();
    put_secret(
        &cluster,
        OWN,
        &json!({
            "username": "dXNlcg==", "password": "cGFzcw==", "client-secret": "c2VjcmV0", "ca.crt": "Y2E=",
            "tls.crt": "Y2VydA==", "tls.key": "a2V5", "api": "YXBp",
        }),
    );
    let named = json!({"name": "credentials"});
    let tls = json!({"caSecretRef": named, "certSecretRef": named});
    let url = "https://thanos.example";
    let held = |text: &str| Credential::Value(Secret::new(text));
    let specs = [
        json!({"url": url, "auth": {"basic": {"secretRef": named}}}),
        json!({"url": url, "tls": tls}),
        json!({"url": url, "headers": [{"name": "X-Key", "secretRef": {"name": "credentials", "key": "api"}}]}),
        json!({"url": url, "auth": {"oauth2": {"tokenUrl": url, "clientId": "a", "secretRef": named}}}),
    ];
    for spec in &specs {
        assert!(secrets_of(&parsed(spec)).contains(&"credentials"), "{spec}");
    }
    let resolved = async |spec: &Value| {
        let endpoint = sources(&cluster, spec)
            .resolve("thanos", None)
            .await
            .unwrap();
        Access::clone(&endpoint.access)
    };
    let basic = Auth::Basic {
        username: Secret::new("user"),
        password: held("pass"),
    };
    assert_eq!(resolved(&specs[0]).await.auth, basic);
    let tls = resolved(&specs[1]).await.tls;
    assert_eq!(tls.authorities, Some(held("ca")));
    let identity = tls.identity.unwrap();
    assert_eq!(
        (identity.certificate, identity.key),
        (held("cert"), held("key"))
    );
    let headers = resolved(&specs[2]).await.headers;
    assert_eq!(headers, [("X-Key".to_owned(), Secret::new("api"))]);
    let Auth::OAuth2(grant) = resolved(&specs[3]).await.auth else {
        panic!("no grant");
    };
    assert_eq!(grant.client_secret, held("secret"));
}

fn tenants() -> Value {
    json!({"url": "http://mimir", "tenant": {"namespaceLabel": "team"}})
}

#[tokio::test(start_paused = true)]
async fn the_tenant_comes_from_the_namespace_of_the_policy() {
    let cluster = cluster();
    put_namespace(&cluster, &json!({"team": "payments"}));
    let sources = sources(&cluster, &tenants());
    let tenant = sources.admit("thanos", "shop").await.unwrap();
    assert_eq!(tenant.as_deref(), Some("payments"));
    let endpoint = sources.resolve("thanos", tenant.as_deref()).await.unwrap();
    let header = ("X-Scope-OrgID".to_owned(), Secret::new("payments"));
    assert_eq!(endpoint.access.headers, [header]);
    // Never as nobody in particular.
    sources.resolve("thanos", None).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_namespace_without_the_label_asks_nothing() {
    let cluster = cluster();
    let labelled = sources(&cluster, &tenants());
    let told = labelled.admit("thanos", "shop").await.unwrap_err();
    assert_eq!(told, "there is no namespace \"shop\"");
    put_namespace(&cluster, &json!({"team": "", "other": "payments"}));
    cluster.run_for(seconds(6)).await;
    let told = labelled.admit("thanos", "shop").await.unwrap_err();
    assert!(told.contains("has no label \"team\""), "{told}");
    let fixed = json!({"url": "http://mimir", "tenant": {"value": "shared"}});
    let tenant = sources(&cluster, &fixed).admit("thanos", "shop").await;
    assert_eq!(tenant, Ok(Some("shared".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn only_namespaces_that_are_allowed_may_ask() {
    let cluster = cluster();
    put_namespace(&cluster, &json!({"tier": "web"}));
    let source = |allowed: &Value| {
        sources(
            &cluster,
            &json!({"url": "http://thanos", "allowedNamespaces": allowed}),
        )
    };
    let named = json!({"names": ["shop"]});
    assert_eq!(source(&named).admit("thanos", "shop").await, Ok(None));
    let told = source(&named).admit("thanos", "pay").await.unwrap_err();
    assert!(
        told.contains("\"pay\" may not ask MetricSource \"thanos\""),
        "{told}"
    );
    for (value, may) in [("web", true), ("batch", false)] {
        let selected = json!({"selector": {"matchLabels": {"tier": value}}});
        assert_eq!(source(&selected).admit("thanos", "shop").await.is_ok(), may);
    }
    // Who is not there cannot be selected, not even by a selector that selects everything.
    source(&json!({"selector": {}}))
        .admit("thanos", "pay")
        .await
        .unwrap_err();
}

/// No labels, no request: the right to read namespaces is needed only by those who ask for it.
#[tokio::test(start_paused = true)]
async fn namespaces_are_read_only_where_it_matters() {
    let cluster = cluster();
    let mut rule = ApiRule::next(Verb::Get, kinds::NAMESPACES, ApiFault::RequestLost);
    rule.times = u32::MAX;
    cluster.break_api(rule);
    for allowed in [
        json!(null),
        json!({"names": ["shop"], "selector": {"matchLabels": {"a": "b"}}}),
    ] {
        let spec = json!({"url": "http://thanos", "allowedNamespaces": allowed});
        assert_eq!(
            sources(&cluster, &spec).admit("thanos", "shop").await,
            Ok(None)
        );
    }
    let selected = json!({"url": "http://thanos", "allowedNamespaces": {"selector": {}}});
    let told = sources(&cluster, &selected)
        .admit("thanos", "shop")
        .await
        .unwrap_err();
    assert!(
        told.contains("labels of namespace \"shop\" cannot be read"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_source_is_told() {
    let sources = sources(&cluster(), &bearer());
    let told = Err("there is no MetricSource \"mimir\"".to_owned());
    assert_eq!(sources.admit("mimir", "shop").await, told);
    assert_eq!(sources.resolve("mimir", None).await.err(), told.err());
}
