//! Kubectl's own flags for which cluster, which user and which namespace.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::api::parse::duration;
use crate::port::kube::KubePort;

/// Kubectl's flags. What is not given comes from the kubeconfig.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct Connection {
    /// Namespace of the Deployment; the context's own if not given.
    #[arg(short, long)]
    pub namespace: Option<String>,

    /// Context of the kubeconfig to use.
    #[arg(long)]
    pub context: Option<String>,

    /// Path of the kubeconfig file.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Cluster of the kubeconfig to use.
    #[arg(long)]
    pub cluster: Option<String>,

    /// User of the kubeconfig to use.
    #[arg(long)]
    pub user: Option<String>,

    /// Username to impersonate.
    #[arg(long = "as", value_name = "USER")]
    pub as_user: Option<String>,

    /// Group to impersonate; may be given more than once.
    #[arg(long = "as-group", value_name = "GROUP")]
    pub as_groups: Vec<String>,

    /// How long one request may take, such as 30s or 2m; 0 stands for the default of each request.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = request_timeout)]
    pub request_timeout: RequestTimeout,
}

/// A limit for one request; `None` leaves it to who sends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimeout(pub Option<Duration>);

/// An API server that can be asked.
pub struct Connected {
    pub port: KubePort,
    pub namespace: String,
}

impl Connection {
    /// Sets up the client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When there is no usable kubeconfig, or it has no such context.
    pub async fn open(&self) -> anyhow::Result<Connected> {
        let config = self.config().await?;
        let namespace = self.namespace_or(&config.default_namespace);
        let port = KubePort::with_config(config)?;
        Ok(Connected { port, namespace })
    }

    /// Returns the namespace that was asked for, or `otherwise`.
    #[must_use]
    pub fn namespace_or(&self, otherwise: &str) -> String {
        self.namespace
            .clone()
            .unwrap_or_else(|| otherwise.to_owned())
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot use --kubeconfig {}", path.display()))?;
                Config::from_custom_kubeconfig(file, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        }
        .or_else(|problem| self.in_cluster().ok_or(problem))
        .context("cannot use the kubeconfig; name one with --kubeconfig or KUBECONFIG")?;
        if let Some(user) = &self.as_user {
            config.auth_info.impersonate = Some(user.clone());
        }
        if !self.as_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(self.as_groups.clone());
        }
        Ok(config)
    }

    /// A pod without a kubeconfig is its own user, unless another one was asked for.
    fn in_cluster(&self) -> Option<Config> {
        let particular = [&self.context, &self.cluster, &self.user];
        let chosen = self.kubeconfig.is_some() || particular.iter().any(|flag| flag.is_some());
        if chosen {
            return None;
        }
        Config::incluster().ok()
    }
}

/// As kubectl reads it: a number of seconds, or a number with a unit.
fn request_timeout(text: &str) -> Result<RequestTimeout, String> {
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    let limit = duration::parse(&seconds).map_err(|problem| problem.to_string())?;
    Ok(RequestTimeout(
        (!limit.is_zero()).then_some(limit.unsigned_abs()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_spelled_as_with_kubectl() {
        for (text, seconds) in [
            ("0", None),
            ("0s", None),
            ("30", Some(30)),
            ("90s", Some(90)),
            ("2m", Some(120)),
        ] {
            let expected = RequestTimeout(seconds.map(Duration::from_secs));
            assert_eq!(request_timeout(text), Ok(expected), "{text}");
        }
        for text in ["", "soon", "-1", "1d"] {
            assert!(request_timeout(text).is_err(), "{text}");
        }
    }
}
