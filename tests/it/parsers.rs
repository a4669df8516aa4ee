//! Everything that parses is fed what nobody in their right mind would write.
//!
//! What it means when it parses is judged by others than the parser: a second grammar, a lexer that
//! knows only how strings end, or what the text was made from.

mod answers;
mod lexer;
mod objects;
mod promql;
mod queries;

use proptest::test_runner::Config;

/// Runs `usual` cases, or as many as the environment asks for.
fn config(usual: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES");
    Config {
        cases: asked
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(usual),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    }
}
