//! Questions about one's own rights. Writes are not held to them: this cluster knows no RBAC.

use serde_json::{Value, json};

use super::fields::{set, text};
use super::writes::Verb;
use super::{Met, SimulatedCluster, lost};
use crate::port::{Error, kinds};

impl SimulatedCluster {
    /// Makes the answer to whether Astern may `verb` a `resource`, such as `rollbacks/status`, a no.
    pub fn revoke(&self, verb: &str, resource: &str) {
        self.change(|world| world.revoked.insert(format!("{verb} {resource}")));
    }

    /// Makes the answer a yes again.
    pub fn grant(&self, verb: &str, resource: &str) {
        self.change(|world| world.revoked.remove(&format!("{verb} {resource}")));
    }

    /// Answers a `SelfSubjectAccessReview`. Nothing is stored, so it is no write either.
    pub(super) async fn review(&self, mut body: Value) -> Result<Value, Error> {
        let met = self.meet(Verb::Create, kinds::ACCESS_REVIEWS).await?;
        let attribute = |name: &str| text(&body, &format!("/spec/resourceAttributes/{name}"));
        let asked = format!("{} {}", attribute("verb"), attribute("resource"));
        let asked = match attribute("subresource") {
            "" => asked,
            subresource => format!("{asked}/{subresource}"),
        };
        let allowed = !self.world().revoked.contains(&asked);
        set(&mut body, &["status"], json!({"allowed": allowed}));
        match met {
            Met::Nothing => Ok(body),
            Met::LosesTheAnswer => Err(lost()),
        }
    }
}
