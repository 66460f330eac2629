"""A topic of completions written beforehand, and groups that read it from its first record on."""

from . import synthetic
from .topics import Writer
from .worker import Worker

OUTPUTS = ("labels", "pairs", "ledger", "dead_letters")


def write(stage, topic, partitions, dimension, pool, count):
    """In the order in which a trainer samples: `pool` completions of a prompt one after the other."""
    stage.kafka.create_topic(topic, partitions, max_message_bytes=1 << 20)
    world = synthetic.World(dimension)
    encoder = synthetic.Encoder(dimension, policy_version="bench", text="x" * 100)
    writer = Writer(stage.brokers)
    for begin in range(0, count, 1000):
        for number, row in enumerate(world.rows(min(1000, count - begin)), begin):
            prompt = number // pool
            writer.send(topic, encoder.encode(prompt, number, row), partition=prompt % partitions,
                        key=synthetic.prompt_key(prompt))
    writer.flush()


def workers(stage, topic, group, number=1, options=None):
    """Not started, of a group that has seen nothing, with outputs and a folder of its own."""
    fresh = {"topics.completions": topic, "kafka.group": group, **(options or {}),
             **{f"topics.{each}": f"{group}.{each}" for each in OUTPUTS}}
    stage.command("topics", options=fresh)
    folder = stage.folder / group
    folder.mkdir()
    return [Worker(stage.build, folder, {**stage.options, **fresh, "kafka.instance": f"w-{k}"},
                   log=f"worker-{k}.log") for k in range(number)]
