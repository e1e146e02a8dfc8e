"""alertbot stands between Alertmanager and people: a webhook router and incident bot."""

__version__ = "0.1.0"
