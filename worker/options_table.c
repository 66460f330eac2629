/* Every option, a row each. The reference page config/reference.md is made from this table, and the
 * build fails when the two differ. Names stay once released. */
#include "options_table.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(group, member)                                                                         \
    .name = #group "." #member, .offset = offsetof(struct options, group##_##member)
#define TOP(member) .name = #member, .offset = offsetof(struct options, member)

/* What a digest calls "selection.*": a mark for each would make every entry of the ledger longer.
 */
#define SELECTION(member) .mark = "selection.*", ROW(selection, member)
#define ASKING(member) .mark = "labels.attempts...skips", ROW(labels, member)
#define ANSWERS(member) .mark = "labels.by_annotator...ties", ROW(labels, member)
#define GROUPS(member) .mark = "features.groups", ROW(features, member)
#define VERSIONS(group, member) .mark = "labels.versions and the gammas", ROW(group, member)
#define PARAMETER(member, least, most)                                                             \
    SELECTION(member), .type = TYPE_NUMBER, .minimum = least, .maximum = most,                     \
                       .automatic = "auto", .automatic_nan = true, .fallback = "auto",             \
                       .shared = true, .parameter = true

/* The same for what limits the budget further. */
#define LIMIT(member) .mark = "budget.*", ROW(budget, member)

#define SECOND 1e3
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define KIB 1024.0
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define MANY 1e9

static const char *const ASSIGNMENTS[] = {"range", "cooperative-sticky", NULL};
static const char *const FRAMINGS[] = {"confluent", "bare", NULL};
static const char *const SAMPLINGS[] = {"reference", "current", "logged", NULL};
static const char *const REPLICATES[] = {"all", "best", NULL};
static const char *const BOTH_BADS[] = {"tie", "ignore", NULL};
static const char *const SKIPS[] = {"exclude", "again", NULL};
static const char *const TIES[] = {"half", "davidson", NULL};
static const char *const WHENS[] = {"slots", "price", "pool", NULL};
static const char *const DRAWS[] = {"best", "softmax", "power", "softrank", NULL};
static const char *const PROMPTS[] = {"pair", "spread", "entropy", "maxminlcb", NULL};
static const char *const LABEL_VERSIONS[] = {"keep", "forget", "reset", NULL};
static const char *const WEIGHTINGS[] = {"probit", "plug", NULL};
static const char *const UNITS[] = {"labels", "cost", NULL};
static const char *const LEVELS[] = {"error", "warn", "info", "debug", NULL};

static char *host_name(void)
{
    char name[256];
    if (gethostname(name, sizeof name) != 0 || name[0] == '\0')
        return strdup("localhost");
    name[sizeof name - 1] = '\0';
    return strdup(name);
}

/* A worker that was built but not installed finds its contracts in the source tree. */
static char *schema_directory(void)
{
    if (access(INFOPAIR_SCHEMA_DIRECTORY "/completion.avsc", R_OK) != 0 &&
        access(INFOPAIR_SOURCE_SCHEMA_DIRECTORY "/completion.avsc", R_OK) == 0)
        return strdup(INFOPAIR_SOURCE_SCHEMA_DIRECTORY);
    return strdup(INFOPAIR_SCHEMA_DIRECTORY);
}

