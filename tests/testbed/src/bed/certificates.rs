//! The certificate authority of one bed.
//!
//! Each bed has its own, so a certificate proves more than an identity: whoever shows one that
//! verifies belongs to this bed and to no other on the machine.

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Organization, once more: `rcgen` keeps one entry per kind, and groups may be two.
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];

/// Signs the certificates of one bed.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate_pem: String,
    pub key_pem: String,
}

impl Authority {
    pub(crate) fn create() -> anyhow::Result<Self> {
        let key = KeyPair::generate().context("cannot make a key for the authority")?;
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.distinguished_name = common_name("astern-testbed");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = parameters
            .self_signed(&key)
            .context("cannot sign the authority's certificate")?;
        Ok(Self {
            issuer: Issuer::new(parameters, key),
            certificate_pem: certificate.pem(),
        })
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a certificate for a server on `address` that is a client of its peers as well.
    pub(crate) fn server(&self, name: &str, address: Ipv4Addr) -> anyhow::Result<Identity> {
        let names = [
            &address.to_string(),
            "127.0.0.1",
            // The address of the Service `kubernetes`: the first of the service range.
            "10.96.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name = common_name(name);
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue(parameters)
    }

    /// Issues a certificate by which Kubernetes knows a user and their groups.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> anyhow::Result<Identity> {
        let mut subject = common_name(user);
        let kinds = [
            DnType::OrganizationName,
            DnType::CustomDnType(ORGANIZATION.to_vec()),
        ];
        if groups.len() > kinds.len() {
            bail!(
                "user {user:?} has {} groups, and a certificate of the test bed holds {}; give it fewer",
                groups.len(),
                kinds.len(),
            );
        }
        for (kind, group) in kinds.into_iter().zip(groups) {
            subject.push(kind, DnValue::Utf8String((*group).to_owned()));
        }
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.distinguished_name = subject;
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(parameters)
    }

    fn issue(&self, mut parameters: CertificateParams) -> anyhow::Result<Identity> {
        let key = KeyPair::generate().context("cannot make a key")?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let certificate: Certificate = parameters
            .signed_by(&key, &self.issuer)
            .context("cannot sign a certificate")?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Makes the pair of keys that signs and checks the tokens of service accounts.
pub(crate) fn token_keys() -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate().context("cannot make a key for service accounts")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    subject
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn two_groups_fit_into_a_certificate_and_three_are_refused() {
        let authority = Authority::create().unwrap();
        assert!(authority.client("ana", &["one", "two"]).is_ok());
        let message = authority
            .client("ana", &["one", "two", "three"])
            .unwrap_err()
            .to_string();
        assert!(message.contains("give it fewer"), "{message}");
    }

    #[test]
    fn two_authorities_share_nothing() {
        let first = Authority::create().unwrap();
        let second = Authority::create().unwrap();
        assert_ne!(first.certificate_pem(), second.certificate_pem());
    }
}
