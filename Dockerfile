# syntax=docker/dockerfile:1
# mirrorproxy, as a user without rights on a file system that may be read-only.
#
#   docker run --read-only -v capture:/capture -v state:/state -p 8000:8000 mirrorproxy \
#       capture --listen 0.0.0.0:8000 --upstream http://app:8080 --to /capture
#
# Only /capture is written to, and /state, where the sealing key is.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
# For the hot modules, which are compiled; the image itself has no compiler.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
ENV MIRRORPROXY_COMPILE=1
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/mirrorproxy
COPY pyproject.toml setup.py README.md LICENSE CHANGELOG.md ./
COPY mirrorproxy ./mirrorproxy
RUN /opt/mirrorproxy/bin/pip install '.[aws,consul,jwt]' \
    && /opt/mirrorproxy/bin/python -m compileall -q /opt/mirrorproxy/lib

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="mirrorproxy" \
      org.opencontainers.image.description="Capture live HTTP traffic and replay it elsewhere" \
      org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that a Kubernetes runAsNonRoot and a volume's owner can name it.
RUN groupadd --gid 10001 mirrorproxy \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin mirrorproxy \
    && install -d -o 10001 -g 10001 /capture \
    && install -d -o 10001 -g 10001 -m 0700 /state
COPY --from=build /opt/mirrorproxy /opt/mirrorproxy
ENV PATH=/opt/mirrorproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/state
USER 10001:10001
WORKDIR /capture
VOLUME ["/capture", "/state"]
EXPOSE 8000
STOPSIGNAL SIGTERM
# The admin server's default address. It stays on loopback: the check runs inside the container.
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9808/healthz', timeout=1.5)"]
ENTRYPOINT ["mirrorproxy"]
CMD ["--help"]
