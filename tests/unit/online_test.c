/* What `check --online` says of topics, brokers, the ledger's end and committed offsets, from what
 * brokers would tell. No broker. */
#include "tests/support/expect.h"
#include "worker/brokers.h"
#include "worker/committed.h"
#include "worker/ledger_rate.h"
#include "worker/topics_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_SIZE = 8192, SETTINGS_MAX = 16 };

/* ---- support ---- */

struct page {
    char text[TEXT_SIZE];
    struct findings findings;
};

static void page_open(struct page *page)
{
    memset(page, 0, sizeof *page);
    page->findings.out = fmemopen(page->text, sizeof page->text, "w");
    assert_non_null(page->findings.out);
}

/* Closes the page and compares it, line for line. */
static void assert_page(struct page *page, int broken, const char *expected)
{
    fclose(page->findings.out);
    assert_string_equal(page->text, expected);
    assert_int_equal(page->findings.broken, broken);
}

static struct settings settings_of(struct setting *items)
{
    struct settings settings = {.items = items};
    while (settings.count < SETTINGS_MAX && items[settings.count].name != NULL)
        settings.count++;
    return settings;
}

/* ---- topics ---- */

/* Options under which the numbers are short: the ledger keeps 4 days. */
static const char *const TOPIC_SETS[] = {"labels.window=1d",     "policy.window=1d",
                                         "labels.deadline=1d",   "labels.late=1d",
                                         "topics.replication=3", NULL};

static void say_topic(enum topic topic, struct topic_found *found, struct setting *items,
                      struct page *page)
{
    struct options *options = expect_options(TOPIC_SETS);
    struct topic_plan plans[TOPICS];
    topics_plan(options, plans);
    found->settings = settings_of(items);
    page_open(page);
    topic_compare(&plans[topic], topic == TOPIC_LEDGER, found, &page->findings);
    options_free(options);
}

static void a_topic_as_planned_needs_no_words(void **state)
{
    (void)state;
    struct setting items[SETTINGS_MAX] = {{"cleanup.policy", "delete", true},
                                          {"min.insync.replicas", "2", true},
                                          {"retention.ms", "345600000", true},
                                          {"retention.bytes", "-1", false},
                                          {"max.message.bytes", "1048588", true},
                                          {"unclean.leader.election.enable", "false", false},
                                          {"message.timestamp.type", "LogAppendTime", true}};
    struct topic_found found = {.partitions = 3, .replicas = 3};
    struct page page;
    say_topic(TOPIC_LEDGER, &found, items, &page);
    assert_page(&page, 0, "");
}

static void every_setting_of_the_ledger_that_breaks_a_promise_is_named(void **state)
{
    (void)state;
    struct setting items[SETTINGS_MAX] = {{"cleanup.policy", "compact", true},
                                          {"min.insync.replicas", "2", true},
                                          {"retention.ms", "345599999", true},
                                          {"retention.bytes", "1000", true},
                                          {"max.message.bytes", "1000", true},
                                          {"unclean.leader.election.enable", "true", true},
                                          {"message.timestamp.type", "CreateTime", false}};
    struct topic_found found = {.partitions = 2, .replicas = 1};
    struct page page;
    say_topic(TOPIC_LEDGER, &found, items, &page);
    assert_page(
        &page, 7,
        "infopair.ledger: NOT FIT: has 2 partitions, must have at least 3: each entry has its "
        "place by its key\n"
        "infopair.ledger: note: has 1 replica: what a broker loses is lost\n"
        "infopair.ledger: NOT FIT: unclean.leader.election.enable is true, must be false: "
        "acknowledged records can vanish\n"
        "infopair.ledger: NOT FIT: cleanup.policy is compact, must be delete: compaction deletes "
        "what Sigma and I are made of\n"
        "infopair.ledger: NOT FIT: min.insync.replicas is 2, must be at most the number of "
        "replicas, 1: nothing can be written\n"
        "infopair.ledger: NOT FIT: max.message.bytes is 1000, must be at least 327680: moments or "
        "a fit could not be written\n"
        "infopair.ledger: NOT FIT: retention.ms is 345599999, must be at least 345600000: entries "
        "vanish while they still count (labels.window or policy.window + labels.deadline + "
        "labels.late + a day)\n"
        "infopair.ledger: NOT FIT: retention.bytes is 1000, must be -1: entries vanish while they "
        "still count\n"
        "infopair.ledger: note: message.timestamp.type is CreateTime; a new topic would get "
        "LogAppendTime: a worker whose clock is wrong can change what is kept\n");
}

