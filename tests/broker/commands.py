"""topics, send, tail and a configuration that is read again, against a real broker."""

import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import environment  # noqa: E402

environment.enter()

import numpy  # noqa: E402
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # noqa: E402

from support import contracts  # noqa: E402
from support.conditions import eventually, steadily  # noqa: E402
from support.ledger import TOPICS, read_entries  # noqa: E402
from support.stage import Stage  # noqa: E402
from support.topics import Writer, partitions_of, read_topic, reader  # noqa: E402
from support.worker import json_lines  # noqa: E402

DAY = 24 * 3600 * 1000


def settings_of(admin, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = admin.describe_configs([resource])[resource].result(30)
    return {name: entry.value for name, entry in found.items()}


def check_topics(stage):
    """Created with settings that keep the promises; a second call changes nothing."""
    admin = AdminClient({"bootstrap.servers": stage.brokers})
    consumer = reader(stage.brokers)
    count = {name: len(partitions_of(consumer, topic)) for name, topic in TOPICS.items()}
    consumer.close()
    assert count["completions"] == count["labels"] == count["pairs"] == 3, count
    assert count["ledger"] == 3, count
    ledger = settings_of(admin, TOPICS["ledger"])
    assert ledger["cleanup.policy"] == "delete", ledger["cleanup.policy"]
    # labels.window 30d + labels.deadline 1d + labels.late 7d + a day
    assert int(ledger["retention.ms"]) >= 39 * DAY or ledger["retention.ms"] == "-1", \
        ledger["retention.ms"]
    inputs = max(int(settings_of(admin, TOPICS[name])["max.message.bytes"])
                 for name in ("completions", "labels"))
    letters = int(settings_of(admin, TOPICS["dead_letters"])["max.message.bytes"])
    assert letters >= inputs + 64 * 1024, f"dead letters {letters}, inputs {inputs}"
    again = stage.command("topics")
    print("topics, again:", again.stdout.strip().splitlines()[-1:])


def write_inputs(stage):
    lines = [
        {"prompt_id": "p1", "completion_id": "a", "text": "first ü", "policy_version": "v1",
         "judge": {"score": 1.5}, "chars": 12, "good": True},
        {"prompt_id": "p1", "completion_id": "b", "text": "second", "policy_epoch": 7,
         "reward": 0.25, "candidate": False, "created_at": 1700000000000},
        {"prompt_id": "p2", "completion_id": "c", "text": "third", "domain": "poems"},
    ]
    completions = stage.folder / "completions.jsonl"
    completions.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    prompts = stage.folder / "prompts.jsonl"
    prompts.write_text('{"prompt_id": "p1", "prompt": "Why?"}\n'
                       '{"prompt_id": "p2", "prompt": "Who?"}\n', encoding="utf-8")
    values = numpy.arange(12, dtype="<f4").reshape(3, 4) / 8
    numpy.save(stage.folder / "features.npy", values)
    return lines, values


def check_send_completions(stage):
    lines, values = write_inputs(stage)
    stage.command("send", "completions", "--features", stage.folder / "features.npy",
                  "--prompts", stage.folder / "prompts.jsonl", "--default", "policy_version=v0",
                  "--default", "feature_space=s", stage.folder / "completions.jsonl")
    records = read_topic(stage.brokers, TOPICS["completions"])
    sent = {record["completion_id"]: record for record in
            (contracts.decode("completion", record.value) for record in records)}
    assert {record.key for record in records} == {b"p1", b"p2"}, "keys are prompt ids"
    assert sent.keys() == {"a", "b", "c"}
    for row, (name, record) in enumerate(sorted(sent.items())):
        assert record["features"] == contracts.features(values[row]), f"features of {name}"
        assert record["feature_space"] == "s"
    first, second, third = sent["a"], sent["b"], sent["c"]
    assert text_of(first) == "first ü"
    assert (first["policy_version"], second["policy_version"]) == ("v1", "v0")
    assert first["prompt"] == "Why?" and third["prompt"] == "Who?"
    assert set(first["attributes"]) == {"judge", "chars", "good"}, first["attributes"]
    assert first["attributes"]["chars"] == "12" and first["attributes"]["good"] == "true"
    assert json.loads(first["attributes"]["judge"]) == {"score": 1.5}
    assert second["policy_epoch"] == 7 and second["reward"] == 0.25
    assert second["candidate"] is False and first["candidate"] is True
    assert third["domain"] == "poems"
    print(f"sent {len(lines)} completions")


def text_of(completion):
    """The field that `text` is an alias of."""
    return completion["completion"] if "completion" in completion else completion["text"]


def check_send_labels(stage):
    """From standard input."""
    stage.command("send", "labels", stdin='{"request_id": "r1", "outcome": "left", '
                  '"annotator_id": "ann"}\n{"request_id": "r2", "probability_left": 0.75}\n')
    labels = {label["request_id"]: label for label in
              (contracts.decode("label", record.value)
               for record in read_topic(stage.brokers, TOPICS["labels"]))}
    assert labels["r1"]["outcome"] == "left" and labels["r1"]["annotator_id"] == "ann"
    assert labels["r2"]["outcome"] is None and labels["r2"]["probability_left"] == 0.75


def check_send_refuses(stage):
    """A line that cannot be a record is named; a feature file of another length is refused."""
    before = len(read_topic(stage.brokers, TOPICS["labels"]))
    done = stage.command("send", "labels", stdin='{"request_id": "r3", "outcome": "sideways"}\n',
                         check=False)
    assert done.returncode != 0 and "sideways" in done.stderr, done
    done = stage.command("send", "labels", stdin="not json\n", check=False)
    assert done.returncode != 0 and "1" in done.stderr, done
    assert len(read_topic(stage.brokers, TOPICS["labels"])) == before
    numpy.save(stage.folder / "short.npy", numpy.zeros((1, 4), dtype="<f4"))
    done = stage.command("send", "completions", "--features", stage.folder / "short.npy",
                         "--default", "policy_version=v0", "--default", "feature_space=s",
                         stage.folder / "completions.jsonl", check=False)
    assert done.returncode != 0, "features for one of three lines were accepted"


def tail(stage, topic):
    return json_lines(stage.command("tail", topic).stdout)


def check_tail(stage):
    """JSON lines of what a worker made of it: pairs, ledger, dead letters."""
    random = numpy.random.default_rng(2)
    for k in range(8):
        stage.write_completion("p3", f"c-{k}", random.normal(size=4), feature_space="s",
                               feature_epoch=1)
    stage.write("labels", b"broken")
    stage.flush()
    stage.options.update({"features.scale": 1, "pool.size": 4, "moments.interval": "1s"})
    stage.worker.options.update(stage.options)
    stage.worker.start(ready=True)
    from support.conditions import eventually
    eventually(lambda: read_topic(stage.brokers, TOPICS["pairs"]), 30, "a pair")
    eventually(lambda: read_topic(stage.brokers, TOPICS["dead_letters"]), 30, "a dead letter")
    assert stage.worker.terminate() == 0
    pairs = tail(stage, "pairs")
    decoded = [contracts.decode("pair", record.value)
               for record in read_topic(stage.brokers, TOPICS["pairs"])]
    assert sorted(pair["request_id"] for pair in decoded) == sorted(
        find(pair, "request_id") for pair in pairs)
    kinds = json.dumps(tail(stage, "ledger")).lower()
    assert "space" in kinds and "selected" in kinds
    letters = tail(stage, "dead-letters")
    assert any("infopair.reason" in json.dumps(letter) or "reason" in letter
               for letter in letters), letters


def find(line, name):
    """A field of the record, at the top or one level down."""
    if name in line:
        return line[name]
    return next(inner[name] for inner in line.values() if isinstance(inner, dict) and name in inner)


CONFIGURATION = """policy: {{ beta = 0.5; }};
features: {{ scale = 1.0; }};
pool: {{ size = {size}; age = "2d"; }};
budget: {{ per_second = 0.00001; burst = {burst}; in_flight = 50; quiet = [{quiet}]; }};
"""


def members(admin, group):
    return admin.describe_consumer_groups([group])[group].result(30).members


def check_reload(stage):
    """SIGHUP: a new budget holds at once, other options wait, a bad file changes nothing; a journal
    repeats all of it."""
    topics = {f"topics.{name}": f"again.{name}" for name in TOPICS}
    stage.command("topics", options=topics)
    worker, file = stage.add_worker({**topics, "kafka.group": "again",
                                       "kafka.session_timeout": "6s"}), stage.folder / "again.cfg"
    for name in list(worker.options):  # what --set says would win over the file
        if name.partition(".")[0] in ("budget", "features", "policy", "pool"):
            del worker.options[name]
    journal = stage.folder / "again.journal"
    worker.arguments = ("--config", file, "--journal", journal)
    generator, writer = numpy.random.default_rng(1), Writer(stage.brokers)
    for prompt in range(30):
        for completion in range(5):
            record = contracts.completion(f"prompt {prompt}", f"{completion}",
                                          generator.normal(size=4))
            writer.send(topics["topics.completions"],
                                    contracts.encode("completion", record),
                                    key=f"prompt {prompt}".encode())
    writer.flush()

    def write(**values):
        file.write_text(CONFIGURATION.format(**{"size": 5, "burst": 3, "quiet": "", **values}),
                        encoding="utf-8")

    def asked():
        return [entry for entry in read_entries(stage.brokers, topics["topics.ledger"])
                if entry.kind == "selected"]

    def says(words):
        eventually(lambda: words in worker.log.read_text(encoding="utf-8"), 30, words)

    def hang_up():
        worker.process.signal(signal.SIGHUP)

    write()
    worker.start(ready=True)
    eventually(lambda: len(asked()) == 3, 60, "3 requests")
    write(burst=9, size=6)
    hang_up()
    says("budget.burst: 3 -> 9")
    says("pool.size: 6 waits for a restart; 5 is in force")
    eventually(lambda: len(asked()) == 9, 60, "6 more")
    digests = [entry.digest for entry in asked()]
    assert len(set(digests)) == 2, "the digest did not follow the budget"
    write(burst='"many"')
    hang_up()
    says(f"nothing has changed: {file}:4: budget.burst: expected a whole number")
    write(burst=15, quiet='"00:00-23:59", "23:58-00:01"')
    hang_up()
    says("nothing has changed: budget.quiet: leaves no time of the week")
    write(burst=15)
    hang_up()
    says("budget.burst: 9 -> 15")
    eventually(lambda: len(asked()) == 15, 60, "6 more")
    steadily(lambda: len(asked()) == 15, 1, "the burst is all there is")
    admin = AdminClient({"bootstrap.servers": stage.brokers})
    # A session that begins anew knows the budget in force, and so does the replay.
    worker.freeze()
    eventually(lambda: not members(admin, "again"), 60, "the group forgets the worker")
    worker.thaw()
    says("starting anew")
    worker.wait_ready()
    steadily(lambda: len(asked()) == 15, 1, "the burst is all there is")
    assert worker.terminate() == 0
    print("read again, then:", stage.command("replay", "--journal", journal).stdout.strip())


def main():
    chosen = environment.arguments(__doc__)
    with Stage(chosen.build, keep=chosen.keep) as stage:
        check_topics(stage)
        check_send_completions(stage)
        check_send_labels(stage)
        check_send_refuses(stage)
        check_tail(stage)
        check_reload(stage)


if __name__ == "__main__":
    main()
