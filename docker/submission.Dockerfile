# The image of one submission's workers: the image of all workers and the packages that the
# submission's `requirements.txt` asks for, from wheels in the build context.
#
# BASE_IMAGE    what WORKER_IMAGE was built from
# WORKER_IMAGE  an image of docker/Dockerfile
ARG BASE_IMAGE
ARG WORKER_IMAGE

FROM ${BASE_IMAGE} AS packages
LABEL org.finishline.stage="packages"
RUN python3 -m venv /opt/installer && python3 -m venv --without-pip /opt/venv
COPY requirements.txt /build/requirements.txt
COPY wheels /build/wheels
RUN /opt/installer/bin/pip install --target=/opt/submission-packages --no-cache-dir --no-deps \
      --no-index --find-links=/build/wheels --require-hashes -r /build/requirements.txt

FROM ${WORKER_IMAGE}
# A folder of its own, which the worker adds to its path, at the end, when it loads the submission:
# no code in it runs before the clock does, and no module in it replaces one of the harness's.
COPY --from=packages /opt/submission-packages /opt/submission-packages
ENV FINISHLINE_SUBMISSION_PACKAGES=/opt/submission-packages
ARG KEY=unknown
ARG REQUIREMENTS_HASH=unknown
ARG REQUIREMENTS=unknown
LABEL org.finishline.key="${KEY}" \
      org.finishline.submission="${REQUIREMENTS_HASH}" \
      org.finishline.requirements="${REQUIREMENTS}"
