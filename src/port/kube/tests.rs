//! Every answer of the API server has one meaning, and no name leads elsewhere.

use serde_json::json;

use super::answer::refusal;
use super::*;
use crate::port::kinds;

#[track_caller]
fn check(code: u16, body: &Value, expected: &Error) {
    assert_eq!(&refusal(code, None, body.to_string().as_bytes()), expected);
}

fn message() -> String {
    "said so".to_owned()
}

#[test]
fn codes_and_reasons_become_errors() {
    let status = |reason: &str| json!({ "kind": "Status", "reason": reason, "message": "said so" });
    check(404, &status("NotFound"), &Error::NotFound);
    check(409, &status("AlreadyExists"), &Error::AlreadyExists);
    check(
        409,
        &status("Conflict"),
        &Error::Conflict { message: message() },
    );
    check(
        422,
        &status("Invalid"),
        &Error::Invalid { message: message() },
    );
    check(
        403,
        &status("Forbidden"),
        &Error::Forbidden { message: message() },
    );
    for code in [410, 429, 500, 503, 504] {
        let unavailable = Error::Unavailable {
            message: message(),
            retry_after: None,
        };
        check(code, &status("Other"), &unavailable);
    }
    let unexpected = Error::Unexpected {
        status: 401,
        message: message(),
    };
    check(401, &status("Unauthorized"), &unexpected);
}

#[test]
fn header_comes_before_the_status_object_in_how_long_to_wait() {
    let body = json!({ "message": "said so", "details": { "retryAfterSeconds": 7 } });
    let wait = |header| {
        let answer = refusal(429, header, body.to_string().as_bytes());
        let Error::Unavailable { retry_after, .. } = answer else {
            panic!("unexpected {answer:?}");
        };
        retry_after
    };
    assert_eq!(wait(None), Some(SignedDuration::from_secs(7)));
    let header = SignedDuration::from_secs(2);
    assert_eq!(wait(Some(header)), Some(header));
}

#[test]
fn answer_in_plain_text_is_clipped_between_characters() {
    let text = "ä".repeat(3000);
    let expected = Error::Unexpected {
        status: 400,
        message: "ä".repeat(1024),
    };
    assert_eq!(refusal(400, None, text.as_bytes()), expected);
}

#[test]
fn names_that_would_change_the_request_are_not_found() {
    for name in [
        "",
        "..",
        "a/b",
        "a?dryRun=All",
        "a%2fb",
        "a b",
        &"a".repeat(254),
    ] {
        let object = ObjectRef::new(kinds::PODS, "shop", name);
        assert_eq!(path_of(&object), Err(Error::NotFound), "{name:?}");
        let object = ObjectRef::new(kinds::PODS, name, "checkout");
        assert_eq!(path_of(&object), Err(Error::NotFound), "{name:?}");
    }
}

#[test]
fn paths_follow_group_and_scope() {
    let pod = ObjectRef::new(kinds::PODS, "shop", "checkout-1");
    assert_eq!(path_of(&pod).unwrap(), "/api/v1/namespaces/shop/pods");
    let source = ObjectRef::new(kinds::METRIC_SOURCES, "", "default");
    assert_eq!(
        path_of(&source).unwrap(),
        "/apis/astern.dev/v1alpha1/metricsources"
    );
    assert_eq!(
        collection_path(kinds::DEPLOYMENTS, None).unwrap(),
        "/apis/apps/v1/deployments"
    );
}
