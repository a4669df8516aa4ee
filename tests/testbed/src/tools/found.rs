//! Tools that are already on the machine.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use super::Tool;

/// Returns the tool on `PATH`, if its version fits.
pub(super) fn on_path(tool: Tool) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    tool.names().find_map(|name| {
        let file = std::env::split_paths(&path)
            .map(|directory| directory.join(name))
            .find(|file| file.is_file())?;
        let output = Command::new(&file)
            .args(version_arguments(tool))
            .stdin(Stdio::null())
            .output()
            .ok()?;
        fits(tool, &String::from_utf8_lossy(&output.stdout)).then_some(file)
    })
}

fn version_arguments(tool: Tool) -> &'static [&'static str] {
    match tool {
        Tool::Kubectl => &["version", "--client"],
        Tool::Helm | Tool::Helm3 => &["version", "--short"],
        Tool::Etcd
        | Tool::ApiServer
        | Tool::ControllerManager
        | Tool::Scheduler
        | Tool::Prometheus => &["--version"],
    }
}

/// Says whether what a tool prints about itself is a version that the bed was tried with.
fn fits(tool: Tool, printed: &str) -> bool {
    let wanted: &[&str] = match tool {
        Tool::Etcd => &["etcd Version: 3.6.", "etcd Version: 3.7."],
        Tool::Helm => &["v4."],
        // Deploying has not changed since 3.0.
        Tool::Helm3 => &["v3."],
        Tool::Kubectl => &["Client Version: v1.37."],
        Tool::ApiServer | Tool::ControllerManager | Tool::Scheduler => &["Kubernetes v1.37."],
        Tool::Prometheus => &["prometheus, version 3.7."],
    };
    wanted.iter().any(|start| printed.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::{Tool, fits};

    #[test]
    fn only_versions_that_were_tried_fit() {
        for (tool, printed, expected) in [
            (Tool::Etcd, "etcd Version: 3.7.0\nGit SHA: x\n", true),
            (Tool::Etcd, "etcd Version: 3.5.17\n", false),
            (Tool::Helm, "v4.3.1+gabcdef", true),
            (Tool::Helm, "v3.19.0+gabcdef", false),
            (Tool::Helm3, "v3.19.0+gabcdef", true),
            (Tool::Helm3, "v4.3.1+gabcdef", false),
            (
                Tool::Kubectl,
                "Client Version: v1.37.2\nKustomize Version: v5.8.1\n",
                true,
            ),
            (Tool::Kubectl, "Client Version: v1.32.4-dispatcher\n", false),
            (Tool::ApiServer, "Kubernetes v1.37.0\n", true),
            (Tool::ApiServer, "Kubernetes v1.3.70\n", false),
            (
                Tool::Prometheus,
                "prometheus, version 3.7.3 (branch: HEAD)\n",
                true,
            ),
            (
                Tool::Prometheus,
                "prometheus, version 2.55.1 (branch: HEAD)\n",
                false,
            ),
            (Tool::Scheduler, "", false),
        ] {
            assert_eq!(fits(tool, printed), expected, "{tool:?} {printed:?}");
        }
    }
}