static void more_partitions_of_the_ledger_are_a_note(void **state)
{
    (void)state;
    struct setting none[SETTINGS_MAX] = {{0}};
    struct topic_found found = {.partitions = 4, .replicas = 2};
    struct page page;
    say_topic(TOPIC_LEDGER, &found, none, &page);
    assert_page(&page, 0,
                "infopair.ledger: note: has 4 partitions; only the first 3 are used\n"
                "infopair.ledger: note: has 2 replicas; a new topic would get 3\n");
    say_topic(TOPIC_LABELS, &found, none, &page);
    assert_page(&page, 0,
                "infopair.labels: note: has 4 partitions; a new topic would get 6\n"
                "infopair.labels: note: has 2 replicas; a new topic would get 3\n");
}

static void dead_letters_follow_the_inputs_and_brokers_follow_topics_without_own(void **state)
{
    (void)state;
    struct options *options = expect_options(TOPIC_SETS);
    struct topic_plan plans[TOPICS];
    topics_plan(options, plans);
    struct setting large[SETTINGS_MAX] = {{"max.message.bytes", "5000000", true}};
    struct setting inherited[SETTINGS_MAX] = {{"max.message.bytes", "1000000", false}};
    struct topic_found found[TOPICS] = {{0}};
    found[TOPIC_LABELS].settings = settings_of(large);
    topics_raise_to_inputs(plans, found);
    assert_int_equal(topics_inherited_bytes(plans, found), 0);
    found[TOPIC_DEAD_LETTERS].settings = settings_of(inherited);
    assert_int_equal(topics_inherited_bytes(plans, found), 5000000 + 65536);
    options_free(options);
}

/* ---- brokers ---- */

static void say_brokers(const char *const *sets, struct setting (*items)[SETTINGS_MAX],
                        size_t count, int64_t inherited_bytes, struct page *page)
{
    struct options *options = expect_options(sets);
    struct broker brokers[4] = {{0}};
    for (size_t k = 0; k < count; k++)
        brokers[k] = (struct broker){.id = (int32_t)k + 1, .settings = settings_of(items[k])};
    page_open(page);
    brokers_compare(options, brokers, count, inherited_bytes, &page->findings);
    options_free(options);
}

static const char *const BROKER_SETS[] = {"kafka.transaction_timeout=30s",
                                          "kafka.session_timeout=45s", "pool.age=2h", NULL};

static void settings_at_their_bounds_fit(void **state)
{
    (void)state;
    struct setting items[1][SETTINGS_MAX] = {
        {{"transaction.max.timeout.ms", "30000", false},
         {"group.min.session.timeout.ms", "45000", false},
         {"group.max.session.timeout.ms", "45000", false},
         {"offset.metadata.max.bytes", "1408", false},
         {"offsets.retention.minutes", "10080", false},
         {"message.max.bytes", "1000", false},
         {"unclean.leader.election.enable", "false", false},
         {"offsets.topic.replication.factor", "2", false},
         {"transaction.state.log.replication.factor", "2", false},
         {"transaction.state.log.min.isr", "2", false},
         {"transactional.id.expiration.ms", "86400000", false}}};
    struct page page;
    say_brokers(BROKER_SETS, items, 1, 0, &page);
    assert_page(&page, 0, "");
    say_brokers(BROKER_SETS, items, 1, 1000, &page);
    assert_page(&page, 0, "");
}

