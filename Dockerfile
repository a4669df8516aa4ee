# The operator alone: one static program, no shell, nobody's root.
#
#   docker build -t astern .

# On Alpine the compiler's own target is musl, so the program is static without further ado.
FROM docker.io/library/rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /astern
COPY Cargo.toml Cargo.lock ./
COPY src src
# Cargo wants every member and target of the workspace to exist, also those it does not build.
COPY tests tests
RUN cargo build --release --locked --bin astern

FROM scratch
COPY --from=build /astern/target/release/astern /astern
COPY LICENSE /LICENSE
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/astern"]
