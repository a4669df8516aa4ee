//! In whose name writes go out.

use kube::api::{PatchParams, PostParams};

/// In whose name writes go out, and whether they are only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writing {
    manager: &'static str,
    dry_run: bool,
}

/// Field manager of what people write with `kubectl astern`. It does not begin with `kubectl`: Flux
/// takes away what such managers wrote.
const PERSON: &str = "astern-cli";

impl Writing {
    pub(super) const fn of_the_operator(manager: &'static str) -> Self {
        Self {
            manager,
            dry_run: false,
        }
    }

    pub(super) const fn of_a_person(dry_run: bool) -> Self {
        Self {
            manager: PERSON,
            dry_run,
        }
    }

    pub(super) fn creating(self) -> PostParams {
        PostParams {
            field_manager: Some(self.manager.to_owned()),
            dry_run: self.dry_run,
        }
    }

    pub(super) fn patching(self) -> PatchParams {
        PatchParams {
            field_manager: Some(self.manager.to_owned()),
            dry_run: self.dry_run,
            ..PatchParams::default()
        }
    }
}
