//! What an error of the HTTP library means to people.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::port::{QueryError, TlsProblem};

/// Says why `error` came. Its own text is neither shown nor logged: it may hold the address, and with
/// it the query.
pub(super) fn failed(error: &reqwest::Error) -> QueryError {
    let meaning = meaning(error);
    tracing::debug!(error = %meaning, "metric source gave no answer");
    meaning
}

fn meaning(error: &reqwest::Error) -> QueryError {
    if let Some(tls) = tls_error(error) {
        return QueryError::Tls(problem(tls));
    }
    if error.is_connect() {
        QueryError::Unreachable
    } else {
        QueryError::BrokenOff
    }
}

/// TLS reports through the errors of reading and writing, which hide their cause from
/// [`Error::source`].
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn problem(error: &rustls::Error) -> TlsProblem {
    if let rustls::Error::InvalidCertificate(reason) = error {
        return of_certificate(reason);
    }
    if let rustls::Error::AlertReceived(alert) = error
        && REFUSALS.contains(alert)
    {
        return TlsProblem::Refused;
    }
    TlsProblem::Handshake
}

/// What a server says that does not like our certificate, or the lack of one.
const REFUSALS: &[AlertDescription] = &[
    AlertDescription::AccessDenied,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRequired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::DecryptError,
    AlertDescription::UnknownCA,
    AlertDescription::UnsupportedCertificate,
];

fn of_certificate(reason: &CertificateError) -> TlsProblem {
    // The second: an authority of the same name, but not the same.
    if matches!(
        reason,
        CertificateError::UnknownIssuer | CertificateError::BadSignature
    ) {
        return TlsProblem::UnknownAuthority;
    }
    let expired = matches!(
        reason,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    );
    let named = matches!(
        reason,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    );
    match (expired, named) {
        (true, _) => TlsProblem::Expired,
        (false, true) => TlsProblem::WrongName,
        (false, false) => TlsProblem::Certificate,
    }
}
