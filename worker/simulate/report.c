#include "report.h"

#include "plot.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RULES_MAX = 128 };

/* One rule in one of the scenes of --vary. */
struct point {
    char *rule;
    double value, c_ratio, c_ratio_error, saving;
};

struct report {
    char *body; /* the scenes' sections */
    size_t size;
    FILE *out;
    char *varied; /* name of the field, NULL: none */
    struct point *points;
    size_t point_count;
};

bool report_can_write(const char *path, struct error *error)
{
    struct stat found;
    bool there = stat(path, &found) == 0;
    if (there && !S_ISREG(found.st_mode))
        return error_set(error, ERROR_DATA, "--html: '%.200s' is not a regular file", path);
    int file = open(path, O_WRONLY | O_CLOEXEC | (there ? 0 : O_CREAT | O_EXCL), 0666);
    if (file < 0)
        return error_set(error, ERROR_DATA, "--html: '%.200s': %s", path, strerror(errno));
    close(file);
    if (!there)
        unlink(path);
    return true;
}

struct report *report_new(void)
{
    struct report *report = calloc(1, sizeof *report);
    if (report == NULL)
        return NULL;
    report->out = open_memstream(&report->body, &report->size);
    if (report->out != NULL)
        return report;
    free(report);
    return NULL;
}

void report_free(struct report *report)
{
    if (report == NULL)
        return;
    if (report->out != NULL)
        fclose(report->out);
    free(report->body);
    for (size_t k = 0; k < report->point_count; k++)
        free(report->points[k].rule);
    free(report->points);
    free(report->varied);
    free(report);
}

/* ---- a scene ---- */

static void cell(double value, const char *format, FILE *out)
{
    fprintf(out, "<td>");
    if (isnan(value))
        fprintf(out, "never");
    else
        fprintf(out, format, value);
    fprintf(out, "</td>");
}

static void write_table(const struct scene *scene, const struct summary *summaries, FILE *out)
{
    fprintf(
        out,
        "<table><thead><tr><th>rule</th><th>c</th><th>c ratio</th><th>gap at the end</th>"
        "<th>late ratio (95 %%)</th><th>labels to uniform</th><th>saving (95 %%)</th></tr></thead>"
        "<tbody>\n");
    for (size_t k = 0; k < scene->rules.count; k++) {
        const struct summary *summary = &summaries[k];
        size_t last = summary->points;
        fprintf(out, "<tr><th scope=\"row\">");
        plot_text(summary->rule, out);
        fprintf(out, "</th><td>%.4g</td><td>%.3g ± %.2g</td><td>%.3g ± %.2g</td>", summary->c,
                summary->c_ratio, summary->c_ratio_error,
                last == 0 ? (double)NAN : summary->gap[last - 1],
                last == 0 ? (double)NAN : summary->gap_error[last - 1]);
        fprintf(out, "<td>%.2f (%.2f to %.2f)</td>", summary->late, summary->late_low,
                summary->late_high);
        cell(summary->labels_to_base, "%.0f", out);
        if (isnan(summary->saving))
            fprintf(out, "<td>never</td></tr>\n");
        else
            fprintf(out, "<td>%.2f (%.2f to %.2f)</td></tr>\n", summary->saving,
                    summary->saving_low, summary->saving_high);
    }
    fprintf(out, "</tbody></table>\n");
}

static void write_gaps(const struct scene *scene, const struct summary *summaries, FILE *out)
{
    struct plot_series series[RULES_MAX];
    size_t count = scene->rules.count < RULES_MAX ? scene->rules.count : RULES_MAX;
    size_t points = 0;
    for (size_t k = 0; k < count; k++)
        points = summaries[k].points > points ? summaries[k].points : points;
    double *x = calloc(count * points + 1, sizeof *x);
    double *error = calloc(count * points + 1, sizeof *error);
    for (size_t k = 0; x != NULL && error != NULL && k < count; k++) {
        const struct summary *summary = &summaries[k];
        for (size_t p = 0; p < summary->points; p++) {
            x[k * points + p] = (double)summary->at[p];
            error[k * points + p] = 1.96 * summary->gap_error[p];
        }
        series[k] = (struct plot_series){.name = summary->rule,
                                         .colour = k,
                                         .x = x + k * points,
                                         .y = summary->gap,
                                         .error = error + k * points,
                                         .count = summary->points};
    }
    const struct plot plot = {.title = "Gap of the policy against labels (mean over seeds, 95 % "
                                       "of the mean)",
                              .x_label = "labels",
                              .y_label = "gap J* − J",
                              .log_y = true,
                              .series = series,
                              .count = count};
    if (x != NULL && error != NULL)
        plot_lines(&plot, out);
    free(x);
    free(error);
}

