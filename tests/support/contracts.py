"""Records to bytes and back by fastavro, with the schemas of this repository and Confluent's frame.

Frame: byte 0, schema id as 4 bytes big-endian, then the Avro body. Without a registry the ids are
the places of the contracts: 1 completion, 2 label, 3 pair, 4 ledger.
"""

import functools
import io
import json
import struct

import fastavro
import numpy

from .environment import ROOT

IDS = {"completion": 1, "label": 2, "pair": 3, "ledger": 4}


@functools.cache
def schema(contract):
    path = ROOT / "schemas" / f"{contract}.avsc"
    return fastavro.parse_schema(json.loads(path.read_text()))


def body(contract, record):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema(contract), record)
    return out.getvalue()


def encode(contract, record, schema_id=None):
    return struct.pack(">bI", 0, schema_id or IDS[contract]) + body(contract, record)


def decode(contract, data, names=False):
    """Fails unless the frame is right and the body is used up. names: records within unions come as
    (name, record)."""
    magic, schema_id = struct.unpack(">bI", data[:5])
    assert magic == 0 and schema_id == IDS[contract], f"{contract}: frame {data[:5]!r}"
    return decode_body(contract, data[5:], names)


def decode_body(contract, data, names=False):
    """The same without a frame."""
    stream = io.BytesIO(data)
    record = fastavro.schemaless_reader(stream, schema(contract), None,
                                         return_record_name=names)
    assert stream.read() == b"", f"{contract}: bytes left over"
    return record


def features(values):
    """Little-endian float32, as completion.features wants it."""
    return numpy.asarray(values, dtype="<f4").tobytes()


def completion(prompt_id, completion_id, values, **more):
    """A completion with defaults for what a test does not care about."""
    record = {"prompt_id": prompt_id, "completion_id": completion_id, "policy_version": "test",
              "feature_space": "test", "features": features(values)}
    record.update(more)
    return record


def label(request_id, outcome, **more):
    record = {"request_id": request_id, "outcome": outcome}
    record.update(more)
    return record


def side(pair, which):
    """Completion id of the pair's "left" or "right"."""
    nested = pair.get(which)
    return nested["completion_id"] if isinstance(nested, dict) else pair[f"{which}_completion_id"]