const struct option_row OPTION_ROWS[] = {
    {ROW(kafka, brokers), TYPE_STRING, .required = true,
     .text = "Bootstrap list, `host:port,host:port`."},
    {ROW(kafka, group), TYPE_STRING, .minimum = 1, .fallback = "infopair",
     .text = "Consumer group. All workers of one group share the work and the ledger."},
    {ROW(kafka, instance), TYPE_STRING, .minimum = 1, .compute = host_name,
     .compute_text = "the host's name",
     .text = "Slot of this worker, stable over restarts and different for each worker of the "
             "group: `transactional.id` is group-instance."},
    {ROW(kafka, static), TYPE_BOOL, .fallback = "true",
     .text = "Sets `group.instance.id` to the instance: a quick restart moves no partitions."},
    {ROW(kafka, assignment), TYPE_NAME, .names = ASSIGNMENTS, .fallback = "range",
     .text = "How partitions are dealt out (`partition.assignment.strategy`)."},
    {ROW(kafka, session_timeout), TYPE_DURATION, SECOND, HOUR, .fallback = "45s",
     .text = "`session.timeout.ms`: how long a silent worker keeps its partitions."},
    {ROW(kafka, transaction_timeout), TYPE_DURATION, SECOND, 15 * MINUTE, .fallback = "15s",
     .text = "`transaction.timeout.ms`: how long a dead worker's open transaction holds back every "
             "reader."},
    {ROW(kafka, properties), TYPE_LIST, .fallback = "[]", .secret = true,
     .text = "`\"name=value\"` each, handed to librdkafka as they are and checked at the start. On "
             "the command line also `--set kafka.properties.NAME=VALUE`, which adds to the list."},

    {ROW(topics, completions), TYPE_STRING, .minimum = 1, .fallback = "infopair.completions",
     .text = "Input: completions."},
    {ROW(topics, labels), TYPE_STRING, .minimum = 1, .fallback = "infopair.labels",
     .text = "Input: labels."},
    {ROW(topics, pairs), TYPE_STRING, .minimum = 1, .fallback = "infopair.pairs",
     .text = "Output: requests for one label each. Read it with `isolation.level=read_committed`."},
    {ROW(topics, ledger), TYPE_STRING, .minimum = 1, .fallback = "infopair.ledger",
     .text = "What all workers agree on: requests, labels, expiries, moments, fits."},
    {ROW(topics, dead_letters), TYPE_STRING, .minimum = 1, .fallback = "infopair.dead-letters",
     .text = "Output: records that could not be used, with the reason in headers."},
    {ROW(topics, partitions), TYPE_INTEGER, 1, 10000, .fallback = "6",
     .text = "Partitions of each topic that `infopair topics` makes; the ledger always has 3."},
    {ROW(topics, replication), TYPE_INTEGER, 1, 100, .fallback = "3",
     .text = "Replicas of each topic that `infopair topics` makes."},

    {ROW(schemas, framing), TYPE_NAME, .names = FRAMINGS, .fallback = "confluent",
     .text = "What stands before each record, read and written: byte 0 and a 4-byte schema id, or "
             "nothing."},
    {ROW(schemas, directory), TYPE_STRING, .minimum = 1, .compute = schema_directory,
     .compute_text = "the installed schemas",
     .text = "Holds `completion.avsc`, `label.avsc`, `pair.avsc` and `ledger.avsc`."},
    {ROW(schemas, ids), TYPE_LIST, .fallback = "[]",
     .text = "`\"id=file\"` each, for framed records; the file is relative to `schemas.directory`. "
             "Empty: `1=completion.avsc`, `2=label.avsc`, `3=pair.avsc`, `4=ledger.avsc`."},

    {ROW(commit, interval), TYPE_DURATION, 10, MINUTE, .fallback = "200ms",
     .text = "A batch is committed at least this often."},
    {ROW(commit, records), TYPE_INTEGER, 1, 1e6, .fallback = "20000",
     .text = "Most records of one batch."},

    {ROW(features, dimension), TYPE_COUNT, 0, 65536, .fallback = "0", .shared = true,
     .text = "Length d of the feature vectors; 0: that of the first record of a space."},
    {ROW(features, space), TYPE_STRING, .fallback = "", .shared = true,
     .text = "The feature space to work in; empty: the one with the largest `feature_epoch`."},
    {ROW(features, scale), TYPE_NUMBER, 0, 1e300, .above_minimum = true, .automatic = "auto",
     .fallback = "auto", .shared = true,
     .text = "Factor on all features. `auto`: estimated once for each space, so that the mean "
             "squared distance to the pool's mean is d."},
    {ROW(features, scale_pools), TYPE_INTEGER, 1, 1e6, .fallback = "50", .shared = true,
     .text = "Ready pools that the estimate of the scale needs; nothing is asked before."},
    {GROUPS(groups), TYPE_LIST, .fallback = "[]", .shared = true,
     .text =
         "Groups of features, each with a λ of its own in the fit: `\"name=FROM-TO\"` each, "
         "indexes from 0, both ends belong to it; several ranges of one group are joined by `+`, "
         "as in `\"style=16-31+40\"`. What no group names makes one more, `other`. Empty: one "
         "group. A ledger whose fits have another number of groups is refused, but for one."},
    {GROUPS(blocks), TYPE_COUNT, 1, SEL_GROUPS_MAX, .fallback = "1", .shared = true,
     .text = "So many groups instead: contiguous blocks of equal size, `block0` and so on."},

    {ROW(limits, record), TYPE_SIZE, KIB, 64 * MIB, .fallback = "1MiB",
     .text = "A larger input record is dead-lettered."},
    {ROW(limits, dimension), TYPE_COUNT, 1, 65536, .fallback = "4096",
     .text = "Most features of a completion."},
    {ROW(limits, text), TYPE_SIZE, 16, 64 * MIB, .fallback = "16KiB",
     .text = "Longer prompts and completions are cut in the pairs, and flagged."},
    {ROW(limits, attributes), TYPE_COUNT, 0, 65536, .fallback = "64",
     .text = "Most entries of `attributes`."},
    {ROW(limits, clock_ahead), TYPE_DURATION, 0, 365 * DAY, .fallback = "5m",
     .text = "A record dated further ahead of the worker's clock than this does not move the "
             "stream's time."},

    {ROW(pool, size), TYPE_COUNT, 2, 65536, .fallback = "16", .shared = true,
     .text = "A pool with so many completions is ready."},
    {ROW(pool, min), TYPE_COUNT, 2, 65536, .fallback = "2", .shared = true,
     .text = "Least completions of a pool that is ready by `pool.wait`."},
    {ROW(pool, max), TYPE_COUNT, 2, 65536, .fallback = "64", .shared = true,
     .text = "Most completions of a pool; the oldest gives way."},
    {ROW(pool, wait), TYPE_DURATION, 0, 365 * DAY, .fallback = "5m", .shared = true,
     .text = "After this time a pool is ready though not full."},
    {ROW(pool, age), TYPE_DURATION, SECOND, 3650 * DAY, .fallback = "1h", .shared = true,
     .text = "After this time a pool is closed."},
    {ROW(pool, picks), TYPE_INTEGER, 0, MANY, .fallback = "0", .shared = true,
     .text = "A pool is closed after so many picks; 0: no limit."},
    {ROW(pool, near), TYPE_NUMBER, 0, 1, .fallback = "0", .shared = true,
     .text = "Completions of a pool are near-duplicates when their texts are equal, or their "
             "distance is at most this share of √(2 d), the typical one."},
    {ROW(pool, drop_near), TYPE_BOOL, .fallback = "false", .shared = true,
     .text = "Of near-duplicates only the first takes part in pairs. They are counted either way "
             "and always count for I."},

    {ROW(policy, beta), TYPE_NUMBER, 0, 1e300, .above_minimum = true, .required = true,
     .shared = true, .text = "β: strength of the KL penalty with which the policy is trained."},
    {ROW(policy, sampling), TYPE_NAME, .names = SAMPLINGS, .fallback = "reference", .shared = true,
     .text =
         "Where completions come from: the reference policy (weighted by softmax(ψᵀφ/β)), the "
         "current policy (equal weights), or as their logged probabilities say, as far as these "
         "leave a quarter of a pool's completions effective, or half of what ψ leaves."},
    {ROW(policy, window), TYPE_DURATION, MINUTE, 3650 * DAY, .fallback = "7d", .shared = true,
     .text = "Time that the policy information I covers."},
    {ROW(policy, pools_min), TYPE_NUMBER, 0, 1e9, .fallback = "50",
     .text = "With fewer effective pools behind I (pools of equal weight that would be as good), "
             "/ready and the log say that it rests on few; 0: never."},
    {ROW(moments, interval), TYPE_DURATION, 100, DAY, .fallback = "10s", .shared = true,
     .text = "Each partition writes its sums for I at most this often."},
    {VERSIONS(moments, gamma), TYPE_NUMBER, 0, 1, .fallback = "1", .shared = true,
     .text =
         "Moments of an older policy version weigh this much in I for each newer `policy_epoch` "
         "of the ledger's window. Below 1 the four newest versions in each sixteenth of "
         "`policy.window` count."},

    {VERSIONS(labels, versions), TYPE_NAME, .names = LABEL_VERSIONS, .fallback = "keep",
     .shared = true,
     .text = "What newer policy versions do to the labels of older ones, in Σ and the fit. `keep`: "
             "nothing. `forget`: they weigh `labels.gamma` for each newer `policy_epoch`. `reset`: "
             "only those of the newest count."},
    {VERSIONS(labels, gamma), TYPE_NUMBER, 0, 1, .fallback = "0.5", .shared = true,
     .text = "Weight of `labels.versions = \"forget\"`."},
    {ROW(labels, window), TYPE_DURATION, MINUTE, 3650 * DAY, .fallback = "30d", .shared = true,
     .text = "Time that Σ covers."},
    {ROW(labels, max), TYPE_INTEGER, 1, MANY, .fallback = "100000", .shared = true,
     .text = "Most labels in Σ; the oldest give way."},
    {ROW(labels, deadline), TYPE_DURATION, SECOND, 365 * DAY, .fallback = "1d", .shared = true,
     .text = "A request without an answer is written off after this time."},
    {ROW(labels, late), TYPE_DURATION, 0, 365 * DAY, .fallback = "7d", .shared = true,
     .text = "A label still counts so long after its deadline."},
    {ASKING(attempts), TYPE_INTEGER, 1, 15, .fallback = "2", .shared = true,
     .text = "Most requests for one answer: one that runs out unanswered is asked again, while an "
             "open pool holds both completions."},
    {ASKING(replicas), TYPE_INTEGER, 1, 15, .fallback = "1", .shared = true,
     .text = "Answers wanted for a pair, each by another annotator."},
    {ASKING(replicate), TYPE_NAME, .names = REPLICATES, .fallback = "all", .shared = true,
     .text = "`all`: all of them are asked for at once, for every pair. `best`: one after the "
             "other; a pair that was answered competes again, by the rule's score, with those "
             "that were not asked. Uniform pairs and probes are asked once then."},
    {ASKING(both_bad), TYPE_NAME, .names = BOTH_BADS, .fallback = "tie", .shared = true,
     .text = "The answer `both_bad` is a `tie`, or it is counted and otherwise `ignore`d."},
    {ASKING(skips), TYPE_NAME, .names = SKIPS, .fallback = "exclude", .shared = true,
     .text =
         "A pair whose answer is `skip` or `invalid` is not asked again (`exclude`), or `again` "
         "as if nobody had answered, of somebody else."},
    {ROW(labels, lapse), TYPE_NUMBER, 0, .9, .automatic = "auto", .automatic_nan = true,
     .fallback = "auto", .shared = true,
     .text = "Share of the answers that are coin flips. `auto`: estimated once there are 10 labels "
             "a feature; 0: labels are clean."},
    {ROW(labels, probes), TYPE_NUMBER, 0, .5, .fallback = "0.04", .shared = true,
     .text = "Share of the slots that ask the most confident pair, to learn that rate; only while "
             "it is estimated."},
    {ANSWERS(by_annotator), TYPE_BOOL, .fallback = "true", .shared = true,
     .text = "Each annotator's labels are taken at a rate of their own, which stays at the overall "
             "one where they are few; only while that is estimated."},
    {ANSWERS(ties), TYPE_NAME, .names = TIES, .fallback = "half", .shared = true,
     .text =
         "What a tie (and both_bad) says: half an answer for each side, or an answer of its own "
         "by Davidson's model, for whose parameter 10 labels a feature are needed."},
    {ROW(labels, surprise), TYPE_NUMBER, 1, 1000, .fallback = "4", .live = true,
     .text = "Standard deviations by which the last 200 labels may cost more log-loss than the fit "
             "expects, before /ready and the log say that they contradict it."},

    {ROW(fit, every), TYPE_INTEGER, 1, MANY, .fallback = "50", .shared = true,
     .text = "Labels between two fits."},
    {ROW(fit, lambda), TYPE_NUMBER, 1e-9, 1e300, .automatic = "auto", .fallback = "auto",
     .shared = true, .text = "λ of the fit. `auto`: by evidence."},
    /* The evidence looks for no smaller λ than this. */
    {ROW(fit, lambda_max), TYPE_NUMBER, .01, 1e300, .automatic = "auto", .fallback = "auto",
     .shared = true, .text = "Cap of that λ. `auto`: 2 d / 0.09."},

    {ROW(selection, rule), TYPE_STRING, .minimum = 1, .fallback = "policy_trace", .shared = true,
     .text = "How pairs are chosen; the rules are listed below."},
    {ROW(selection, when), TYPE_NAME, .names = WHENS, .fallback = "slots", .shared = true,
     .text = "`slots`: the best pair over all open pools whenever the budget opens a slot. "
             "`price`: each pool is looked at once, when it is ready, and asked if its best pair "
             "is worth more than a price that adapts; then it is closed. `pool`: each pool is "
             "asked when it is ready and a slot is open, and closed after `pool.picks` (0: one)."},
    {ROW(selection, weights), TYPE_NAME, .names = WEIGHTINGS, .fallback = "probit", .shared = true,
     .text = "Weight of a pair: averaged over the uncertainty of ψ, or at the estimate."},
    {ROW(selection, plugin), TYPE_STRING, .fallback = "",
     .text = "A shared object with a rule of your own, which `selection.rule` then names."},
    {SELECTION(draw), TYPE_NAME, .names = DRAWS, .fallback = "best", .shared = true,
     .text = "`best`: the pair of the highest score. Else a draw from all pairs that are compared, "
             "in proportion to e^(s score), score^s or rank^-s, s = `selection.sharpness`."},
    {SELECTION(sharpness), TYPE_NUMBER, 0, 1e300, .fallback = "1", .shared = true,
     .text = "s of `selection.draw`."},
    {SELECTION(epsilon), TYPE_NUMBER, 0, 1, .fallback = "0", .shared = true,
     .text = "Share of the rule's own slots that go to uniform pairs."},
    {SELECTION(prompts), TYPE_NAME, .names = PROMPTS, .fallback = "pair", .shared = true,
     .text =
         "Which pools come first when not all are compared: those of the highest score of a pair, "
         "the widest spread of rewards, the highest predictive entropy (needs `policy_logprob`), "
         "or the lowest score of `maxminlcb`. The rule `apl` takes entropy."},
    {SELECTION(prompt_share), TYPE_NUMBER, 0, 1, .above_minimum = true, .automatic = "auto",
     .automatic_nan = true, .fallback = "auto", .shared = true, .parameter = true,
     .text = "Share of the open pools that are compared at all. `auto`: 1; required by `apl`."},
    {SELECTION(shortlist), TYPE_COUNT, 1, 100, .fallback = "64", .shared = true,
     .text = "Most pools that are compared for a pick."},
    {SELECTION(domain_quota), TYPE_COUNT, 0, 100, .fallback = "0", .shared = true,
     .text = "Most of those that may be of one domain; 0: no limit."},
    {SELECTION(per_cost), TYPE_BOOL, .fallback = "true", .shared = true,
     .text = "Scores are divided by the pair's cost (`cost` of completions)."},
    {SELECTION(price_share), TYPE_NUMBER, 0, 1, .above_minimum = true, .fallback = "0.25",
     .shared = true, .text = "Share of the pools that `price` lets ask."},
    {SELECTION(price_rate), TYPE_NUMBER, 0, 1, .above_minimum = true, .fallback = "0.1",
     .shared = true,
     .text = "How fast that price adapts: its logarithm moves by this much a pool."},
    {SELECTION(candidates), TYPE_COUNT, 2, 100000, .fallback = "2000", .shared = true,
     .text = "Rules that choose from a list: most pairs of the list, a uniform sample where there "
             "are more."},
    {SELECTION(list), TYPE_COUNT, 2, 64, .fallback = "4", .shared = true,
     .text = "`list_fw`: completions of a list, all of whose pairs are asked together."},
    {SELECTION(batch), TYPE_INTEGER, 0, MANY, .fallback = "0", .shared = true,
     .text = "Slots that must be open before any is used, over all workers; 0: 1, or for rules "
             "that choose from a list as many as the budget lets gather, at most 50."},
    {SELECTION(parameters), TYPE_LIST, .fallback = "[]", .shared = true,
     .text = "`\"name=value\"` each: parameters of the rule of `selection.plugin` that have no "
             "option of their own."},
    {PARAMETER(confidence, 0, 1e300)},
    {PARAMETER(buffer, -0.5, .5)},
    {PARAMETER(resolution, 1e-9, 1e300)},
    {PARAMETER(target_margin, 0, 1e300)},
    {PARAMETER(quantile_low, 0, 1)},
    {PARAMETER(quantile_high, 0, 1)},
    {PARAMETER(gate, 0, 1e300)},
    {PARAMETER(implicit_margin, -1e300, 1e300)},
    {PARAMETER(top_quantile, 1, 1e300)},
    {PARAMETER(ridge, 1e-300, 1e300)},
    {PARAMETER(design_beta, 1e-300, 1e300)},
    {PARAMETER(iterations, 1, 1e6)},
    {PARAMETER(within_prompts, 0, 1)},
    {PARAMETER(gap, 0, 1)},
    {PARAMETER(exchanges, 0, 1e9)},
    {PARAMETER(subset, 0, 1e9)},
    {PARAMETER(entropy_weight, 0, 1e300)},
    {PARAMETER(neighbours, 1, 1e6)},
    {PARAMETER(radius, 0, 1e300)},
    {PARAMETER(reward_share, 0, 1)},
    {PARAMETER(kernel_scale, 0, 1e300)},
    {ROW(control, share), TYPE_NUMBER, 0, 1, .fallback = "0.05", .shared = true,
     .text = "Share of the slots that go to uniform pairs, against which the rule is measured."},

    {ROW(budget, per_second), TYPE_NUMBER, 0, 1e6, .above_minimum = true, .automatic = "none",
     .fallback = "none", .shared = true, .live = true,
     .text = "Label slots that open each second, over all workers. This, `budget.per_hour` or "
             "`budget.per_day` must be given; of several all hold."},
    {ROW(budget, burst), TYPE_INTEGER, 1, MANY, .fallback = "50", .shared = true, .live = true,
     .text = "Most slots of `budget.per_second` that may gather while none are used; at least one "
             "a partition."},
    {ROW(budget, in_flight), TYPE_INTEGER, 1, MANY, .fallback = "500", .shared = true, .live = true,
     .text =
         "Most requests that wait for their label, over all workers; at least one a partition."},
    {LIMIT(per_hour), TYPE_NUMBER, 0, 1e300, .above_minimum = true, .automatic = "none",
     .fallback = "none", .shared = true, .live = true,
     .text = "Most labels that are asked for within any hour, over all workers; whole labels, at "
             "least one a partition. It may all be asked at once: then nothing follows until that "
             "is an hour ago (to the minute)."},
    {LIMIT(per_day), TYPE_NUMBER, 0, 1e300, .above_minimum = true, .automatic = "none",
     .fallback = "none", .shared = true, .live = true,
     .text = "The same within any 24 hours (to 24 minutes)."},
    {LIMIT(per_prompt), TYPE_INTEGER, 0, MANY, .fallback = "0", .shared = true, .live = true,
     .text = "Most requests of one prompt within `labels.window`, as far back as `labels.max` "
             "lets the worker remember; 0: no limit."},
    {LIMIT(unit), TYPE_NAME, .names = UNITS, .fallback = "labels", .shared = true, .live = true,
     .text = "What `per_second`, `burst`, `per_hour` and `per_day` count: labels, or the `cost` of "
             "pairs (the mean of their completions'). With costs each partition holds its exact "
             "part, and a pair is asked when the hour and the day have room for the dearest of its "
             "pool."},
    {LIMIT(total), TYPE_NUMBER, 0, 1e300, .above_minimum = true, .automatic = "none",
     .fallback = "none", .shared = true, .live = true,
     .text = "Most that the requests of `labels.window` may cost together, over all workers (each "
             "partition its part); what leaves the window is free again."},
    {LIMIT(domains), TYPE_LIST, .fallback = "[]", .shared = true, .live = true,
     .text = "`\"name=FLOOR..CAP\"` each, as in `\"code=0.2..0.5\"`, `\"chat=..0.3\"`, "
             "`\"math=0.1..\"`: shares of a domain (field `domain`) in any 200 requests in a row "
             "of a partition. At its cap (rounded up) its pools do not compete; below its floor, "
             "and with a pool to ask, only domains below theirs do. This holds for the arms "
             "alike: uniform pairs come from the pools that may be asked. Floors need "
             "`selection.when = slots`. `selection.domain_quota` is another thing: how many pools "
             "of a domain are compared."},
    {LIMIT(quiet), TYPE_LIST, .fallback = "[]", .plain = true, .shared = true, .live = true,
     .text = "Times at which nothing is asked: `\"22:00-07:00\"`, `\"Sat 00:00-24:00\"`, "
             "`\"Mon-Fri 18:00-08:00\"`. The days are those on which it begins. Slots gather up "
             "to the burst; deadlines run on."},
    {LIMIT(utc_offset), TYPE_STRING, .minimum = 1, .fallback = "+00:00", .shared = true,
     .live = true,
     .text = "Of the clock of `budget.quiet`, as `\"+02:00\"`. It is fixed: where summer time "
             "comes and goes, it must be changed."},

    {ROW(certificate, interval), TYPE_DURATION, 0, 365 * DAY, .fallback = "10m", .live = true,
     .text = "A certificate of the pairs asked so far is computed so often; `0s`: only when "
             "/certificate is asked for it."},
    {ROW(certificate, candidates), TYPE_COUNT, 100, 1e5, .fallback = "10000",
     .text = "Most open pairs that the best design of a certificate may hold; its bound is proven "
             "over all, and is close where this is not below the labels."},

    {ROW(accounting, interval), TYPE_DURATION, 0, 365 * DAY, .fallback = "10m",
     .text = "How many labels are saved is computed so often; `0s`: only when /accounting is asked "
             "for it."},
    {ROW(accounting, memory), TYPE_SIZE, 0, 64 * GIB, .fallback = "64MiB",
     .text =
         "Memory for the uniform pairs that are drawn beside the selected ones, and for what is "
         "computed of them; 0 draws none. The default is enough for 450 features; at most an "
         "eighth of what memory.limit leaves to spare is used."},

    {ROW(accounting, rule), TYPE_STRING, .fallback = "",
     .text = "A rule of scores to compare with: /accounting says how many labels it would need, "
             "and how many the rule in use, where both choose from up to 64 open pools a tick. "
             "A tick with a slot opens up to 128 pools more for it; empty: none."},

    {ROW(memory, limit), TYPE_SIZE, 32 * MIB, 1024 * GIB, .fallback = "1GiB",
     .text = "Covers queues, pools and windows; a start that cannot fit says by how much."},
    {TOP(seed), TYPE_COUNT, 0, 9e15, .fallback = "1", .shared = true,
     .text = "Key of all random draws."},
    {ROW(http, address), TYPE_STRING, .fallback = "127.0.0.1:8080",
     .text = "`HOST:PORT` of /live, /ready, /metrics, /certificate, /annotators and /accounting; "
             "port 0: a free one; empty: none."},
    {ROW(log, level), TYPE_NAME, .names = LEVELS, .fallback = "info", .live = true,
     .text = "Least severity that is logged."},
    {.name = NULL},
};

size_t option_count(void)
{
    return sizeof OPTION_ROWS / sizeof *OPTION_ROWS - 1;
}

const struct option_row *option_find(const char *name)
{
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

size_t option_group(const struct option_row *row)
{
    const char *dot = strchr(row->name, '.');
    return dot == NULL ? 0 : (size_t)(dot - row->name);
}

void option_variable(const char *name, char variable[OPTION_NAME_SIZE])
{
    snprintf(variable, OPTION_NAME_SIZE, "INFOPAIR_%s", name);
    for (char *c = variable; *c != '\0'; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

void *option_member(const struct options *options, const struct option_row *row)
{
    return (char *)(uintptr_t)options + row->offset;
}
