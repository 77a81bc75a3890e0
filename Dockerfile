# The service with PyTorch's CPU build. Mount a model at /models/tiny:
#     docker build -t airust .
#     docker run -p 3000:3000 -v ./runs/tiny:/models/tiny:ro airust
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY pyproject.toml constraints.txt hatch_build.py README.md LICENSE ./
COPY airust ./airust
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --constraint constraints.txt --index-url "$TORCH_INDEX" torch \
    && pip install --no-cache-dir --constraint constraints.txt ".[openai,scale,tracing]"

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 airust && mkdir /data && chown airust /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AIRUST_SERVER__HOST=0.0.0.0 \
    AIRUST_SESSIONS__DATABASE_URL=sqlite:////data/airust.db \
    AIRUST_LOG__FORMAT=json \
    AIRUST_KEYS__REQUIRED=true
USER airust
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/readyz')"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["airust", "serve"]
CMD ["--model", "/models/tiny"]
