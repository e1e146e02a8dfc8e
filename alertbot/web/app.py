"""The web application: the table of what is served, and nothing else."""

from __future__ import annotations

import json

from aiohttp import web

import alertbot
from alertbot.web import api, openapi, shapes
from alertbot.web.api import Api
from alertbot.web.deploys import signed_webhook
from alertbot.web.door import Door
from alertbot.web.errors import middleware
from alertbot.web.operate import Operate
from alertbot.web.pages import Pages
from alertbot.web.ports import Bot
from alertbot.web.routes import Access, Endpoint, add_routes
from alertbot.web.slack import Slack


def make_runner(bot: Bot) -> web.AppRunner:
    """What serves: the app without an access log, and with bodies left as they come (see `body`)."""
    return web.AppRunner(make_app(bot), access_log=None, auto_decompress=False)


def make_app(bot: Bot) -> web.Application:
    """Everything that alertbot serves. Serve it through `make_runner`."""
    # aiohttp's own limit is not used: every handler reads its body through `read_body`.
    app = web.Application(middlewares=[middleware(bot)])
    add_routes(app, bot, endpoints(bot))
    # Slack's alone, in Slack's own words: they are no part of what the API's description promises.
    slack = Slack(bot)
    app.router.add_post("/slack/commands", slack.commands)
    app.router.add_post("/slack/interactions", slack.interactions)
    return app


