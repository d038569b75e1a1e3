"""What the metrics of all processes together tell: relays, waiting events and mails, the gateway's neighbours."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.moments import counted

Metrics = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]

WITH_OUTBOX = ("posts", "comments", "people", "notify")
OLD_EVENT_SECONDS = 30
DEAF_SECONDS = 30
FAILING_RUNS = 3
LATE_MAIL_SECONDS = 300
LATE_SIGN_IN_SECONDS = 60
LATE_POST_SECONDS = 30


def look_at_metrics(services: Collection[str], all_metrics: Sequence[Metrics]) -> Iterable[Finding]:
    """Return what is wrong in the metrics of all processes that answer.

    Args:
        services: those with a process that answers.
    """
    for service in WITH_OUTBOX:
        if service in services:
            yield _relay(service, all_metrics)
    yield from _alarms(all_metrics)


def _relay(service: str, all_metrics: Sequence[Metrics]) -> Finding:
    name = f"relay of {service}"
    published = sum(_values(all_metrics, "rapport_relay_owner", service))  # 0 also where nobody has the metric
    if published < 1:
        mend = f"Start `python -m services.{service} relay`, or `all`, and name its metrics port in METRICS_URLS."
        none = "none of the processes sends the events of its outbox"
        return fault(name, f"the processes send {published:.0%} of its outbox" if published else none, mend)
    backlog = int(sum(_values(all_metrics, "rapport_relay_backlog", service)))
    age = _most(all_metrics, "rapport_relay_oldest_seconds", service)
    events = counted(backlog, "event")
    if age > OLD_EVENT_SECONDS:
        mend = f"See that Kafka answers and lets {service} write, then the log of the relay; nothing is lost."
        return fault(name, f"{events} wait, the oldest for {age:,.0f} s", mend)
    return ok(name, f"it runs; {events} wait")


def _alarms(all_metrics: Sequence[Metrics]) -> Iterable[Finding]:
    if (deaf := _most(all_metrics, "rapport_gateway_deaf_seconds")) > DEAF_SECONDS:
        mend = "See that Kafka answers, and that the gateway's account may read there (`rapport kafka-access`)."
        yield fault("gateway", f"it has not heard Kafka for {deaf:,.0f} s", mend)
    elif _most(all_metrics, "rapport_consumer_lag_unknown") == 1:
        mend = "Run `rapport kafka-access` as an account that may change access control lists; see the gateway's log."
        yield warning("gateway", "it cannot measure how far consumers are behind", mend)
    works = {
        labels["work"]
        for metrics in all_metrics
        for labels, value in metrics.get("rapport_periodic_failing_runs", ())
        if value >= FAILING_RUNS
    }
    for work in sorted(works):
        mend = "The log of the process says why, with this name as `work`."
        yield warning("periodic work", f"“{work}” fails again and again", mend)
    if _most(all_metrics, "rapport_gateway_valkey_away") == 1:
        mend = "Start Valkey, or correct the gateway's REDIS_URL; until then each gateway counts limits by itself."
        yield fault("gateway", "Valkey does not answer it", mend)
    if _most(all_metrics, "rapport_mail_server_unusable") == 1:
        mend = "See SMTP_HOST, SMTP_PORT, SMTP_SECURITY, SMTP_USERNAME and SMTP_PASSWORD of the mailers, and their log."
        yield fault("mail", "the mail server takes nothing from notify's mailer", mend)
    if _most(all_metrics, "rapport_mail_paused") == 1:
        mend = "Run `rapport mail status`, and `rapport mail resume` once `rapport check` is clean."
        yield warning("mail", "mail about answers is paused", mend)
    elif (late := _most(all_metrics, "rapport_mail_due_oldest_seconds")) > LATE_MAIL_SECONDS:
        mend = "See that notify's mailer runs, and its log."
        yield warning("mail", f"a mail is {late:,.0f} s late", mend)
    if (late := _most(all_metrics, "rapport_sign_in_waiting_oldest_seconds")) > LATE_SIGN_IN_SECONDS:
        yield fault("sign-in mail", f"one is {late:,.0f} s late", "See that people's mailer runs, and its log.")
    if (late := _most(all_metrics, "rapport_scheduled_due_oldest_seconds")) > LATE_POST_SECONDS:
        mend = "Start `python -m services.posts publisher`, or `all`; if it runs, see its log. No post is lost."
        yield fault("scheduled posts", f"one is {late:,.0f} s late", mend)


def _values(all_metrics: Sequence[Metrics], name: str, service: str | None = None) -> list[float]:
    samples = [sample for metrics in all_metrics for sample in metrics.get(name, ())]
    return [value for labels, value in samples if service is None or labels.get("service") == service]


def _most(all_metrics: Sequence[Metrics], name: str, service: str | None = None) -> float:
    return max(_values(all_metrics, name, service), default=0.0)
