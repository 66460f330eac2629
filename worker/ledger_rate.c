#include "ledger_rate.h"

bool ledger_rate(const struct ledger_sample *samples, size_t count, const bool *cut,
                 int32_t partitions, struct ledger_rate *rate)
{
    *rate = (struct ledger_rate){0};
    if (count == 0)
        return false;
    int64_t oldest = samples[0].time, newest = samples[0].time;
    for (size_t k = 1; k < count; k++) {
        oldest = samples[k].time < oldest ? samples[k].time : oldest;
        newest = samples[k].time > newest ? samples[k].time : newest;
    }
    for (int32_t partition = 0; partition < partitions; partition++) {
        size_t first = 0;
        while (first < count && samples[first].partition != partition)
            first++;
        if (cut[partition] && first < count && samples[first].time > oldest)
            oldest = samples[first].time;
    }
    const int64_t minute = 60 * 1000;
    if (newest - oldest < minute)
        return false;
    /* What was written at `oldest` itself took the time before it. */
    double bytes = 0;
    for (size_t k = 0; k < count; k++) {
        if (samples[k].time <= oldest)
            continue;
        bytes += (double)samples[k].bytes;
        rate->records++;
    }
    const double day = 24.0 * 3600 * 1000;
    rate->span = newest - oldest;
    rate->bytes_a_day = bytes / (double)rate->span * day;
    return true;
}