static void every_setting_of_a_broker_that_breaks_a_promise_is_named(void **state)
{
    (void)state;
    struct setting items[1][SETTINGS_MAX] = {
        {{"transaction.max.timeout.ms", "29999", false},
         {"group.min.session.timeout.ms", "45001", false},
         {"group.max.session.timeout.ms", "44999", false},
         {"offset.metadata.max.bytes", "1407", false},
         {"offsets.retention.minutes", "119", false},
         {"message.max.bytes", "999", false},
         {"unclean.leader.election.enable", "true", false},
         {"offsets.topic.replication.factor", "1", false},
         {"transaction.state.log.replication.factor", "1", false},
         {"transaction.state.log.min.isr", "1", false},
         {"transactional.id.expiration.ms", "86399999", false}}};
    struct page page;
    say_brokers(BROKER_SETS, items, 1, 1000, &page);
    assert_page(
        &page, 7,
        "broker 1: NOT FIT: transaction.max.timeout.ms is 29999, must be at least 30000: no "
        "transaction could begin (kafka.transaction_timeout)\n"
        "broker 1: NOT FIT: group.min.session.timeout.ms is 45001, must be at most 45000: no "
        "worker could join the group (kafka.session_timeout)\n"
        "broker 1: NOT FIT: group.max.session.timeout.ms is 44999, must be at least 45000: no "
        "worker could join the group (kafka.session_timeout)\n"
        "broker 1: NOT FIT: offset.metadata.max.bytes is 1407, must be at least 1408: offsets "
        "could "
        "not be committed with the place from which open pools are read again\n"
        "broker 1: NOT FIT: offsets.retention.minutes is 119, must be at least 120: a group that "
        "rests loses its offsets while pools are still open (pool.age)\n"
        "broker 1: NOT FIT: unclean.leader.election.enable is true, must be false: committed "
        "offsets and transactions can vanish\n"
        "broker 1: NOT FIT: message.max.bytes is 999, must be at least 1000: topics without a "
        "max.message.bytes of their own cannot take our records\n"
        "broker 1: note: offsets.topic.replication.factor is 1, should be at least 2: committed "
        "offsets are lost with one broker\n"
        "broker 1: note: transaction.state.log.replication.factor is 1, should be at least 2: the "
        "state of transactions is lost with one broker\n"
        "broker 1: note: transaction.state.log.min.isr is 1, should be at least 2: what one broker "
        "alone has acknowledged of a transaction is lost with it\n"
        "broker 1: note: transactional.id.expiration.ms is 86399999, should be at least 86400000: "
        "who was fenced is forgotten while a worker rests\n");
}

static void brokers_that_have_the_same_share_a_line_and_differences_are_told(void **state)
{
    (void)state;
    struct setting items[3][SETTINGS_MAX] = {{{"offsets.retention.minutes", "60", false}},
                                             {{"offsets.retention.minutes", "10080", false}},
                                             {{"offsets.retention.minutes", "60", false}}};
    struct page page;
    say_brokers(BROKER_SETS, items, 3, 0, &page);
    assert_page(&page, 1,
                "brokers 1, 3: NOT FIT: offsets.retention.minutes is 60, must be at least 120: a "
                "group that rests loses its offsets while pools are still open (pool.age)\n"
                "broker 2: note: offsets.retention.minutes is 10080, but 60 on brokers 1, 3\n");
}

static void a_setting_that_is_only_short_is_a_note(void **state)
{
    (void)state;
    struct setting items[1][SETTINGS_MAX] = {
        {{"offsets.retention.minutes", "10079", false}, {"message.max.bytes", NULL, false}}};
    struct page page;
    say_brokers(BROKER_SETS, items, 1, 1000, &page);
    assert_page(&page, 0,
                "broker 1: note: offsets.retention.minutes is 10079, should be at least 10080: a "
                "group that rests for days loses its offsets\n");
}

static void a_broker_that_does_not_tell_is_not_taken_for_sound(void **state)
{
    (void)state;
    struct options *options = expect_options(BROKER_SETS);
    struct broker broker = {.id = 7, .unread = {ERROR_FATAL, "its settings: not for you"}};
    struct page page;
    page_open(&page);
    brokers_compare(options, &broker, 1, 0, &page.findings);
    assert_page(&page, 1, "broker 7: NOT CHECKED: its settings: not for you\n");
    options_free(options);
}

/* ---- the ledger's growth ---- */

static void the_rate_rests_on_the_time_that_all_partitions_cover(void **state)
{
    (void)state;
    const int64_t hour = 3600 * 1000;
    /* Partition 0 was cut at hour 10: what partition 1 has from before does not count. */
    const struct ledger_sample samples[] = {{1, 1 * hour, 5000},
                                            {0, 10 * hour, 100},
                                            {0, 11 * hour, 100},
                                            {1, 12 * hour, 300},
                                            {0, 12 * hour, 200}};
    const bool cut[] = {true, false}, whole[] = {false, false};
    struct ledger_rate rate;
    assert_true(ledger_rate(samples, 5, cut, 2, &rate));
    assert_int_equal(rate.span, 2 * hour);
    assert_int_equal(rate.records, 3);
    assert_true(rate.bytes_a_day == 600 * 12.0);
    assert_true(ledger_rate(samples, 5, whole, 2, &rate));
    assert_int_equal(rate.span, 11 * hour);
    assert_int_equal(rate.records, 4);
}

