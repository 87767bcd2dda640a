# Runs the demo: docker build -t hpo . && docker run --rm -v "$PWD/runs:/hpo/runs" hpo
# A plain torch brings CUDA, gigabytes; for a CPU build: --build-arg PIP_EXTRA_INDEX_URL=(PyTorch's CPU index)
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home hpo && mkdir /hpo && chown hpo /hpo
USER hpo
WORKDIR /hpo

# The dependencies first, so that a change of the code does not install them again.
COPY --chown=hpo pyproject.toml constraints.txt Makefile README.md LICENSE ./
COPY --chown=hpo hpo_utils/__init__.py hpo_utils/
ARG PIP_EXTRA_INDEX_URL
RUN make .venv/installed

COPY --chown=hpo . .
CMD ["make", "demo"]
