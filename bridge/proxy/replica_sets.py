"""The replica sets of all routes, with their log lines and metrics."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING

from bridge.proxy.replicas import Replica, ReplicaSet
from bridge.telemetry.logging import log

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.routes.rules.route import Route
    from bridge.routes.rules.transport import TransportSpec
    from bridge.telemetry.metrics import Metrics

__all__ = ["ReplicaSets"]

_AUTHORITY = re.compile(r"[a-z]+://(?:[^/?#@]*@)?([^/?#{}]+)(?=[/?#]|$)")


class ReplicaSets:
    """The replica sets by the names of their routes. A reload keeps the state of replicas that remain."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sets: dict[str, tuple[TransportSpec, ReplicaSet]] = {}

    def get(self, route: Route) -> ReplicaSet:
        """Return the replica set of a route.

        A request that began before a reload gets a set of its own, with the replicas that remain.
        """
        transport, replicas = self._sets.get(route.name, (None, None))
        if replicas is None:
            return self._add(route, ())
        return replicas if transport is route.transport else self._make(route, replicas.replicas)

    def use_routes(self, routes: Iterable[Route]) -> None:
        """Follow a reload: take over the replicas that remain, and forget the others."""
        before, self._sets = self._sets, {}
        for route in routes:
            if route.name in before:
                self._add(route, before[route.name][1].replicas)
        for name, (_, replicas) in before.items():
            remaining = self._sets[name][1].replicas if name in self._sets else ()
            for replica in replicas.replicas:
                if replica not in remaining:
                    self._metrics.replica_changed(name, replica.name, evicted=False)

    def _add(self, route: Route, before: Iterable[Replica]) -> ReplicaSet:
        replicas = self._make(route, before)
        self._sets[route.name] = route.transport, replicas
        for replica in replicas.replicas:
            self._metrics.replica_changed(route.name, replica.name, evicted=not replica.is_up)
        return replicas

    def _make(self, route: Route, before: Iterable[Replica]) -> ReplicaSet:
        transport = route.transport
        known = {replica.name: replica for replica in before}
        replicas = []
        for name, weight in _names_and_weights(route):
            replica = known.get(name) or Replica(name, weight)
            replica.weight = weight
            replicas.append(replica)
        return ReplicaSet(
            replicas,
            least_busy=transport.balance == "least-busy",
            evict=transport.evict,
            changed=partial(self._note_change, route.name),
        )

    def _note_change(self, route: str, replica: Replica, reason: str) -> None:
        self._metrics.replica_changed(route, replica.name, evicted=not replica.is_up)
        if replica.is_up:
            log("replica restored", route=route, replica=replica.name, reason=reason)
        else:
            log("replica evicted", logging.WARNING, route=route, replica=replica.name, reason=reason)


def _names_and_weights(route: Route) -> list[tuple[str, int]]:
    """Return the name and weight of each replica: host and port, or a number where a template names them."""
    transport = route.transport
    servers = [(transport.url, 1)] if transport.url else []
    servers += [(replica.url, replica.weight) for replica in transport.replicas]
    named: list[tuple[str, int]] = []
    names: set[str] = set()
    for number, (url, weight) in enumerate(servers, start=1):
        match = _AUTHORITY.match(url)
        name = route.mask(match[1]) if match else str(number)
        if name in names:
            name = f"{name}#{number}"
        names.add(name)
        named.append((name, weight))
    return named
