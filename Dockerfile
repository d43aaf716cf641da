# The server, in a few layers:   docker build -t runcast .
#   docker run --read-only --tmpfs /tmp -v runcast:/data -p 127.0.0.1:7433:7433 runcast

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/build && python -m venv /opt/runcast
# The locks come before the sources: while only code changes, these layers stay.
COPY requirements.build.lock requirements.server.lock ./
RUN /opt/build/bin/pip install --require-hashes --requirement requirements.build.lock \
 && /opt/runcast/bin/pip install --require-hashes --requirement requirements.server.lock
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist . \
 && /opt/runcast/bin/pip install --no-deps --no-index /dist/*.whl

FROM python:3.13-slim
# 65532 is what distroless calls nonroot; the root file system is never written to.
RUN install --directory --owner=65532 --group=65532 --mode=0700 /data
COPY --from=build /opt/runcast /opt/runcast
# Children are forked by a forkserver that never holds gRPC, so gRPC's own fork support would only cost.
ENV PATH=/opt/runcast/bin:$PATH \
    GRPC_ENABLE_FORK_SUPPORT=0 \
    HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 7433
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["runcast", "health"]
ENTRYPOINT ["runcast"]
# --insecure: a container is reached through the ports that are published, and there is no TLS and no authentication yet.
CMD ["serve", "--listen", "0.0.0.0:7433", "--insecure", "--storage", "sqlite:////data/runcast.db"]
