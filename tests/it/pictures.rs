//! The pictures of single rollouts in `docs/judging.md` show what the code does. `UPDATE=1` draws them
//! anew. Those of many rollouts come from `make bench-judging`.

use std::fs;
use std::path::Path;

use crate::statistics::random;

#[path = "../../benches/judging/rollout.rs"]
#[expect(dead_code, reason = "the bench uses the rest")]
mod rollout;
#[path = "../../benches/judging/svg.rs"]
mod svg;
#[path = "../../benches/judging/traces.rs"]
mod traces;

#[test]
fn the_pictures_of_single_rollouts_are_up_to_date() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    for (name, expected) in traces::pictures() {
        let path = directory.join(name);
        if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(&path, &expected).expect("a file");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "docs/images/{name} is out of date; run UPDATE=1 cargo test --test it -- pictures"
        );
    }
}
