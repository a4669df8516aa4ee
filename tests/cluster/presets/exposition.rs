//! Serves text as the products expose it, each target under a path of its own.
//!
//! A file holds one target after the other. `#!` begins one, and says which job scrapes it and what
//! service discovery knows about it. A value that changes with time is written three times: as it is
//! at first, right before the release, and after it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use astern_testbed::clock;
use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{native, row::Row};

/// The phases of a value.
const PHASES: usize = 3;
/// Until a target was asked so often, its values do not change.
const SCRAPES: usize = 2;

/// Something that Prometheus scrapes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its path on the server.
    pub(crate) path: String,
    pub(crate) job: String,
    /// What service discovery knows about it.
    pub(crate) meta: Vec<(String, String)>,
    lines: Vec<String>,
}

/// Reads the targets of a row.
pub(crate) fn targets(row: &Row) -> anyhow::Result<Vec<Target>> {
    let text = row.filled(row.exposition);
    let mut targets: Vec<Target> = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("#! ") {
            let mut meta: Vec<(String, String)> = header
                .split(' ')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let (_, job) = meta.remove(0);
            targets.push(Target {
                path: format!("/{}/{}", row.name, targets.len()),
                job,
                meta,
                lines: Vec::new(),
            });
        } else {
            let target = targets.last_mut().context("a line before the first #!")?;
            target.lines.push(line.to_owned());
        }
    }
    Ok(targets)
}

impl Target {
    fn page(&self, phase: usize) -> String {
        let mut page = String::new();
        for line in &self.lines {
            page.push_str(&value_of(line, phase));
            page.push('\n');
        }
        page
    }
}

/// Returns a line with one of its values.
fn value_of(line: &str, phase: usize) -> String {
    let Some((series, values)) = line.rsplit_once("} ") else {
        return line.to_owned();
    };
    // A native histogram is one value.
    let native = values.starts_with('{');
    let values: Vec<&str> = values.split(' ').collect();
    if line.starts_with('#') || native || values.len() != PHASES {
        return line.to_owned();
    }
    format!("{series}}} {}", values[phase])
}

#[derive(Debug, Default)]
struct Progress {
    phase: usize,
    /// How often each path was asked for in this phase.
    asked: HashMap<String, usize>,
    /// When each path was last asked for before the release.
    before: HashMap<String, Timestamp>,
}

#[derive(Debug)]
struct Shared {
    targets: HashMap<String, Target>,
    progress: Mutex<Progress>,
}

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Exposition {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Exposition {
    /// Starts to serve `targets`.
    pub(crate) async fn start(address: SocketAddr, targets: &[Target]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let named = targets
            .iter()
            .map(|target| (target.path.clone(), target.clone()));
        let shared = Arc::new(Shared {
            targets: named.collect(),
            progress: Mutex::default(),
        });
        let router = Router::new()
            .route("/{*path}", get(metrics))
            .with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.ok();
        });
        Ok(Self {
            address,
            shared,
            serving,
        })
    }

    /// Goes on to the next phase when every target was scraped in this one. Returns whether the last
    /// one is over.
    pub(crate) fn moved_on(&self) -> bool {
        let mut progress = self.shared.progress();
        let asked = |path: &String| {
            progress
                .asked
                .get(path)
                .is_some_and(|count| *count >= SCRAPES)
        };
        if !self.shared.targets.keys().all(asked) {
            return false;
        }
        if progress.phase + 1 == PHASES {
            return true;
        }
        progress.phase += 1;
        progress.asked.clear();
        false
    }

    /// Returns who has not been scraped enough in this phase.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let progress = self.shared.progress();
        let asked = |path: &String| progress.asked.get(path).copied().unwrap_or_default();
        let paths = self.shared.targets.keys();
        paths
            .filter(|path| asked(path) < SCRAPES)
            .cloned()
            .collect()
    }

    /// Returns the time of the release of a row: no sample of before it is newer, and every sample of
    /// after it is.
    pub(crate) fn release(&self, row: &Row) -> Option<Timestamp> {
        let progress = self.shared.progress();
        progress.before.get(&format!("/{}/0", row.name)).copied()
    }
}

impl Drop for Exposition {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn metrics(State(shared): State<Arc<Shared>>, Path(path): Path<String>) -> Response {
    let path = format!("/{path}");
    let Some(target) = shared.targets.get(&path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let phase = {
        let mut progress = shared.progress();
        *progress.asked.entry(path.clone()).or_default() += 1;
        if progress.phase + 1 < PHASES {
            progress.before.insert(path, clock::now());
        }
        progress.phase
    };
    let page = target.page(phase);
    if target.job == "native" {
        let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        return ([(header::CONTENT_TYPE, kind)], native::encoded(&page)).into_response();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}