static void records_of_less_than_a_minute_have_no_rate(void **state)
{
    (void)state;
    const struct ledger_sample samples[] = {{0, 5, 100}, {1, 60004, 100}, {1, 60005, 100}};
    const bool cut[] = {false, false};
    struct ledger_rate rate;
    assert_false(ledger_rate(samples, 2, cut, 2, &rate));
    assert_true(ledger_rate(samples, 3, cut, 2, &rate));
    assert_false(ledger_rate(samples, 0, cut, 2, &rate));
}

/* ---- committed offsets ---- */

static void say_committed(bool low_water, struct committed_found found, struct page *page)
{
    page_open(page);
    committed_compare("t [0]", low_water, &found, &page->findings);
}

static void offsets_that_can_be_gone_on_from_need_no_words(void **state)
{
    (void)state;
    struct page page;
    say_committed(true, (struct committed_found){20, span_of("1 10 5"), 10, 20}, &page);
    assert_page(&page, 0, "");
    say_committed(true, (struct committed_found){-1001, {NULL, 0}, 10, 20}, &page);
    assert_page(&page, 0, "");
    say_committed(false, (struct committed_found){10, {NULL, 0}, 10, 20}, &page);
    assert_page(&page, 0, "");
}

static void what_was_deleted_before_it_was_read_is_counted(void **state)
{
    (void)state;
    struct page page;
    say_committed(false, (struct committed_found){7, {NULL, 0}, 10, 20}, &page);
    assert_page(&page, 1,
                "t [0]: NOT FIT: 3 records were deleted before they were read (the committed "
                "offset is 7, must be at least the log's start 10); `infopair run --accept-loss` "
                "goes on without them\n");
    say_committed(true, (struct committed_found){15, span_of("1 8 5"), 10, 20}, &page);
    assert_page(&page, 1,
                "t [0]: NOT FIT: 2 records of open pools were deleted (the low-water is 8, must be "
                "at least the log's start 10); `infopair run --accept-loss` goes on without "
                "them\n");
    say_committed(false, (struct committed_found){21, {NULL, 0}, 10, 20}, &page);
    assert_page(&page, 1,
                "t [0]: NOT FIT: the committed offset is 21, must be at most the log's end 20: the "
                "topic was made anew or lost records\n");
}

static void metadata_that_is_no_low_water_is_told(void **state)
{
    (void)state;
    static const char LONG[] = "1 10 5                                                          ";
    const struct span damaged[] = {{NULL, 0},         span_of(""),       span_of("1 10"),
                                   span_of("2 10 5"), span_of("1 16 5"), span_of(LONG)};
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        struct page page;
        say_committed(true, (struct committed_found){15, damaged[k], 10, 20}, &page);
        assert_page(&page, 1,
                    "t [0]: NOT FIT: the metadata of its committed offset is damaged or not a "
                    "worker's: which open pools are to be read again is lost; `infopair run "
                    "--accept-loss` goes on without them\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_as_planned_needs_no_words),
        cmocka_unit_test(every_setting_of_the_ledger_that_breaks_a_promise_is_named),
        cmocka_unit_test(more_partitions_of_the_ledger_are_a_note),
        cmocka_unit_test(dead_letters_follow_the_inputs_and_brokers_follow_topics_without_own),
        cmocka_unit_test(settings_at_their_bounds_fit),
        cmocka_unit_test(every_setting_of_a_broker_that_breaks_a_promise_is_named),
        cmocka_unit_test(brokers_that_have_the_same_share_a_line_and_differences_are_told),
        cmocka_unit_test(a_setting_that_is_only_short_is_a_note),
        cmocka_unit_test(a_broker_that_does_not_tell_is_not_taken_for_sound),
        cmocka_unit_test(the_rate_rests_on_the_time_that_all_partitions_cover),
        cmocka_unit_test(records_of_less_than_a_minute_have_no_rate),
        cmocka_unit_test(offsets_that_can_be_gone_on_from_need_no_words),
        cmocka_unit_test(what_was_deleted_before_it_was_read_is_counted),
        cmocka_unit_test(metadata_that_is_no_low_water_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
