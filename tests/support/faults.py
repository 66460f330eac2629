"""What the tests of faults have in common: a stage under load, how long it takes until it is ready
again, and the verdict from the topics alone.

A case does its harm under load, then calls Scene.verdict: the load stops, the workers come to rest,
and every promise is asserted of all that the scene has done since its beginning.
"""

import contextlib
import time

from . import information, judge
from .conditions import eventually, steadily
from .labeller import Labeller
from .ledger import FORGED, TOPICS, entry_of, read_run
from .load import Load
from .stage import Stage
from .topics import Follower

DIMENSION = 8
OPTIONS = {"features.dimension": DIMENSION, "features.scale": 1, "pool.max": 20, "pool.wait": "1d",
           "pool.age": "2d", "moments.interval": "1s",
           "budget.per_second": 60, "budget.in_flight": 60, "seed": 7,
           "kafka.session_timeout": "6s", "kafka.transaction_timeout": "10s"}
COMPLETIONS_PER_SECOND = 100
PROGRESS = 20  # labels accepted that show that the loop goes round


class Scene:
    """Use as a context manager. workers: how many are started, each ready before load begins; size:
    completions of a pool; labeller: class of who answers; topics: {name: settings} to change."""

    def __init__(self, chosen, workers=1, options=None, size=5, kafka=None, labeller=Labeller,
                 topics=None):
        self.stage = Stage(chosen.build, {**OPTIONS, "pool.size": size, **(options or {})},
                           chosen.keep, kafka=kafka)
        self.size = size
        self.topics = topics or {}
        self.load = None
        self.follower = None
        self.wanted = workers
        self.labeller = labeller

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.push(self.stage)
            for name, settings in self.topics.items():
                self.stage.kafka.configure(TOPICS[name], **settings)
            while len(self.stage.workers) < self.wanted:
                self.stage.add_worker()
            self.load = Load(self.stage, DIMENSION, self.size, COMPLETIONS_PER_SECOND, self.labeller)
            self.follower = Follower(self.stage.brokers, TOPICS["ledger"])
            for worker in self.workers:
                worker.start()
            self.await_ready()
            self.start()
            stack.pop_all()
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.load.close()
            self.follower.close()
        finally:
            self.stage.__exit__(kind, value, trace)

    @property
    def workers(self):
        return self.stage.workers

    def start(self):
        """Load, and the loop goes round."""
        self.load.start()
        self.await_progress()

    def fresh(self):
        """Entries committed since the last look."""
        found = [entry_of(record) for record in self.follower.new_records()
                 if record.key != FORGED]
        self.load.check()
        return found

    def await_entry(self, timeout, what, wanted):
        """Until an entry is committed of which wanted(entry) is true, from now on."""
        self.fresh()
        eventually(lambda: any([wanted(entry) for entry in self.fresh()]), timeout, what,
                   every=0.02)

    def await_progress(self, labels=PROGRESS, timeout=60):
        """Until so many labels more were accepted."""
        count = [0]

        def enough(entry):
            count[0] += entry.kind == "labelled"
            return count[0] >= labels
        self.await_entry(timeout, f"{labels} labels more in the ledger", enough)

    def await_ready(self, *workers):
        for worker in workers or self.stage.running():
            worker.wait_ready()

    def live(self, seconds):
        """All workers that run go on for that long, under load."""
        running = self.stage.running()
        steadily(lambda: all(worker.alive() for worker in running), seconds, "the workers live",
                 every=0.02)

    def partitions_of(self, worker):
        """Partitions of completions that a worker picks in now."""
        partitions = self.stage.kafka.leaders(TOPICS["completions"]).keys()
        owners = {}
        self.fresh()

        def all_seen():
            owners.update((entry.fields["completions_partition"], entry.writer)
                          for entry in self.fresh() if entry.kind == "selected")
            return owners.keys() >= partitions
        eventually(all_seen, 30, f"a pick in each of {len(partitions)} partitions", every=0.02)
        return [number for number, writer in owners.items()
                if writer == worker.options["kafka.instance"]]

    def await_pick(self, partitions, timeout, writers=None):
        """Until there was a new pick in one of the partitions, by one of the workers (any)."""
        slots = [worker.options["kafka.instance"] for worker in writers or self.workers]
        self.await_entry(timeout, f"a pick in partitions {partitions} by {slots}",
                         lambda entry: entry.kind == "selected" and entry.writer in slots
                         and entry.fields["completions_partition"] in partitions)

    def verdict(self, name, runs, ready, **more):
        """Comes to rest, prints the case's line and asserts every promise. ready: seconds of each
        run until all was well again; more: further figures for the line."""
        self.load.stop()
        self.stage.await_quiet(every=2.5)
        run = read_run(self.stage.brokers)
        lost, doubled = judge.find_lost(run), judge.find_doubled(run)
        behind = sum(end - max(self.stage.committed()[topic][number].offset, 0)
                     for topic, places in self.stage.ends().items()
                     for number, end in places.items())
        figures = {"lost": len(lost) + behind, "doubled": len(doubled),
                   "ready": f"{max(ready):.1f}", **more}
        print(f"fault: {name} runs={runs} "
              + " ".join(f"{key}={value}" for key, value in figures.items()), flush=True)
        judge_all(self.stage, run, self.size)
        return run


def judge_all(stage, run, size):
    """Every promise, of a stage at rest."""
    running = [worker.metrics() for worker in stage.running()]
    features_of = judge.features_in(run)
    judge.check_nothing_doubled(run)
    judge.check_pairs_are_the_selected(run)
    judge.check_identities(run)
    judge.check_pairs_differ(run, features_of)
    judge.check_differences(run, features_of)
    judge.check_labels_are_accepted_once(run, workers=len(stage.workers))
    if stage.options.get("selection.when", "slots") == "slots":  # else pools close once asked
        judge.check_panes(run, judge.full_pools(run, size))
        judge.check_completions_held(run,
                                     sum(each["infopair_completions_held"] for each in running),
                                     sum(each["infopair_pools_open"] for each in running))
    judge.check_fits(run)
    judge.check_one_digest(run)
    judge.check_budget(run, stage.options["budget.in_flight"])
    judge.check_inputs_consumed(stage.committed(), stage.ends(), TOPICS["completions"])
    for each in running:
        judge.check_requests_accounted(run, each["infopair_requests_in_flight"])
        judge.check_trace(run, each, information.Rules.of(stage.options))


class Clock:
    """Seconds since it was made."""

    def __init__(self):
        self.begun = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.begun
