//! `/metrics`, `/healthz` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;

use super::lease::Election;
use super::telemetry::Telemetry;
use crate::controller::Controller;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    telemetry: Arc<Telemetry>,
    controller: Arc<Controller>,
    election: Arc<Election>,
) -> std::io::Result<()> {
    let metrics = move || async move {
        let text = telemetry.text(election.leads());
        ([(header::CONTENT_TYPE, OPEN_METRICS)], text)
    };
    // A replica that does not lead is ready too: it watches, and takes over at once.
    let ready = move || async move {
        if controller.eyes.store.is_complete() {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "still listing\n")
        }
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready));
    axum::serve(listener, router).await
}
