//! What a GitOps reconciler would do to a rollback, and what to do about it.
//!
//! It neither finds the reconciler nor reads it: that is observed. A reconciler that could not be read
//! is not known, and what is not known is never taken for a rollback that sticks.

mod met;

use jiff::SignedDuration;

pub use met::{LOOK_EVERY, Met, PauseMark, Seen};

/// What deploys a Deployment, or owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tool {
    FluxKustomization,
    FluxHelmRelease,
    ArgoCd,
    /// Helm by hand or from a pipeline: nothing runs between two deploys.
    Helm,
    /// Another controller owns the Deployment and makes its template.
    Operator,
}

/// Keeps Flux's Kustomizations from an object: not applied, not corrected, not pruned.
const KUSTOMIZATION_PAUSE: (&str, &str) = ("kustomize.toolkit.fluxcd.io/reconcile", "disabled");
/// Keeps the drift correction of Flux's `HelmReleases` from an object. It does not stop an upgrade.
const HELM_RELEASE_PAUSE: (&str, &str) = ("helm.toolkit.fluxcd.io/driftDetection", "disabled");

impl Tool {
    /// Every tool, for what must look at all of them.
    pub const ALL: [Self; 5] = [
        Self::FluxKustomization,
        Self::FluxHelmRelease,
        Self::ArgoCd,
        Self::Helm,
        Self::Operator,
    ];

    /// Returns the key and the value of the annotation on a Deployment that keeps this tool away.
    #[must_use]
    pub const fn pause_annotation(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::FluxKustomization => Some(KUSTOMIZATION_PAUSE),
            Self::FluxHelmRelease => Some(HELM_RELEASE_PAUSE),
            Self::ArgoCd | Self::Helm | Self::Operator => None,
        }
    }

    /// Returns what stands before the kind of its objects.
    const fn family(self) -> &'static str {
        match self {
            Self::FluxKustomization | Self::FluxHelmRelease => "Flux ",
            Self::ArgoCd => "Argo CD ",
            Self::Helm | Self::Operator => "",
        }
    }
}

/// Who deploys a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciler {
    pub tool: Tool,
    /// Where it lives. Empty where that is not known.
    pub namespace: String,
    pub name: String,
    /// The kind of the object that tells it what to do.
    pub kind: String,
    /// `None`: it could not be read.
    pub state: Option<ReconcilerState>,
    /// A mark on the Deployment keeps it away.
    pub paused: bool,
}

impl Reconciler {
    /// Names it for people: `Flux Kustomization flux-system/apps`.
    #[must_use]
    pub fn title(&self) -> String {
        let Self {
            tool,
            namespace,
            name,
            kind,
            ..
        } = self;
        let family = tool.family();
        if namespace.is_empty() {
            format!("{family}{kind} {name}")
        } else {
            format!("{family}{kind} {namespace}/{name}")
        }
    }

    /// Returns what it has tried to deploy last, as far as that could be read.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.state.as_ref()?.revision.as_deref()
    }
}

/// What a reconciler was told to do, and how far it got.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own in the object that was read"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcilerState {
    /// It undoes what others changed, without a commit.
    pub corrects_drift: bool,
    /// It deploys what Git says without being asked.
    pub follows_git: bool,
    /// How soon it corrects drift.
    pub every: Option<SignedDuration>,
    /// What it has tried to deploy last.
    pub revision: Option<String>,
    pub suspended: bool,
    /// The Rollbacks beside the Deployment that hold it switched off: Applications only.
    pub held_by: Vec<String>,
    /// Something else makes this object and would undo a change to it: an `ApplicationSet`, an
    /// Application of applications, Flux.
    pub managed_by_set: bool,
}

/// What a policy wants where a reconciler owns the Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRollback {
    /// Acts where it sticks, pauses one object where that is known to end by itself, else asks.
    #[default]
    Auto,
    /// Asks whenever a reconciler is at work.
    Hold,
    /// As `Auto`, but pauses also a reconciler that could not be read, so that a person may have to
    /// end the pause.
    Pause,
    /// Acts, and pauses nothing.
    Proceed,
}

/// How to keep a reconciler away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// On the Deployment itself, in the same write as the rollback.
    Annotation {
        key: &'static str,
        value: &'static str,
    },
    /// The automated sync of an Argo CD Application, with all that belongs to it.
    Application { namespace: String, name: String },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    Act,
    ActAndPause(Pause),
    Hold {
        /// Who would undo it, and when.
        why: String,
        /// What an approval is consent to, besides the rollback.
        consent: Option<Pause>,
    },
}