def endpoints(bot: Bot) -> tuple[Endpoint, ...]:
    """The table."""
    door, it, operate, pages = Door(bot), Api(bot), Operate(bot), Pages(bot)
    incident = "/api/v1/incidents/{id}"
    parked = "/api/v1/parked/{id}"
    table: tuple[Endpoint, ...] = (
        Endpoint(
            "POST", "/webhooks/alertmanager", door.alertmanager, Access.WEBHOOK,
            "Alertmanager's webhook, and Grafana's alerting webhook; answered once it is durable",
            shapes.Accepted, errors=(400, 408, 413, 415),
        ),
        *(
            Endpoint(
                "POST", f"/webhooks/{sender}{'/{token}' if sender == 'railway' else ''}", signed_webhook(bot, sender),
                Access.SIGNED, f"What {name}; answered once it is durable",
                shapes.Accepted, errors=(400, 408, 413, 415),
            )
            for sender, name in
            (
                ("github", "GitHub says of deploys"), ("vercel", "Vercel says of deploys"),
                ("railway", "Railway says of deploys"), ("argocd", "Argo CD says of deploys"),
                ("sentry", "Sentry says of its issues and alert rules"),
            )
        ),
        Endpoint(
            "GET", "/api/v1/deploys", it.deploys, Access.API,
            "Deploys, those heard of last first", shapes.Deploys, query=api.DEPLOYS_QUERY,
        ),
        Endpoint(
            "POST", "/api/v1/deploys", it.report_deploy, Access.API,
            "Say that a deploy started, succeeded or failed", shapes.Deploy, body=shapes.NewDeploy,
            errors=(404,),
        ),
        Endpoint(
            "GET", "/api/v1/maintenance", it.maintenance, Access.API,
            "Maintenance windows, the latest start first", shapes.MaintenanceList, query=api.WINDOWS_QUERY,
        ),
        Endpoint(
            "POST", "/api/v1/maintenance", it.report_maintenance, Access.API,
            "Open a maintenance window, or extend or end one by its id", shapes.Maintenance,
            body=shapes.NewMaintenance, errors=(404, 409),
        ),
        Endpoint(
            "DELETE", "/api/v1/maintenance/{id}", it.end_maintenance, Access.API,
            "End a maintenance window now", shapes.Maintenance, errors=(409,),
        ),
        Endpoint(
            "POST", "/webhooks/pagerduty", door.pagerduty, Access.WEBHOOK,
            "PagerDuty's webhooks, version 3, signed; answered once they are durable",
            shapes.Accepted, errors=(400, 408, 413, 415),
        ),
        Endpoint(
            "GET", "/api/v1/incidents", it.incidents, Access.API,
            "Incidents, the newest first", shapes.Incidents, query=api.LIST_QUERY,
        ),
        Endpoint("GET", incident, it.incident, Access.API, "One incident", shapes.Incident),
        Endpoint(
            "GET", f"{incident}/timeline", it.timeline, Access.API,
            "Every decision about one incident, deploy or maintenance window with its reason, the oldest first",
            shapes.Timeline, query=api.TIMELINE_QUERY,
        ),
        Endpoint(
            "POST", f"{incident}/acknowledge", it.acknowledge, Access.API,
            "Take an incident", shapes.Incident, body=shapes.By,
        ),
        Endpoint(
            "POST", f"{incident}/resolve", it.resolve, Access.API,
            "Say that an incident is over", shapes.Incident, body=shapes.By,
        ),
        Endpoint(
            "POST", f"{incident}/notes", it.note, Access.API,
            "Write something down", shapes.Incident, body=shapes.NewNote,
        ),
        Endpoint(
            "POST", f"{incident}/silence", it.silence, Access.API,
            "Silence the alerts that fire, in Alertmanager too where it can be reached",
            shapes.Incident, body=shapes.NewSilence,
        ),
        Endpoint(
            "DELETE", f"{incident}/silence", it.unsilence, Access.API,
            "End the silence that was made through alertbot", shapes.Incident,
        ),
        Endpoint(
            "GET", "/api/v1/explain", it.explain, Access.API,
            "Why the alerts with these labels were sent, held, or not sent",
            shapes.Explanations, query=api.EXPLAIN_QUERY,
        ),
        Endpoint(
            "GET", "/api/v1/parked", it.parked, Access.API,
            "What could not be read or delivered", shapes.ParkedList,
        ),
        Endpoint("GET", parked, it.parked_item, Access.API, "A parked thing, whole", shapes.ParkedDetail),
        Endpoint(
            "POST", f"{parked}/retry", it.retry_parked, Access.API,
            "Try a parked thing again", shapes.Done, body=shapes.Retry, errors=(422,),
        ),
        Endpoint("DELETE", parked, it.drop_parked, Access.API, "Forget a parked thing", shapes.Done),
        Endpoint(
            "POST", "/api/v1/receivers/{name}/test", it.test_receiver, Access.API,
            "Send one marked test incident through a receiver", shapes.Tested, body=shapes.By,
        ),
        Endpoint("GET", "/metrics", operate.metrics, Access.OPEN, "Metrics for Prometheus", "text/plain"),
        Endpoint("GET", "/-/healthy", operate.healthy, Access.OPEN, "Whether the process runs", "text/plain"),
        Endpoint(
            "GET", "/-/ready", operate.ready, Access.OPEN,
            "Whether requests make sense now", "text/plain", errors=(503,),
        ),
        Endpoint(
            "POST", "/-/reload", operate.reload, Access.OPERATE,
            "Take the config as it stands now", shapes.Reloaded,
        ),
        Endpoint("GET", "/", pages.overview, Access.PAGE, "The page: open incidents", "text/html"),
        Endpoint(
            "GET", "/incidents/{id}", pages.incident, Access.PAGE,
            "The page: one incident's story", "text/html",
        ),
        Endpoint(
            "GET", "/windows/{id}", pages.window, Access.PAGE,
            "The page: a deploy or maintenance window, and what it holds", "text/html",
        ),
        Endpoint("GET", "/runbooks/{name}", pages.runbook, Access.PAGE, "The page: one runbook", "text/html"),
    )  # fmt: skip

    async def described(request: web.Request) -> web.Response:
        return web.Response(body=description, content_type="application/json")

    itself = Endpoint(
        "GET", "/api/v1/openapi.json", described, Access.API, "This description", "application/json"
    )  # fmt: skip
    table = (*table, itself)
    description = json.dumps(openapi.document(table, alertbot.__version__)).encode()
    return table
