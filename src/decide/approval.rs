//! Who has answered a proposal.
//!
//! The API server has checked that nobody wrote an entry in another's name; here the entry is held
//! against the proposal that it must quote.

use jiff::Timestamp;

use super::{Approval, Entry, EntryKind, Incident, Observed};

/// Robots hold every verb in many clusters, so they are nobody's consent unless a policy lists them.
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// What the record takes. Nobody who has to type it has a longer name.
const USERNAME_MAX: usize = 512;
const REASON_MAX: usize = 1024;

/// Returns the approvals gathered so far with those that `observed` adds, one per person.
#[must_use]
pub fn gathered(
    observed: &Observed,
    incident: &Incident,
    rollback: &str,
    now: Timestamp,
) -> Vec<Approval> {
    let mut approvals = incident.approvals.clone();
    for (username, _) in valid(observed, incident, rollback, EntryKind::Approve) {
        let known = approvals
            .iter()
            .any(|approval| approval.username == username);
        if !known && !asked_and_may_not(incident, username) {
            approvals.push(Approval {
                username: username.to_owned(),
                at: now,
                break_glass: None,
            });
        }
    }
    for (username, reason) in valid(observed, incident, rollback, EntryKind::BreakGlass) {
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        let Some(reason) = reason.filter(|_| !username.starts_with(SERVICE_ACCOUNT_PREFIX)) else {
            continue;
        };
        // An emergency takes the place of the same person's approval.
        approvals.retain(|approval| approval.username != username);
        approvals.push(Approval {
            username: username.to_owned(),
            at: now,
            break_glass: Some(reason.chars().take(REASON_MAX).collect()),
        });
    }
    approvals
}

/// Whether `approvals` are what the terms of `incident` ask for.
#[must_use]
pub fn is_enough(incident: &Incident, approvals: &[Approval]) -> bool {
    let count = u32::try_from(approvals.len()).unwrap_or(u32::MAX);
    count >= incident.approval.required || broken_glass(approvals).is_some()
}

/// Returns the approval that was enough by itself.
#[must_use]
pub fn broken_glass(approvals: &[Approval]) -> Option<&Approval> {
    approvals
        .iter()
        .find(|approval| approval.break_glass.is_some())
}

/// Where two are required, two others than the one who asked look at it.
fn asked_and_may_not(incident: &Incident, username: &str) -> bool {
    let asked_by = incident.request.as_ref();
    let asked_by = asked_by.and_then(|asked| asked.requested_by.as_deref());
    incident.approval.required > 1 && asked_by == Some(username)
}

/// Returns the first person who said no.
#[must_use]
pub fn rejected_by<'a>(
    observed: &'a Observed,
    incident: &Incident,
    rollback: &str,
) -> Option<&'a str> {
    let rejected = valid(observed, incident, rollback, EntryKind::Reject).next();
    rejected.map(|(username, _)| username)
}

/// Returns who answered in this way, and why as far as they said it.
fn valid<'a, 'b>(
    observed: &'a Observed,
    incident: &'b Incident,
    rollback: &'b str,
    kind: EntryKind,
) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a, 'b> {
    observed
        .entries
        .iter()
        .filter(move |entry| observed.approvals_are_checked && entry.kind == kind)
        .filter_map(move |entry| {
            let username = username(entry, rollback, incident.code.as_deref()?)?;
            let counts = counts(username, &incident.approval.service_accounts);
            counts.then_some((username, entry.reason.as_deref()))
        })
}

/// Whether an answer of `username` counts: people's do, and those of the service accounts in `listed`,
/// which are written `<namespace>/<name>`.
fn counts(username: &str, listed: &[String]) -> bool {
    let Some(account) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX) else {
        return true;
    };
    account.split_once(':').is_some_and(|(namespace, name)| {
        listed.iter().any(|listed| {
            listed
                .split_once('/')
                .is_some_and(|listed| listed == (namespace, name))
        })
    })
}

/// Returns the name in `<rollback>/<code>:<username>`, if it quotes this rollback and code.
///
/// Names of objects hold no slash and the code no colon, but usernames may hold both.
fn username<'a>(entry: &'a Entry, rollback: &str, code: &str) -> Option<&'a str> {
    let username = entry
        .value
        .strip_prefix(rollback)?
        .strip_prefix('/')?
        .strip_prefix(code)?
        .strip_prefix(':')?;
    (!username.is_empty() && username.len() <= USERNAME_MAX).then_some(username)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<&str>) {
        let entry = Entry {
            kind: EntryKind::Approve,
            value: value.to_owned(),
            reason: None,
        };
        assert_eq!(username(&entry, "checkout-1a2b3c4d", "k7x2"), expected);
    }

    #[test]
    fn an_entry_counts_only_for_the_rollback_and_code_it_quotes() {
        check("checkout-1a2b3c4d/k7x2:alice", Some("alice"));
        check(
            "checkout-1a2b3c4d/k7x2:alice@example.com",
            Some("alice@example.com"),
        );
        check(
            "checkout-1a2b3c4d/k7x2:arn:aws:sts::1/role/alice",
            Some("arn:aws:sts::1/role/alice"),
        );
        check("checkout-1a2b3c4d/k7x3:alice", None);
        check("checkout-1a2b3c4/k7x2:alice", None);
        check("checkout-1a2b3c4d/k7x2", None);
        check("checkout-1a2b3c4d/k7x2:", None);
        check("checkout-1a2b3c4d/:alice", None);
        check("", None);
    }

    #[test]
    fn a_name_that_the_record_does_not_take_does_not_count() {
        let longest = "a".repeat(512);
        check(&format!("checkout-1a2b3c4d/k7x2:{longest}"), Some(&longest));
        check(&format!("checkout-1a2b3c4d/k7x2:{longest}a"), None);
    }

    #[test]
    fn a_robot_is_nobodys_consent_unless_it_is_listed() {
        let robot = "system:serviceaccount:argocd:controller";
        let listed = |names: &[&str]| -> Vec<String> {
            let names = names.iter();
            names.map(|name| (*name).to_owned()).collect()
        };
        assert!(!counts(robot, &[]));
        assert!(!counts(
            robot,
            &listed(&["argocd/other", "other/controller"])
        ));
        assert!(!counts(robot, &listed(&["argocd:controller", robot])));
        assert!(!counts("system:serviceaccount:", &listed(&["/"])));
        assert!(counts(robot, &listed(&["ci/bot", "argocd/controller"])));
        assert!(counts("alice", &[]));
    }
}
