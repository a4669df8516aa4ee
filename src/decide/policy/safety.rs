//! What keeps a rollback from doing harm.

use std::collections::BTreeSet;

use jiff::SignedDuration;

/// What happens to the configuration that a revision refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTerms {
    pub mode: ConfigMode,
    /// Names of objects that are left alone.
    pub exclude: BTreeSet<String>,
}

/// How much Astern does about configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigMode {
    Ignore,
    /// People are asked where it has changed.
    Check,
    /// What has changed is restored, as copies.
    Restore,
}

/// What admission does about a rule that is broken. One ladder everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Enforcement {
    Disabled,
    Warn,
    Deny,
}

impl Enforcement {
    /// The spelling in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Warn => "Warn",
            Self::Deny => "Deny",
        }
    }
}

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub count: u32,
    pub per: SignedDuration,
}

/// How long a bad revision should not be deployed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineTerms {
    pub lasting: SignedDuration,
    pub enforcement: Enforcement,
}

/// When to find out whether a rollback would work. What the words mean is known where policies are read
/// and workloads observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillTerms {
    /// Five fields as in cron.
    pub schedule: String,
    /// Name of a time zone of the IANA database.
    pub time_zone: String,
}
