# Two stages: one builds with the whole toolchain, the other has only the program and the root certificates.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Build the dependencies first, so that this layer is reused until they change.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir -p src tests/it && echo 'fn main() {}' > src/main.rs && touch src/lib.rs tests/it/main.rs \
 && SQLX_OFFLINE=true cargo build --release --locked && rm -rf src tests
COPY . .
RUN touch src/main.rs src/lib.rs && SQLX_OFFLINE=true cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin steward
COPY --from=build /build/target/release/steward /usr/local/bin/steward
USER 10001
ENV STEWARD_ENVIRONMENT=production \
    STEWARD_SERVER__LISTEN=0.0.0.0:8080 \
    STEWARD_SERVER__MANAGEMENT_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
ENTRYPOINT ["steward"]
CMD ["serve"]
