# syntax=docker/dockerfile:1
# Two stages: the packages are built in the first one; the second holds Python, the packages and the program alone.
FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements.txt constraints.txt ./
RUN python -m venv /opt/mneme \
    && /opt/mneme/bin/pip install --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' requirements.txt)" \
    && /opt/mneme/bin/pip install -r requirements.txt -c constraints.txt \
    && find /opt/mneme -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="Mneme" org.opencontainers.image.licenses="Apache-2.0"
# libgomp1: OpenMP for torch and FAISS. tini reaps children and passes SIGTERM on.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin mneme \
    && install -d -o mneme -g mneme /data
COPY --from=packages /opt/mneme /opt/mneme
WORKDIR /app
COPY bot.py LICENSE README.md ./
COPY cogs cogs
COPY config config
COPY data/models data/models
COPY data/sample data/sample
ENV PATH=/opt/mneme/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MNEME_DATA_DIR=/data MNEME_WEB=127.0.0.1:8080 HOME=/data TMPDIR=/data/tmp
USER mneme
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["tini", "--", "sh", "-c", "mkdir -p \"$TMPDIR\" && exec python bot.py \"$@\"", "mneme"]
CMD ["run"]