/// What becomes of a rollback that nobody protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nobody is at work.
    Stays,
    /// It stays until Git, or the chart, changes.
    StaysUntilNextChange,
    Undone,
    NotKnown,
}

/// Returns what to do about `reconciler`, which owns the Deployment to be rolled back.
///
/// | | kept away, suspended, plain Helm | no drift correction | undoes it | not known |
/// |---|---|---|---|---|
/// | `Auto` | act | act | pause what ends by itself, else hold | hold |
/// | `Pause` | act | act | pause, else hold | pause by annotation, else hold |
/// | `Hold` | act | hold | hold | hold |
/// | `Proceed` | act | act | act | act |
///
/// A pause is one annotation for Flux; for Argo CD it is the Application's automated sync, where
/// Astern may write Applications and nothing else makes this one. An operator cannot be paused. A
/// pause ends by itself only if the reconciler's revision is known, or Git would be cut off for good.
///
/// `consented` says that people approved the held rollback, and the pause that it named with it;
/// where none can be had, they know that it may be undone, and it is acted all the same.
#[must_use]
pub fn plan(
    reconciler: Option<&Reconciler>,
    on_rollback: OnRollback,
    consented: bool,
    may_pause_applications: bool,
) -> Plan {
    let Some(reconciler) = reconciler else {
        return Plan::Act;
    };
    let pause = pause(reconciler, may_pause_applications);
    let wanted = match (on_rollback, fate(reconciler)) {
        (OnRollback::Proceed, _)
        | (_, Fate::Stays)
        | (OnRollback::Auto | OnRollback::Pause, Fate::StaysUntilNextChange) => return Plan::Act,
        (OnRollback::Hold, Fate::StaysUntilNextChange) => {
            return if consented {
                Plan::Act
            } else {
                hold(reconciler, None)
            };
        }
        (OnRollback::Auto, Fate::Undone) => reconciler.revision().is_some(),
        (OnRollback::Pause, Fate::Undone | Fate::NotKnown) => true,
        (OnRollback::Auto, Fate::NotKnown) | (OnRollback::Hold, Fate::Undone | Fate::NotKnown) => {
            false
        }
    };
    match pause {
        Some(pause) if wanted || consented => Plan::ActAndPause(pause),
        None if consented => Plan::Act,
        consent => hold(reconciler, consent),
    }
}

fn hold(reconciler: &Reconciler, consent: Option<Pause>) -> Plan {
    Plan::Hold {
        why: undone(reconciler),
        consent,
    }
}

fn fate(reconciler: &Reconciler) -> Fate {
    if reconciler.paused {
        return Fate::Stays;
    }
    match (reconciler.tool, &reconciler.state) {
        (Tool::Helm, _) => Fate::Stays,
        (Tool::Operator, _) => Fate::Undone,
        (Tool::FluxKustomization | Tool::FluxHelmRelease | Tool::ArgoCd, None) => Fate::NotKnown,
        (Tool::FluxKustomization | Tool::FluxHelmRelease | Tool::ArgoCd, Some(state)) => {
            if state.suspended {
                Fate::Stays
            } else if state.corrects_drift {
                Fate::Undone
            } else {
                Fate::StaysUntilNextChange
            }
        }
    }
}

/// Returns the least that keeps `reconciler` away.
fn pause(reconciler: &Reconciler, may_pause_applications: bool) -> Option<Pause> {
    match reconciler.tool {
        Tool::FluxKustomization | Tool::FluxHelmRelease => {
            let (key, value) = reconciler.tool.pause_annotation()?;
            Some(Pause::Annotation { key, value })
        }
        Tool::ArgoCd => {
            let state = reconciler.state.as_ref()?;
            let works = may_pause_applications && state.corrects_drift && !state.managed_by_set;
            works.then(|| Pause::Application {
                namespace: reconciler.namespace.clone(),
                name: reconciler.name.clone(),
            })
        }
        Tool::Helm | Tool::Operator => None,
    }
}

/// Says for people who would undo a rollback, and when.
#[must_use]
pub fn undone(reconciler: &Reconciler) -> String {
    let who = reconciler.title();
    let Some(state) = &reconciler.state else {
        return match reconciler.tool {
            Tool::Operator => {
                format!("{who} owns the Deployment, and its controller puts its own template back")
            }
            Tool::Helm => format!("{who} puts the chart's template back at its next upgrade"),
            Tool::FluxKustomization | Tool::FluxHelmRelease | Tool::ArgoCd => {
                format!("{who} may put its template back at any time; it could not be read")
            }
        };
    };
    let what = match reconciler.tool {
        Tool::FluxHelmRelease | Tool::Helm => "the chart's template",
        Tool::FluxKustomization | Tool::ArgoCd | Tool::Operator => "Git's template",
    };
    let made = if state.managed_by_set && reconciler.tool == Tool::ArgoCd {
        "; another object makes that Application and would undo a pause of it"
    } else {
        ""
    };
    format!("{who} puts {what} back {}{made}", when(reconciler, state))
}

