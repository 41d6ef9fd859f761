# The workflow with all that it needs, for CPUs and NVIDIA GPUs (torch brings CUDA's libraries; the host brings the driver).
# Clean by hadolint; never built where it was written, for there was no daemon: docs/release.md lists that as to be done.
#
#   docker build --tag dualhead:0.1.0 .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/workspace" dualhead:0.1.0 init demo --example demo
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD/demo:/workspace" --shm-size 2g dualhead:0.1.0 run
#
# On a cluster, without root: apptainer build dualhead.sif docker-archive://dualhead.tar   (of `docker save --output dualhead.tar dualhead:0.1.0`)
#   apptainer run --nv --bind "$PWD/demo:/workspace" --pwd /workspace dualhead.sif run
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN set -- /wheels/dualhead-*.whl \
    && python -m pip install --no-cache-dir --constraint /wheels/constraints.txt "${1}[workflow]" \
    && rm -r /wheels
ENV HOME=/tmp DVC_NO_ANALYTICS=1
WORKDIR /workspace
USER 1000:1000
ENTRYPOINT ["dualhead"]
CMD ["--help"]
