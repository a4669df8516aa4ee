//! The operator.

use astern::app;
use astern::app::flags::Flags;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Two TLS providers would make rustls panic; this is the one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    app::run(Flags::read()).await
}