fn when(reconciler: &Reconciler, state: &ReconcilerState) -> String {
    if state.corrects_drift {
        return match state.every {
            Some(every) => format!("within {every:#}"),
            None => "soon".to_owned(),
        };
    }
    match (reconciler.tool, state.follows_git) {
        (Tool::FluxHelmRelease | Tool::Helm, _) => "at its next upgrade",
        (Tool::FluxKustomization | Tool::ArgoCd | Tool::Operator, true) => "with the next commit",
        (Tool::FluxKustomization | Tool::ArgoCd | Tool::Operator, false) => "at the next sync",
    }
    .to_owned()
}

/// Returns whether Git has moved since `recorded_revision` was noted down, so that what the
/// reconciler deploys now deserves another chance.
///
/// Where either is not known, only a person can end the pause.
#[must_use]
pub fn pause_ends(recorded_revision: &str, reconciler: &Reconciler) -> bool {
    let moved = |revision| revision != recorded_revision;
    !recorded_revision.is_empty() && reconciler.revision().is_some_and(moved)
}

/// Returns whether a pause with `mark` has no purpose any more: Git has moved, a person ended it, or
/// there is nobody to keep away.
#[must_use]
pub fn is_over(mark: &PauseMark, reconciler: Option<&Reconciler>) -> bool {
    let Some(reconciler) = reconciler else {
        return true;
    };
    let kept_away = match reconciler.tool {
        Tool::FluxKustomization | Tool::FluxHelmRelease => reconciler.paused,
        // One that could not be read may still be off.
        Tool::ArgoCd => reconciler
            .state
            .as_ref()
            .is_none_or(|state| state.held_by.contains(&mark.rollback)),
        Tool::Helm | Tool::Operator => false,
    };
    !kept_away || pause_ends(&mark.revision, reconciler)
}

/// Returns the changes from the revision that deployed `good` to the one that deployed `bad`, as Git
/// spells ranges: `1234abc..5678def`. `None` where nothing tells them apart.
///
/// It takes what Flux reports (`main@sha1:…`, before 2.0 `main/…`, the version of a chart or of an OCI
/// artifact) and Argo CD (`…`, and one for each source, separated by commas).
#[must_use]
pub fn range(good: Option<&str>, bad: Option<&str>) -> Option<String> {
    let good: Vec<&str> = good?.split(',').collect();
    let bad: Vec<&str> = bad?.split(',').collect();
    // Sources were added or removed: which is which is not known.
    if good.len() != bad.len() {
        return None;
    }
    let ranges = good.into_iter().zip(bad);
    let ranges: Vec<String> = ranges
        .filter_map(|(good, bad)| between(good, bad))
        .collect();
    (!ranges.is_empty()).then(|| ranges.join(", "))
}

/// Divides the version of a chart from what tells its values.
pub const VALUES: char = '#';
/// Hexadecimal digits of a commit, and of a content.
const COMMIT: usize = 40;
const CONTENT: usize = 64;

fn between(good: &str, bad: &str) -> Option<String> {
    let version = |revision| str::split(revision, VALUES).next().unwrap_or_default();
    let (good, bad) = (version(good), version(bad));
    let same_kind = |digits| Some((digest(good, digits)?, digest(bad, digits)?));
    let label = |revision| str::split(revision, '@').next().unwrap_or_default();
    let labels = (label(good), label(bad));
    let (from, to) = if let Some(commits) = same_kind(COMMIT) {
        commits
    } else if labels.0 == labels.1 {
        same_kind(CONTENT)?
    } else {
        labels
    };
    let told = from != to && !from.is_empty() && !to.is_empty();
    told.then(|| format!("{from}..{to}"))
}

/// Returns the digest that ends `revision`, if it has so many digits.
fn digest(revision: &str, digits: usize) -> Option<&str> {
    let last = revision.rsplit([':', '/', '@']).next()?;
    let hexadecimal = last.bytes().all(|byte| byte.is_ascii_hexdigit());
    (last.len() == digits && hexadecimal).then_some(last)
}

#[cfg(test)]
mod tests;
