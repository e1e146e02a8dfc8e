# alertbot in a container: the same start as `make run`, with the store on the volume /data.
#
# As it is, it serves the example configuration on the container's loopback: without tokens alertbot listens nowhere
# else. `docker run --network host alertbot` therefore works as `make run` does. To publish the port instead, mount
# a configuration whose `web.listen` is 0.0.0.0:9098 and which sets `webhook_tokens` and `api_tokens`:
#
#   docker run -p 9098:9098 -v ./alertbot.yml:/etc/alertbot/alertbot.yml:ro -v alertbot:/data -e ... alertbot
#
# or, behind something that authenticates, `... alertbot serve --config /etc/alertbot/alertbot.yml --insecure`.
# The other commands run the same way: `docker run --rm -v ... alertbot check --config /etc/alertbot/alertbot.yml`.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/alertbot
# The locks first: a change of the sources alone downloads nothing again.
COPY requirements.lock requirements-build.lock ./
RUN /opt/alertbot/bin/pip install --require-hashes -r requirements.lock \
    && pip install --root-user-action=ignore --require-hashes -r requirements-build.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/alertbot/bin/pip install --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim
ENV PATH=/opt/alertbot/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A fixed uid, so that the owner of a mounted volume can be set to it; /data is made first, for a volume takes over
# the owner of the folder it is mounted on.
RUN groupadd --system --gid 10001 alertbot \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --no-create-home alertbot \
    && install -d -o alertbot -g alertbot -m 0750 /data
COPY --from=build /opt/alertbot /opt/alertbot
COPY alertbot.example.yml /etc/alertbot/alertbot.yml
# `runbooks.path: runbooks/` is relative to the configuration: mount your own over /runbooks.
COPY runbooks /runbooks
RUN ln -s /runbooks /etc/alertbot/runbooks
# By number, for Kubernetes' runAsNonRoot.
USER 10001:10001
# `store.url: sqlite:///alertbot.db` is relative to the working directory.
WORKDIR /data
VOLUME /data
EXPOSE 9098
# Another port in `web.listen` goes here too. http.client, unlike urllib, asks no proxy of the environment.
ENV ALERTBOT_HEALTH_PORT=9098
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
door = http.client.HTTPConnection('127.0.0.1', int(os.environ['ALERTBOT_HEALTH_PORT']), timeout=3); \
door.request('GET', '/-/healthy'); \
sys.exit(door.getresponse().status != 200)"]
ENTRYPOINT ["alertbot"]
CMD ["serve", "--config", "/etc/alertbot/alertbot.yml"]
