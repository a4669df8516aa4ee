#!/bin/sh
# Runs cargo-deny in the version that deny.toml is written for, and installs it the first time.
set -eu

version=0.20.2
root="${XDG_CACHE_HOME:-$HOME/.cache}/astern/cargo-deny-$version"

if [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $version" ]; then
    exec cargo-deny "$@"
fi
if [ ! -x "$root/bin/cargo-deny" ]; then
    echo "Installing cargo-deny $version into $root: once, about 5 minutes on 2 cores." >&2
    # Its own target directory: the one of this repository would be built anew for its flags.
    env -u CARGO_TARGET_DIR cargo install --locked --root "$root" --version "$version" cargo-deny
fi
exec "$root/bin/cargo-deny" "$@"
