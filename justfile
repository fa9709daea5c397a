# What is done by hand, by name: `just` lists it. Each line works without `just` too.

_list:
    @just --list --unsorted

# What must hold before a commit: a minute or three
quick:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo test --locked --lib
    cargo test --locked --test it tidy::

# All tests, or those whose name has WORD in it
test WORD="":
    cargo test --locked --test it {{WORD}}

# Everything that CI does on one machine, in less than 25 minutes
ci:
    .ci/run

# Licences, sources, bans, known vulnerabilities
audit:
    cargo deny --locked check

# What a start and a history cost
bench:
    cargo bench --locked

# The program as it is shipped
release:
    packaging/release

# Two builds of the last commit, one hash
reproducible:
    packaging/reproducible

# The package for Debian
deb:
    packaging/deb

# A fresh Debian: the package comes and goes, README is followed word by word (needs root and debootstrap)
fresh:
    tests/fresh/run

# All that is inside the binary, as CycloneDX
sbom:
    cargo cyclonedx --format json --override-filename ouroboros.cdx