static void write_bars(const struct scene *scene, const struct summary *summaries, FILE *out)
{
    struct plot_bar bars[RULES_MAX];
    size_t count = scene->rules.count < RULES_MAX ? scene->rules.count : RULES_MAX;
    for (size_t k = 0; k < count; k++)
        bars[k] = (struct plot_bar){summaries[k].rule, k, summaries[k].labels_to_base};
    plot_bars("Labels until the policy is as good as that of all uniform labels", "labels", bars,
              count, (double)scene->labels, "never within the labels", out);
}

/* Which directions matter, and how well a label of each rule measures them. */
static void write_spectrum(const struct scene *scene, const struct summary *summaries, FILE *out)
{
    struct plot_series series[RULES_MAX + 1];
    size_t rules = scene->rules.count < RULES_MAX ? scene->rules.count : RULES_MAX;
    size_t d = summaries[0].dimension;
    double *x = calloc(d + 1, sizeof *x);
    if (x == NULL)
        return;
    for (size_t k = 0; k < d; k++)
        x[k] = (double)k + 1;
    for (size_t k = 0; k < rules; k++)
        series[k] = (struct plot_series){
            .name = summaries[k].rule, .colour = k, .x = x, .y = summaries[k].measured, .count = d};
    series[rules] = (struct plot_series){.name = "I: how much the direction matters",
                                         .colour = rules,
                                         .x = x,
                                         .y = summaries[0].important,
                                         .count = d};
    const struct plot plot = {.title = "Spectrum of Σ against I: information of one label along "
                                       "the eigenvectors of I",
                              .x_label = "eigenvector of I",
                              .y_label = "v′ F v / labels, and v′ I v",
                              .log_y = true,
                              .series = series,
                              .count = rules + 1};
    plot_lines(&plot, out);
    free(x);
}

static bool keep_points(struct report *report, const struct scene *scene, const char *varied,
                        const struct summary *summaries)
{
    size_t count = report->point_count + scene->rules.count;
    const char *equals = strchr(varied, '=');
    struct point *points = reallocarray(report->points, count, sizeof *points);
    if (points != NULL)
        report->points = points;
    if (report->varied == NULL)
        report->varied = strndup(varied, (size_t)(equals - varied));
    if (points == NULL || report->varied == NULL)
        return false;
    for (size_t k = 0; k < scene->rules.count; k++) {
        char *rule = strdup(summaries[k].rule);
        if (rule == NULL)
            return false;
        points[report->point_count++] = (struct point){.rule = rule,
                                                       .value = strtod(equals + 1, NULL),
                                                       .c_ratio = summaries[k].c_ratio,
                                                       .c_ratio_error = summaries[k].c_ratio_error,
                                                       .saving = summaries[k].saving};
    }
    return true;
}

bool report_add(struct report *report, const struct scene *scene, const char *varied,
                const struct summary *summaries)
{
    FILE *out = report->out;
    fputs("<section><h2>", out);
    plot_text(scene->name, out);
    if (varied != NULL) {
        fputs(", ", out);
        plot_text(varied, out);
    }
    fprintf(out,
            "</h2>\n<p>d = %zu, pools of %zu, %zu pools and %zu labels a "
            "round, %zu labels, %zu seeds, β = %g.</p>\n",
            summaries[0].dimension, scene->pool == 0 ? scene->world.completions : scene->pool,
            scene->pools, scene->batch, scene->labels, scene->seeds, scene->world.beta);
    write_table(scene, summaries, out);
    write_gaps(scene, summaries, out);
    write_bars(scene, summaries, out);
    write_spectrum(scene, summaries, out);
    fprintf(out, "</section>\n");
    return !ferror(out) && (varied == NULL || keep_points(report, scene, varied, summaries));
}

/* ---- over the scenes ---- */

/* The points of one rule, in the order they came: x, y and error behind each other. */
static size_t gather(const struct report *report, const char *rule, bool saving, double *x,
                     double *y, double *error)
{
    size_t count = 0;
    for (size_t k = 0; k < report->point_count; k++) {
        const struct point *point = &report->points[k];
        if (strcmp(point->rule, rule) != 0)
            continue;
        x[count] = point->value;
        y[count] = saving ? point->saving : point->c_ratio;
        error[count++] = saving || isnan(point->c_ratio_error) ? 0 : 1.96 * point->c_ratio_error;
    }
    return count;
}

static bool seen_before(const struct report *report, size_t number)
{
    for (size_t k = 0; k < number; k++) {
        if (strcmp(report->points[k].rule, report->points[number].rule) == 0)
            return true;
    }
    return false;
}

