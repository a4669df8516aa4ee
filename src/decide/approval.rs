//! Who has answered a proposal.
//!
//! The API server has checked that nobody wrote an entry in another's name; here the entry is held
//! against the proposal that it must quote.

use jiff::Timestamp;

use super::{Approval, Entry, EntryKind, Incident, Observed};

/// Robots hold every verb in many clusters, so they are nobody's consent.
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// What the record takes. Nobody who has to type it has a longer name.
const USERNAME_MAX: usize = 512;

/// Returns the approvals gathered so far with those that `observed` adds, one per person.
#[must_use]
pub fn gathered(
    observed: &Observed,
    incident: &Incident,
    rollback: &str,
    now: Timestamp,
) -> Vec<Approval> {
    let mut approvals = incident.approvals.clone();
    for username in valid(observed, incident, rollback, EntryKind::Approve) {
        let known = approvals
            .iter()
            .any(|approval| approval.username == username);
        if !known {
            approvals.push(Approval {
                username: username.to_owned(),
                at: now,
            });
        }
    }
    approvals
}

/// Returns the first person who said no.
#[must_use]
pub fn rejected_by<'a>(
    observed: &'a Observed,
    incident: &Incident,
    rollback: &str,
) -> Option<&'a str> {
    valid(observed, incident, rollback, EntryKind::Reject).next()
}

fn valid<'a, 'b>(
    observed: &'a Observed,
    incident: &'b Incident,
    rollback: &'b str,
    kind: EntryKind,
) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
    observed
        .entries
        .iter()
        .filter(move |entry| observed.approvals_are_checked && entry.kind == kind)
        .filter_map(move |entry| username(entry, rollback, incident.code.as_deref()?))
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
    let fits = !username.is_empty() && username.len() <= USERNAME_MAX;
    (fits && !username.starts_with(SERVICE_ACCOUNT_PREFIX)).then_some(username)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<&str>) {
        let entry = Entry {
            kind: EntryKind::Approve,
            value: value.to_owned(),
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
    fn a_robot_is_nobodys_consent() {
        check(
            "checkout-1a2b3c4d/k7x2:system:serviceaccount:argocd:controller",
            None,
        );
    }
}
