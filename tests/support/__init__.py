"""What the tests with real servers share: a broker, a worker, the records and the judge.

Nothing here links or imports a part of infopair; the contracts are read from schemas/*.avsc and
written and read by fastavro, so that a mistake of ours is not checked by itself.
"""
