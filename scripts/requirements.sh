#!/bin/sh
# Says what this machine lacks, and what to do about it, before anything is built.
set -eu

cache="${ASTERN_TESTBED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nowhere}/.cache}/astern/testbed}"
target="${CARGO_TARGET_DIR:-target}"
missing=0

lacks() {
    printf 'make: %s\n' "$1" >&2
    printf '      %s\n' "$2" >&2
    missing=1
}

# Whether version $1 is at least $2.$3; what follows the second number does not matter.
at_least() {
    major=${1%%.*}
    rest=${1#*.}
    minor=${rest%%[!0-9]*}
    case "$major$minor" in '' | *[!0-9]*) return 1 ;; esac
    [ "$major" -gt "$2" ] || { [ "$major" -eq "$2" ] && [ "${minor:-0}" -ge "$3" ]; }
}

check_platform() {
    system=$(uname -s)
    machine=$(uname -m)
    case "$system/$machine" in
    Linux/x86_64 | Linux/aarch64) ;;
    *)
        lacks "this is $system on $machine; Astern is built and tested on Linux, x86_64 or aarch64." \
            "Use such a machine, or a virtual machine. Its pods listen on all of 127.0.0.0/8."
        ;;
    esac
}

check_rust() {
    advice="Install Rust from https://rustup.rs, or run: rustup update stable"
    if ! version=$(cargo --version 2>/dev/null); then
        lacks "cargo does not start; Rust 1.89 or newer is needed." "$advice"
        return
    fi
    version=$(echo "$version" | cut -d' ' -f2)
    at_least "$version" 1 89 || lacks "cargo is $version; 1.89 or newer is needed." "$advice"
}

check_c() {
    # The cryptography of rustls is partly C and assembly.
    cc --version >/dev/null 2>&1 ||
        lacks "there is no C compiler under the name cc." \
            "Install one, for example: sudo apt-get install gcc libc6-dev"
}

# Whether nothing is left to build with Go. The test bed looks closer than this, by version.
tools_are_there() {
    for tool in kube-apiserver prometheus; do
        command -v "$tool" >/dev/null 2>&1 || ls "$cache"/*/bin/"$tool" >/dev/null 2>&1 || return 1
    done
}

check_go() {
    advice="Install Go 1.26 or newer from https://go.dev/dl and put its bin directory on PATH."
    if ! version=$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null); then
        lacks "go does not start; the test bed builds Kubernetes and Prometheus with it." "$advice"
        return
    fi
    at_least "${version#go}" 1 26 || lacks "go is ${version#go}; 1.26 or newer is needed." "$advice"
}

# The nearest directory that is there already: a cache need not be yet.
existing() {
    directory=$1
    while [ ! -d "$directory" ]; do directory=$(dirname "$directory"); done
    echo "$directory"
}

# Whether $1 has $2 gigabytes left, which are for $3.
check_space() {
    directory=$(existing "$1")
    free=$(df -Pk "$directory" 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }')
    # A machine without df finds out by itself.
    [ -n "$free" ] || return 0
    [ "$free" -ge "$2" ] ||
        lacks "$directory has $free GB left; about $2 GB are needed for $3." "$4"
}

check_disk() {
    own=1
    shared=0
    [ -d "$target/debug/deps" ] || own=6
    tools_are_there || shared=8
    elsewhere="Free some, or set CARGO_TARGET_DIR to a larger disk."
    caches="Free some, or set ASTERN_TESTBED_CACHE, GOCACHE and GOMODCACHE to a larger disk."
    # Usually both are on one disk, and then the sum counts.
    if [ "$(df -P "$(existing "$target")" | tail -n 1)" = "$(df -P "$(existing "$cache")" | tail -n 1)" ]; then
        own=$((own + shared))
        shared=0
    fi
    check_space "$target" "$own" "what is built" "$elsewhere"
    [ "$shared" -eq 0 ] || check_space "$cache" "$shared" "the tools of the test bed" "$caches"
}

check_platform
check_rust
check_c
tools_are_there || check_go
check_disk
exit "$missing"
