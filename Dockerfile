# kdbench with its published methods, for a CPU or an NVIDIA GPU; docs/docker.md says how it is built and run.
FROM python:3.13-slim
# Where torch comes from: its packages for the CPU, or https://download.pytorch.org/whl/cu130 for a GPU.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Of pyproject.toml, as in `pip install 'kdbench[zoo,slurm]'`.
ARG EXTRAS=timm,hub,parquet

RUN useradd --create-home kdbench
COPY pyproject.toml README.md LICENSE /src/
COPY tools/build_hook.py /src/tools/
COPY kdbench /src/kdbench
COPY plugins /src/plugins
# Of the checkout, which records name.
ARG COMMIT=
RUN if [ -n "$COMMIT" ]; then printf '{"commit": "%s", "dirty": false}' "$COMMIT" > /src/kdbench/_commit.json; fi
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX" \
 && pip install --no-cache-dir "/src[$EXTRAS]" \
 && kdbench list methods > /dev/null

USER kdbench
WORKDIR /home/kdbench
# Images are looked for in /data, and records, networks and caches go to /home/kdbench: mount both.
ENV KDBENCH_DATA_DIR=/data
ENTRYPOINT ["kdbench"]
CMD ["--help"]
