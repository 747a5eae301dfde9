# The broker as an image: numeric user, read-only root file system (writes only to /data and /tmp), no build tools inside.

FROM python:3.11-slim-bookworm AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY requirements.lock requirements-build.lock ./
# Wheels only: a package without one for this platform fails here by its name instead of asking for a compiler.
RUN pip install --only-binary :all: --require-hashes -r requirements-build.lock \
    && python -m venv --without-pip /opt/broker \
    && pip --python /opt/broker/bin/python install --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md providers.yaml ./
COPY broker broker
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && pip --python /opt/broker/bin/python install --no-deps --no-index /wheel/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="broker" \
      org.opencontainers.image.description="An OAuth 2.0 broker: connects accounts, keeps their tokens encrypted and fresh, hands out references"
ENV PATH=/opt/broker/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BROKER_HOST=0.0.0.0 \
    BROKER_PORT=8400 \
    BROKER_DATA_DIR=/data \
    BROKER_PROVIDERS_FILE=/etc/broker/providers.yaml
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=builder /opt/broker /opt/broker
COPY providers.yaml /etc/broker/providers.yaml
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8400
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['BROKER_PORT']), timeout=2); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["broker"]
CMD ["serve"]
