//! The Deployment that a command is about, in the spellings that kubectl takes.

/// Kubectl's own names of the one kind that Astern looks after.
const DEPLOYMENT: [&str; 6] = [
    "deployment",
    "deployments",
    "deploy",
    "deployment.apps",
    "deployments.apps",
    "deployments.v1.apps",
];

/// Returns the name in `deployment/NAME` or `deployment NAME`.
///
/// # Errors
///
/// When it is spelled otherwise, or another kind; the message says how to spell it.
pub fn deployment(words: &[String]) -> anyhow::Result<String> {
    let (kind, name) = match words {
        [both] => both.split_once('/').ok_or_else(|| {
            anyhow::anyhow!("{both:?} has no kind; name the Deployment as deployment/{both}")
        })?,
        [kind, name] if !kind.contains('/') && !name.contains('/') => {
            (kind.as_str(), name.as_str())
        }
        [] | [_, ..] => anyhow::bail!(
            "name one Deployment, as deployment/NAME; {} words were given",
            words.len()
        ),
    };
    if !DEPLOYMENT.contains(&kind.to_lowercase().as_str()) {
        anyhow::bail!("Astern looks after Deployments, and {kind:?} is none; use deployment/NAME");
    }
    let good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if name.is_empty() || !name.bytes().all(good) {
        anyhow::bail!("{name:?} is no name of a Deployment; use deployment/NAME");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        deployment(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn a_deployment_is_named_as_with_kubectl() {
        for text in [
            "deployment/checkout",
            "deployments/checkout",
            "deploy/checkout",
            "Deployment/checkout",
            "deployment.apps/checkout",
            "deployments.v1.apps/checkout",
            "deployment checkout",
            "deploy checkout",
        ] {
            assert_eq!(read(text), Ok("checkout".to_owned()), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_named_is_refused_with_the_right_spelling() {
        for text in [
            "checkout",
            "statefulset/web",
            "pod checkout-1",
            "deployment/",
            "deployment/a/b",
            "deployment checkout payments",
            "deployment/checkout deployment/payments",
            "deployment/Checkout",
            "deployment/che?ckout",
            "",
        ] {
            let problem = read(text).expect_err(text);
            assert!(problem.contains("deployment/"), "{text}: {problem}");
        }
    }
}
