# One static binary and nothing else: no shell, no package manager, no root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags "-s -w -X main.version=${VERSION}" -o /upkeep ./cmd/upkeep \
 && mkdir -p /rootfs/var/lib/upkeep /rootfs/etc/upkeep /rootfs/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /rootfs/ /
COPY --from=build /upkeep /upkeep
USER 65532:65532
EXPOSE 9847
VOLUME /var/lib/upkeep
ENTRYPOINT ["/upkeep"]
CMD ["serve", "--config", "/etc/upkeep/upkeep.yaml"]
