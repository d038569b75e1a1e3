"""Prometheus metrics, of each service its own.

Several services may share a process. Each counts in a registry of its own, found by whose work is being done
(`context.service`), and shows it at its monitoring port as if it ran alone. Outside of a service, as in the `rapport`
command, it is the registry of the library, which besides has what is true of the whole process.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from itertools import chain
from typing import Any, Generic, TypeVar

import prometheus_client
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric

from services.chassis.runtime.context import service

M = TypeVar("M", prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)

_registries: dict[str, CollectorRegistry] = {"": REGISTRY}


class _OfEachService(Generic[M]):
    """A metric that each service has for itself, from its first use on."""

    _kind: Callable[..., M]

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = (), **options: Any) -> None:
        self.name = name
        self.label_names = tuple(labels)
        self._documentation = documentation
        self._options = options
        self._of: dict[str, M] = {}
        self._labelled: dict[tuple[object, ...], M] = {}

    @property
    def own(self) -> M:
        """The metric of the service whose work is being done."""
        name = service()
        metric = self._of.get(name)
        if metric is None:
            registry = _registries.setdefault(name, CollectorRegistry())
            metric = type(self)._kind(
                self.name, self._documentation, self.label_names, registry=registry, **self._options
            )
            self._of[name] = metric
        return metric

    def labels(self, *values: object) -> M:
        """Return the metric with these values of its labels, to be used for the same service only.

        It is remembered: the library takes several times as long to find it as to count.
        """
        key = (service(), *values)
        labelled = self._labelled.get(key)
        if labelled is None:
            labelled = self._labelled[key] = self.own.labels(*values)
        return labelled

    def clear(self) -> None:
        """Forget all values of its labels."""
        self._labelled.clear()
        self.own.clear()


class Counter(_OfEachService[prometheus_client.Counter]):
    """A number that only grows."""

    _kind = prometheus_client.Counter

    def inc(self, amount: float = 1) -> None:
        self.own.inc(amount)


class Gauge(_OfEachService[prometheus_client.Gauge]):
    """A number that goes up and down."""

    _kind = prometheus_client.Gauge

    def set(self, value: float) -> None:
        self.own.set(value)

    def set_function(self, read: Callable[[], float]) -> None:
        """Take the value from a function, whenever it is read."""
        self.own.set_function(read)


class Histogram(_OfEachService[prometheus_client.Histogram]):
    """Observed values, counted in buckets."""

    _kind = prometheus_client.Histogram

    def observe(self, amount: float) -> None:
        self.own.observe(amount)


class Shown(CollectorRegistry):
    """All metrics of a service and of its process, each with the label `service`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._service = name

    def collect(self) -> Iterable[Metric]:
        own, label = _registries.get(self._service, REGISTRY), {"service": self._service}
        for metric in REGISTRY.collect() if own is REGISTRY else chain(own.collect(), REGISTRY.collect()):
            shown = copy(metric)  # some collectors keep what they return
            shown.samples = [
                sample if "service" in sample.labels else sample._replace(labels=sample.labels | label)
                for sample in metric.samples
            ]
            yield shown
