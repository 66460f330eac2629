/* What one transaction commits: effects (pairs, ledger entries, dead letters) and input offsets.
 *
 * A batch is filled by the engine, closed, sent by the shell as often as it takes (the same bytes,
 * the same offsets) and confirmed. Its memory is kept and used again. */
#ifndef INFOPAIR_BATCH_H
#define INFOPAIR_BATCH_H

#include "identity.h"
#include "schemas/bytes.h"
#include "schemas/error.h"

enum input { INPUT_COMPLETIONS, INPUT_LABELS, INPUTS };
enum output { OUTPUT_PAIRS, OUTPUT_LEDGER, OUTPUT_DEAD_LETTERS, OUTPUTS };

enum { EFFECT_HEADERS_MAX = 10 };

struct effect_header {
    const char *name; /* static text */
    struct span value;
};

struct effect {
    enum output output;
    int32_t partition; /* of the output topic; -1: by the key */
    struct span key;
    struct span value;
    struct effect_header headers[EFFECT_HEADERS_MAX];
    size_t header_count;
};

/* Offsets of labels that wait below the next one: at most so many are named, as "5,7,12". */
enum { BATCH_WAITING_MAX = 64, BATCH_WAITING_SIZE = 21 * BATCH_WAITING_MAX };

struct batch_offset {
    enum input input;
    int32_t partition;
    int64_t next;      /* next offset to read */
    int64_t low_water; /* completions: oldest offset that a new owner must read again; labels: below
                          it everything was decided but for what waits */
    int64_t time;      /* stream time of the partition just before low_water */
    char waiting[BATCH_WAITING_SIZE];
};

struct batch {
    struct effect *effects;
    size_t effect_count;
    struct batch_offset *offsets; /* every live partition, in order of (input, partition) */
    size_t offset_count;
    /* private */
    size_t effect_capacity;
    size_t offset_capacity;
    struct buffer arena;
};

/* The low-water, time and waiting offsets of a partition as the text that travels with its
 * committed offset ("1 LOW TIME WAITING"), and back; *waiting points into the text. False: not ours
 * or damaged. text: at least BATCH_METADATA_SIZE bytes. */
enum { BATCH_METADATA_SIZE = BATCH_WAITING_SIZE + 64 };
void batch_metadata_format(const struct batch_offset *offset, char *text);
bool batch_metadata_parse(const char *text, int64_t *low_water, int64_t *time,
                          const char **waiting);

/* Hash of all that a closed batch says, in its order. */
struct id batch_digest(const struct batch *batch);

/* ---- for the engine ---- */

void batch_init(struct batch *batch, size_t bytes_max);
void batch_free(struct batch *batch);
void batch_clear(struct batch *batch);
/* Adds an effect whose value the caller then writes by batch_value; NULL when memory ran out. The
 * pointer is good until the next effect. */
struct effect *batch_effect(struct batch *batch, enum output output, int32_t partition);
/* Copies bytes into the batch. The span is relative until batch_close. False: out of memory. */
bool batch_copy(struct batch *batch, struct span bytes, struct span *copy);
/* The arena, to encode into; batch_taken makes a relative span of what was appended since `mark`.
 */
struct buffer *batch_arena(struct batch *batch);
struct span batch_taken(const struct batch *batch, size_t mark);
bool batch_header(struct batch *batch, struct effect *effect, const char *name, struct span value);
bool batch_offset_add(struct batch *batch, const struct batch_offset *offset);
/* Makes all spans absolute. Nothing may be added afterwards. */
void batch_close(struct batch *batch);

#endif
