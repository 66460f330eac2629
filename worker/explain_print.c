/* The explanation for people. */
#include "explain.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SHOWN = 5, BESIDE_SHOWN = 10 };

static const char *text(const json_t *object, const char *name)
{
    const char *found = json_string_value(json_object_get(object, name));
    return found == NULL ? "" : found;
}

static double real(const json_t *object, const char *name)
{
    const json_t *found = json_object_get(object, name);
    return json_is_number(found) ? json_number_value(found) : (double)NAN;
}

static long long whole(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

/* Milliseconds since the epoch as 2026-01-31T12:00:00.000Z. */
static const char *moment(long long milliseconds, char buffer[40])
{
    time_t seconds = (time_t)(milliseconds / 1000);
    struct tm parts;
    size_t used =
        gmtime_r(&seconds, &parts) == NULL ? 0 : strftime(buffer, 40, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(buffer + used, 40 - used, ".%03lldZ", milliseconds % 1000);
    return buffer;
}

static void print_request(const json_t *found)
{
    char asked[40], deadline[40];
    printf("Request %s: %s\n", text(found, "request_id"), text(found, "state"));
    printf("  prompt %s: left %s, right %s\n", text(found, "prompt_id"), text(found, "left_id"),
           text(found, "right_id"));
    printf("  asked %s by %s, deadline %s\n", moment(whole(found, "issued_at"), asked),
           text(found, "writer"), moment(whole(found, "deadline"), deadline));
    printf("  arm %s with propensity %.4g, slot %lld of partition %lld\n", text(found, "arm"),
           real(found, "propensity"), whole(found, "slot"), whole(found, "completions_partition"));
    printf("  policy %s, feature space %s\n", text(found, "policy_version"),
           text(found, "feature_space"));
    if (json_object_get(found, "foreign_options") != NULL)
        printf("  note: entries of that time were written under other values of %s; the figures\n"
               "  below are by the present ones\n",
               text(found, "foreign_options"));
}

/* "  lambda of first 2.1, other 30"; nothing without groups. */
static void print_lambdas(json_t *lambdas)
{
    const char *name;
    json_t *value;
    const char *before = "  lambda of";
    if (json_object_size(lambdas) < 2)
        return;
    json_object_foreach(lambdas, name, value)
    {
        printf("%s %s %.4g", before, name, json_real_value(value));
        before = ",";
    }
    putchar('\n');
}

static void print_known(const json_t *found)
{
    const json_t *known = json_object_get(found, "known"),
                 *choice = json_object_get(found, "choice");
    printf("\nWhat was known\n");
    if (whole(known, "fit_id") == 0)
        printf("  no fit yet: psi was 0, and nothing was predicted\n");
    else
        printf("  fit %lld: psi' x = %.4g, so that left is better with probability %.3f (lapse "
               "%.3g)\n",
               whole(known, "fit_id"), real(known, "margin"), real(known, "probability_left"),
               real(known, "lapse"));
    if (whole(known, "fit_id") != whole(known, "fit_named"))
        printf("  note: fit %lld, by which it was chosen, was deleted from the ledger\n",
               whole(known, "fit_named"));
    printf("  %lld labels in Sigma, %lld requests under way, lambda %.4g\n", whole(known, "labels"),
           whole(known, "under_way"), real(known, "lambda"));
    print_lambdas(json_object_get(known, "lambdas"));
    if (json_is_null(choice)) {
        printf("  its record of the pairs topic was deleted: score and reason are not known\n");
        return;
    }
    printf("  chosen by %s, score %.4g: %s\n", text(choice, "selector"), real(choice, "score"),
           text(choice, "reason"));
    const char *name;
    json_t *value;
    printf("  parts:");
    json_object_foreach(json_object_get(choice, "reason_parts"), name, value)
        printf(" %s %.4g", name, json_number_value(value));
    putchar('\n');
}

static void print_share(const json_t *eigen, size_t place)
{
    const json_t *each = json_array_get(eigen, place);
    printf("    %4zu. eigenvalue %-10.4g %5.1f %% of x\n", place + 1, real(each, "eigenvalue"),
           100 * real(each, "share"));
}

static void print_eigen(const json_t *eigen)
{
    size_t d = json_array_size(eigen);
    size_t first = d <= 2 * SHOWN ? d : SHOWN;
    double between = 0;
    printf("  shares of x in the eigenvectors of Sigma, the best known direction first:\n");
    for (size_t k = 0; k < first; k++)
        print_share(eigen, k);
    if (first == d)
        return;
    for (size_t k = SHOWN; k < d - SHOWN; k++)
        between += real(json_array_get(eigen, k), "share");
    printf("          %zu between %19.1f %% of x\n", d - 2 * SHOWN, 100 * between);
    for (size_t k = d - SHOWN; k < d; k++)
        print_share(eigen, k);
}

static void print_nearest(const json_t *nearest)
{
    size_t k;
    json_t *each;
    if (json_array_size(nearest) == 0) {
        printf("  no pair had been labelled before\n");
        return;
    }
    printf("  nearest labelled pairs before it, by cosine in the metric of inverse(Sigma):\n");
    json_array_foreach(nearest, k, each)
        printf("    %6.3f  %s  prompt %s, %s and %s: %.3g for left\n", real(each, "cosine"),
               text(each, "request_id"), text(each, "prompt_id"), text(each, "left_id"),
               text(each, "right_id"), real(each, "label"));
}

static void print_directions(const json_t *found)
{
    const json_t *directions = json_object_get(found, "directions");
    double said = real(directions, "variance_said"), rule = real(directions, "variance_of_rule");
    printf("\nWhat it covered\n");
    printf("  x' inverse(Sigma) x = %.4g", real(directions, "variance"));
    if (isfinite(said))
        printf("; %.4g by the rule's matrix, %.4g as the pair says", rule, said);
    putchar('\n');
    if (isfinite(said) && fabs(rule - said) > 1e-3 * fabs(said))
        printf("  note: the two differ by what other workers had written and this one not read\n");
    if (isfinite(real(directions, "trace")))
        printf(
            "  x' inverse(Sigma) I inverse(Sigma) x = %.4g; tr(I inverse(Sigma)) = %.4g, which a "
            "label\n  was expected to lower by %.3g\n",
            real(directions, "policy"), real(directions, "trace"),
            real(directions, "drop_expected"));
    print_eigen(json_object_get(directions, "eigen"));
    print_nearest(json_object_get(directions, "nearest"));
}

static void print_fit_change(const json_t *label)
{
    const json_t *before = json_object_get(label, "fit_before");
    const json_t *after = json_object_get(label, "fit_after");
    if (json_is_null(after)) {
        printf("  no fit has seen it yet\n");
        return;
    }
    double margin = json_is_null(before) ? 0 : real(before, "margin");
    double probability = json_is_null(before) ? .5 : real(before, "probability_left");
    printf("  psi' x: %.4g (left better with %.3f) by fit %lld, %.4g (%.3f) by fit %lld that first "
           "saw it\n",
           margin, probability, whole(before, "fit_id"), real(after, "margin"),
           real(after, "probability_left"), whole(after, "fit_id"));
}

static void print_label(const json_t *found)
{
    const json_t *label = json_object_get(found, "label");
    const json_t *agreed = json_object_get(label, "agreed");
    printf("\nWhat its label changed\n");
    if (json_is_null(label)) {
        printf("  there is none that counts\n");
        return;
    }
    printf("  %s", text(label, "outcome"));
    if (isfinite(real(label, "probability_left")))
        printf(" (%.3g for left)", real(label, "probability_left"));
    printf(" by %s, %.1f s after it was asked, confidence %.3g",
           text(label, "annotator_id")[0] == '\0' ? "somebody" : text(label, "annotator_id"),
           (double)(whole(label, "accepted_at") - whole(found, "issued_at")) / 1000,
           real(label, "confidence"));
    printf("%s\n", json_is_null(agreed)   ? ""
                   : json_is_true(agreed) ? "; as was predicted"
                                          : "; against the prediction");
    if (!isfinite(real(label, "probability_left"))) {
        printf("  it tells nothing about left and right: the slot was freed\n");
        return;
    }
    if (isfinite(real(label, "drop")))
        printf("  tr(I inverse(Sigma)) as it was then falls by %.3g\n", real(label, "drop"));
    print_fit_change(label);
}

static void print_beside(const json_t *found)
{
    const json_t *beside = json_object_get(found, "beside");
    size_t k, count = json_array_size(beside);
    json_t *each;
    printf("\nAsked within a second of it: %zu%s\n", count,
           count > 0 ? ", its transaction first, then by score" : "");
    json_array_foreach(beside, k, each)
    {
        if (k == BESIDE_SHOWN) {
            printf("  and %zu more\n", count - k);
            break;
        }
        printf("  %10.4g  %s  prompt %s, %s, %s\n", real(each, "score"), text(each, "request_id"),
               text(each, "prompt_id"), text(each, "arm"),
               json_is_true(json_object_get(each, "together")) ? "in the same transaction"
               : whole(each, "milliseconds") < 0               ? "before"
                                                               : "after");
    }
}

bool explain_print(const json_t *explanation, struct error *error)
{
    print_request(explanation);
    print_known(explanation);
    print_directions(explanation);
    print_label(explanation);
    print_beside(explanation);
    return fflush(stdout) == 0 ||
           error_set(error, ERROR_FATAL, "standard output cannot be written");
}
