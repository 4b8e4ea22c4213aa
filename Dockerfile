# The worker of a cloud burst: the program and nothing of the house. Built from the root of the repository:
#   docker build --tag registry.example.org/wakachi:0.1 .
# The binary is linked statically, so it runs in any image of its architecture, at 1.4 times the CPU time of one that uses
# glibc; and alone, as an input of a task:
#   docker build --target binary --output type=local,dest=. .

FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base cmake linux-headers make musl-dev perl
WORKDIR /source
COPY . .
# Without the MPI engine, which needs the site's own library.
RUN cargo build --release --locked --bin wakachi && strip target/release/wakachi

FROM scratch AS binary
COPY --from=build /source/target/release/wakachi /wakachi

# A shell is there for services that start tasks through one; certificates for stores that are reached by HTTPS.
FROM alpine:3.22
RUN apk add --no-cache ca-certificates && adduser -D -u 10001 wakachi && mkdir /cache && chown wakachi /cache
COPY --from=build /source/target/release/wakachi /usr/local/bin/wakachi
USER wakachi
ENV WAKACHI_CACHE=/cache NO_COLOR=1
CMD ["wakachi", "worker", "--help"]