static void write_varied(const struct report *report, bool saving, FILE *out)
{
    struct plot_series series[RULES_MAX];
    size_t count = 0, n = report->point_count;
    double *room = calloc(3 * n * RULES_MAX + 1, sizeof *room);
    for (size_t k = 0; room != NULL && k < n && count < RULES_MAX; k++) {
        if (seen_before(report, k))
            continue;
        double *x = room + 3 * n * count;
        size_t points = gather(report, report->points[k].rule, saving, x, x + n, x + 2 * n);
        series[count] = (struct plot_series){.name = report->points[k].rule,
                                             .colour = count,
                                             .x = x,
                                             .y = x + n,
                                             .error = saving ? NULL : x + 2 * n,
                                             .count = points};
        count++;
    }
    char title[160];
    snprintf(title, sizeof title, "%s by %.60s", saving ? "Saving" : "c of uniform / c",
             report->varied);
    const struct plot plot = {.title = title,
                              .x_label = report->varied,
                              .y_label = saving ? "saving" : "c ratio",
                              .log_x = true,
                              .series = series,
                              .count = count};
    if (room != NULL)
        plot_lines(&plot, out);
    free(room);
}

static const char HEAD[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>infopair simulate</title>\n<style>\n"
    ":root{color-scheme:light dark;--ink:#1b1f24;--page:#ffffff;--soft:#656d76;--grid:#d8dee4;"
    "--c0:#7a7f87;--c1:#0b5cad;--c2:#c2410c;--c3:#15803d;--c4:#7e22ce;--c5:#a16207;--c6:#be123c;"
    "--c7:#0e7490;--c8:#4d7c0f;--c9:#9d174d;--c10:#1e40af;--c11:#57534e}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--page:#0d1117;--soft:#9198a1;"
    "--grid:#30363d;--c0:#a0a6ae;--c1:#6cb6ff;--c2:#ff9966;--c3:#6bd08a;--c4:#c99cf5;--c5:#e3b341;"
    "--c6:#ff7b8a;--c7:#5fd3e6;--c8:#a8d15f;--c9:#f59ac2;--c10:#93b4ff;--c11:#c7c1bb}}\n"
    "@media print{:root{color-scheme:light;--ink:#000;--page:#fff;--soft:#444;--grid:#ccc}"
    "section{break-before:page}section:first-of-type{break-before:auto}"
    "figure,table{break-inside:avoid}}\n"
    "body{background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif;"
    "max-width:60rem;margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}p,figcaption{max-width:48rem}\n"
    "table{border-collapse:collapse;font-size:.9rem;display:block;overflow-x:auto}"
    "th,td{padding:.25rem .7rem;border-bottom:1px solid var(--grid);text-align:right;"
    "white-space:nowrap}tbody th{text-align:left;font-weight:400}"
    "thead th{color:var(--soft);font-weight:600}thead th:first-child{text-align:left}\n"
    "figure{margin:1.8rem 0}figcaption{font-weight:600;margin-bottom:.4rem}"
    "svg{width:100%;height:auto}.legend svg{width:34px;height:10px}\n"
    ".grid{stroke:var(--grid);stroke-width:1}.tick{fill:var(--soft);font-size:11px}"
    ".axis{fill:var(--ink);font-size:12px}.curve{fill:none;stroke-width:2}"
    ".band{opacity:.14;stroke:none}.mark{stroke:var(--ink);stroke-dasharray:4 3}\n"
    ".legend{list-style:none;padding:0;margin:.4rem 0;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;"
    "font-size:.85rem}\nfooter{color:var(--soft);font-size:.85rem;margin-top:3rem}\n"
    "</style>\n</head>\n<body>\n<h1>Which pairs to compare: a simulation</h1>\n"
    "<p>Each rule ran through the worker’s engine in simulated worlds whose truth is known; all "
    "rules of a seed saw the same world, pools and random numbers of labels. <b>c</b> = labels · "
    "tr(I F⁻¹) at the truth: how good the asked pairs are, nearly without noise; the c ratio is "
    "that of uniform pairs over the rule’s, with its standard error. <b>Saving</b>: all labels / "
    "labels at which the rule’s policy is as good as that of all uniform labels.</p>\n";

static void write_page(const struct report *report, FILE *out)
{
    fputs(HEAD, out);
    if (report->varied != NULL) {
        fputs("<section><h2>By ", out);
        plot_text(report->varied, out);
        fputs("</h2>\n", out);
        write_varied(report, false, out);
        write_varied(report, true, out);
        fputs("</section>\n", out);
    }
    fwrite(report->body, 1, report->size, out);
    fputs("<footer>infopair " INFOPAIR_VERSION " simulate</footer>\n</body>\n</html>\n", out);
}

bool report_write(const struct report *report, const char *path, struct error *error)
{
    if (fflush(report->out) != 0)
        return error_set(error, ERROR_FATAL, "out of memory for a report");
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return error_set(error, ERROR_DATA, "%s: %s", path, strerror(errno));
    write_page(report, out);
    bool done = !ferror(out);
    if (fclose(out) != 0 || !done) {
        unlink(path);
        return error_set(error, ERROR_FATAL, "%s: %s", path, strerror(errno));
    }
    return true;
}
