"""Asserts from the ledger alone that no limit of the budget was ever exceeded.

Each completions partition keeps to its part of every limit; partitions that were added later only
make the parts smaller. A run is a log of the simulation: `options`, `limits` and `transactions` in the
order of their commits.
"""

import math
from types import SimpleNamespace

import numpy

from . import information

HOUR, DAY = 3600000, 86400000
RECENT = 200
TINY = 1e-6


def share(total, partitions, number):
    """Whole labels of a partition."""
    return max(1, total // partitions + (number < total % partitions))


def selected(log, number):
    """The requests of a partition in their order."""
    for transaction in log.transactions:
        for entry in transaction.entries:
            fields = entry.fields
            if entry.kind == "selected" and fields["completions_partition"] == number:
                yield SimpleNamespace(id=fields["request_id"], time=fields["issued_at"],
                                      cost=float(numpy.float32(fields["cost"])),
                                      domain=fields["domain"], prompt=fields["prompt_id"],
                                      tokens=(float(numpy.float32(fields["cost"]))
                                              if log.limits.by_cost else 1))


def check_rate(log, number, requests):
    """A token bucket; a pair dearer than its burst is asked when it is full."""
    rate = log.options.per_second / 1000 / log.options.partitions
    burst = share(log.options.burst, log.options.partitions, number)
    level, last = burst, None
    for request in requests:
        level = min(burst, level + rate * (request.time - (last or request.time)))
        assert level >= min(request.tokens, burst) - TINY, \
            f"partition {number}: request {request.id} is over budget"
        level, last = level - request.tokens, request.time


def check_under_way(log, number):
    """An answer to one attempt closes the others of its replica."""
    most, under_way = share(log.options.in_flight, log.options.partitions, number), set()
    replica_of, answered = {}, set()
    for transaction in log.transactions:
        for entry in transaction.entries:
            request = entry.fields.get("request_id")
            if entry.kind in ("labelled", "expired"):
                under_way.discard(request)
            if entry.kind == "labelled" and log.asking.answers(entry.fields):
                answered.add(replica_of.get(request))
                under_way = {other for other in under_way if replica_of[other] not in answered}
            if entry.kind != "selected" or entry.fields["completions_partition"] != number:
                continue
            replica_of[request] = information.replica_of(entry.fields)
            if replica_of[request] not in answered:
                under_way.add(request)
            assert len(under_way) <= most, f"partition {number}: {len(under_way)} requests under way"


def check_sum(requests, span, most, amount, what):
    """Within any span no more than that."""
    total, first = 0, 0
    for request in requests:
        total += amount(request)
        while requests[first].time <= request.time - span:
            total -= amount(requests[first])
            first += 1
        assert total <= most * (1 + TINY), f"{what}: {total} of {most}, at request {request.id}"


def check_prompts(log, number, requests):
    of = {}
    for request in requests:
        of.setdefault(request.prompt, []).append(request)
    for prompt, own in of.items():
        check_sum(own, log.options.labels_window, log.limits.per_prompt, lambda request: 1,
                  f"budget.per_prompt: {prompt} in partition {number}")


def check_caps(log, number, requests):
    """Of any 200 requests in a row at most the cap, rounded up."""
    for domain, cap in log.limits.caps:
        own = [request.domain == domain for request in requests]
        for last in range(len(own)):
            row = own[max(0, last + 1 - RECENT):last + 1]
            assert not own[last] or sum(row) <= math.ceil(cap * len(row) - TINY), \
                f"budget.domains: {domain} has {sum(row)} of {len(row)} in partition {number}"


def is_quiet(log, time):
    minute = (time // 60000 + 3 * 1440) % (7 * 1440)  # the first of January 1970 was a Thursday
    return any(days >> day & 1
               and (minute - day * 1440 - start) % (7 * 1440) < (end - start) % 1440
               for days, start, end in log.limits.quiet for day in range(7))


def check(log):
    options, limits = log.options, log.limits
    for number in range(options.partitions):
        requests = list(selected(log, number))
        check_under_way(log, number)
        check_rate(log, number, requests)

        def part(limit):
            return (limit / options.partitions if limits.by_cost
                    else share(math.floor(limit), options.partitions, number))

        def amount(request):
            return request.tokens

        where = f"in partition {number}"
        if limits.total:
            check_sum(requests, options.labels_window, limits.total / options.partitions,
                      lambda request: request.cost, f"budget.total {where}")
        if limits.per_prompt and limits.labels_max > 10000:
            check_prompts(log, number, requests)
        if not options.cuts:  # whose deleted entries an owner cannot know
            if limits.per_hour:
                check_sum(requests, HOUR, part(limits.per_hour), amount, f"budget.per_hour {where}")
            if limits.per_day:
                check_sum(requests, DAY, part(limits.per_day), amount, f"budget.per_day {where}")
            check_caps(log, number, requests)
        for request in requests:
            assert not is_quiet(log, request.time), f"request {request.id} in a quiet hour"
