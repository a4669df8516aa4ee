//! What is an address.
//!
//! Says nothing about whether anybody is there.

/// A user or a query in an address would be credentials that everybody can read; whether the rest is
/// an address at all is seen at the first query, but it must not be able to name another host than
/// the one that a reader sees.
pub(super) fn problem(url: &str) -> Option<&'static str> {
    let Some(rest) = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
    else {
        return Some("does not begin with http:// or https://");
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Some("must not hold a user");
    }
    if rest.contains(['?', '#']) {
        return Some("must not have a query or a fragment");
    }
    if !is_authority(authority) {
        return Some("has no valid host and port");
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte);
    (!path.bytes().all(good))
        .then_some("has a path with other characters than letters, digits and ._~/-")
}

fn is_authority(text: &str) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((address, rest)) = rest.split_once(']') else {
            return false;
        };
        let good = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
        if !address.bytes().all(good) {
            return false;
        }
        (address, rest)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !host.bytes().all(good) {
            return false;
        }
        (host, rest)
    };
    !host.is_empty() && (port.is_empty() || is_port(port))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| {
        !digits.starts_with('+') && digits.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn addresses_with_a_path_prefix_are_taken() {
        for url in [
            "http://prometheus.monitoring:9090",
            "https://mimir.example.com/prometheus",
            "https://mimir.example.com/prometheus/",
            "http://127.0.0.1:9090",
            "http://[::1]:9090/",
            "http://localhost",
        ] {
            assert_eq!(problem(url), None, "{url}");
        }
    }

    #[test]
    fn an_address_holds_no_secrets_and_no_tricks() {
        for url in [
            "prometheus:9090",
            "ftp://prometheus",
            "http://",
            "http:///path",
            "http://admin:secret@prometheus",
            "http://prometheus?token=secret",
            "http://prometheus/#fragment",
            "http://prometheus:99999",
            "http://prometheus:0",
            "http://prometheus:+80",
            "http://prometheus:",
            "http://a b",
            "http://prometheus/a b",
            "http://prometheus/%0d",
            "http://[::1",
            "http://[::1]x",
            "http://prometheus\\@evil",
        ] {
            assert!(problem(url).is_some(), "{url}");
        }
    }
}
