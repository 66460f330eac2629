/* The digest of the shared options, as every entry of the ledger carries it:
 *
 *   hash ":" list option option ...
 *
 * hash: 32 hex digits of XXH3-128 over the lines `name=value` of all shared options. list: 3
 * characters of base64url, 18 bits of XXH3-64 over their names. option: as many over its line; one
 * for each shared option in the order of the table, or for a run of them with the same `mark`. Two
 * digests differ exactly when their hashes do; the marks only tell where. */
#include "options_table.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { HASH = OPTIONS_DIGEST_HASH, MARK = 3 };

/* The lower 18 bits (RFC 4648, section 5). */
static void write_mark(uint64_t hash, char mark[MARK])
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int k = 0; k < MARK; k++)
        mark[k] = DIGITS[hash >> (6 * k) & 63];
}

/* Whether the row shares the mark of the shared row before it. */
static bool joins(const struct option_row *before, const struct option_row *row)
{
    return before != NULL && before->mark != NULL && row->mark != NULL &&
           strcmp(before->mark, row->mark) == 0;
}

/* Writes all marks and returns true; false when the digest has no room for them, or memory ran
 * out. *text: the lines hashed, owned by the caller in any case. */
static bool write_marks(const struct options *options, char digest[OPTIONS_DIGEST_SIZE],
                        char **text, size_t *size)
{
    FILE *out = open_memstream(text, size);
    if (out == NULL)
        return false;
    uint64_t list = 0;
    size_t used = HASH + 1, start = 0;
    bool fits = true;
    const struct option_row *before = NULL;
    for (const struct option_row *row = OPTION_ROWS; fits && row->name != NULL; row++) {
        if (!row->shared)
            continue;
        list = XXH3_64bits_withSeed(row->name, strlen(row->name), list);
        if (!joins(before, row)) {
            start = *size;
            used += MARK;
        }
        before = row;
        fprintf(out, "%s=", row->name);
        option_write(options, row, false, out);
        fputc('\n', out);
        fits = fflush(out) == 0 && used + MARK < OPTIONS_DIGEST_SIZE;
        if (fits)
            write_mark(XXH3_64bits(*text + start, *size - start), digest + used);
    }
    used += MARK;
    write_mark(list, digest + HASH + 1);
    fits = fclose(out) == 0 && fits;
    digest[fits ? used : 0] = '\0';
    return fits;
}

void options_digest(const struct options *options, char digest[OPTIONS_DIGEST_SIZE])
{
    char *text = NULL;
    size_t size = 0;
    digest[0] = '\0';
    if (write_marks(options, digest, &text, &size)) {
        char hash[HASH + 1];
        XXH128_hash_t hashed = XXH3_128bits(text, size);
        snprintf(hash, sizeof hash, "%016llx%016llx", (unsigned long long)hashed.high64,
                 (unsigned long long)hashed.low64);
        memcpy(digest, hash, HASH);
        digest[HASH] = ':';
    }
    free(text);
}

/* Keeps room for MORE, which stands for what no longer fits. */
static bool append_name(char *names, size_t size, const char *name)
{
    static const char MORE[] = ", ...";
    size_t used = strlen(names);
    const char *comma = used == 0 ? "" : ", ";
    if (used + strlen(comma) + strlen(name) + sizeof MORE <= size) {
        snprintf(names + used, size - used, "%s%s", comma, name);
        return true;
    }
    if (used + sizeof MORE <= size)
        memcpy(names + used, MORE, sizeof MORE);
    return false;
}

static void name_differences(const char *own, const char *foreign, char *names, size_t size)
{
    size_t used = HASH + 1;
    const struct option_row *before = NULL;
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        if (!row->shared)
            continue;
        bool joined = joins(before, row);
        before = row;
        if (joined)
            continue;
        used += MARK;
        bool differs = memcmp(own + used, foreign + used, MARK) != 0;
        if (differs && !append_name(names, size, row->mark != NULL ? row->mark : row->name))
            return;
    }
    if (names[0] == '\0')
        snprintf(names, size, "an option whose marks happen to be equal");
}

bool options_digest_differs(const struct options *options, struct span foreign, char *names,
                            size_t size)
{
    char own[OPTIONS_DIGEST_SIZE];
    options_digest(options, own);
    names[0] = '\0';
    if (own[0] != '\0' && foreign.size >= HASH && memcmp(own, foreign.data, HASH) == 0)
        return false;
    if (own[0] != '\0' && foreign.size == strlen(own) &&
        memcmp(own + HASH, foreign.data + HASH, 1 + MARK) == 0)
        name_differences(own, foreign.data, names, size);
    else
        snprintf(names, size, "the list of options (another version of infopair)");
    return true;
}
