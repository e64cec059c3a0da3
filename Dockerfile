# One static binary and nothing else: no shell, no package manager, no root. make image builds it, from the
# program that is released: tools/release/image.sh puts the files into a folder of their own.
FROM scratch
COPY etc /etc
COPY upkeep /upkeep
COPY --chown=65532:65532 state /var/lib/upkeep
COPY --chown=65532:65532 tmp /tmp
USER 65532:65532
EXPOSE 9847
VOLUME /var/lib/upkeep
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 CMD ["/upkeep", "health"]
ENTRYPOINT ["/upkeep"]
CMD ["serve", "--config", "/etc/upkeep/upkeep.yaml"]
