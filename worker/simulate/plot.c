#include "plot.h"

#include <math.h>
#include <string.h>

/* The picture and the frame of its axes, in units of the view box. */
enum { WIDTH = 720, HEIGHT = 380, LEFT = 70, RIGHT = 16, TOP = 16, BOTTOM = 48 };
enum { BAR = 22, BAR_LEFT = 260, BAR_RIGHT = 70, COLOURS = 12, TICKS_MAX = 12 };

static const char *const DASHES[] = {"",    "7 3",         "2 3", "9 3 2 3", "12 4",     "4 2 1 2",
                                     "1 2", "8 2 2 2 2 2", "5 5", "3 1",     "10 2 5 2", "6 1 1 1"};

struct axis {
    double low, high; /* of what is drawn: the logarithm on a logarithmic axis */
    bool logarithmic;
    double from, to; /* in the picture */
};

void plot_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc(*text, out);
    }
}

/* ---- axes ---- */

static bool drawable(const struct axis *axis, double value)
{
    return isfinite(value) && (!axis->logarithmic || value > 0);
}

static double inner(const struct axis *axis, double value)
{
    return axis->logarithmic ? log10(value) : value;
}

static void widen(struct axis *axis, double value)
{
    if (!drawable(axis, value))
        return;
    axis->low = fmin(axis->low, inner(axis, value));
    axis->high = fmax(axis->high, inner(axis, value));
}

static double place(const struct axis *axis, double value)
{
    double part = (inner(axis, value) - axis->low) / (axis->high - axis->low);
    return axis->from + part * (axis->to - axis->from);
}

static void close_axis(struct axis *axis)
{
    if (!(axis->low <= axis->high))
        axis->low = 0, axis->high = 1;
    if (axis->high - axis->low < 1e-9)
        axis->low -= .5, axis->high += .5;
    if (!axis->logarithmic && axis->low > 0 && axis->low < .5 * axis->high)
        axis->low = 0;
}

/* Round numbers on a linear axis; powers of ten, and 2 and 5 where there are few, on another. */
static size_t ticks_of(const struct axis *axis, double ticks[TICKS_MAX])
{
    size_t count = 0;
    if (axis->logarithmic) {
        static const double STEPS[] = {1, 2, 5};
        size_t steps = axis->high - axis->low > 3 ? 1 : 3;
        for (double power = floor(axis->low); power <= axis->high && count < TICKS_MAX; power++) {
            for (size_t k = 0; k < steps && count < TICKS_MAX; k++) {
                double value = STEPS[k] * pow(10, power);
                if (log10(value) >= axis->low - 1e-9 && log10(value) <= axis->high + 1e-9)
                    ticks[count++] = value;
            }
        }
        return count;
    }
    double rough = (axis->high - axis->low) / 6, power = pow(10, floor(log10(rough)));
    double step = rough / power < 1.5 ? power : rough / power < 3.5 ? 2 * power : 5 * power;
    for (double value = ceil(axis->low / step - 1e-9) * step;
         value <= axis->high + 1e-9 * step && count < TICKS_MAX; value += step)
        ticks[count++] = fabs(value) < 1e-12 * step ? 0 : value;
    return count;
}

static void draw_frame(const struct plot *plot, const struct axis *x, const struct axis *y,
                       FILE *out)
{
    double ticks[TICKS_MAX];
    size_t count = ticks_of(x, ticks);
    for (size_t k = 0; k < count; k++)
        fprintf(out,
                "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
                "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n",
                place(x, ticks[k]), place(x, ticks[k]), TOP, HEIGHT - BOTTOM, place(x, ticks[k]),
                HEIGHT - BOTTOM + 16, ticks[k]);
    count = ticks_of(y, ticks);
    for (size_t k = 0; k < count; k++)
        fprintf(out,
                "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                LEFT, WIDTH - RIGHT, place(y, ticks[k]), place(y, ticks[k]), LEFT - 6,
                place(y, ticks[k]) + 4, ticks[k]);
    fprintf(out, "<text class=\"axis\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
    plot_text(plot->x_label, out);
    fprintf(out,
            "</text>\n<text class=\"axis\" transform=\"translate(16 %d) rotate(-90)\" "
            "text-anchor=\"middle\">",
            (TOP + HEIGHT - BOTTOM) / 2);
    plot_text(plot->y_label, out);
    fprintf(out, "</text>\n");
}

/* ---- lines ---- */

static double lowest(const struct plot_series *series, size_t k, const struct axis *y)
{
    double low = series->error == NULL ? series->y[k] : series->y[k] - series->error[k];
    return drawable(y, low) ? low : series->y[k];
}

static bool shown(const struct plot_series *series, size_t k, const struct axis *x,
                  const struct axis *y)
{
    return drawable(x, series->x[k]) && drawable(y, series->y[k]);
}

static void draw_band(const struct plot_series *series, const struct axis *x, const struct axis *y,
                      FILE *out)
{
    const char *command = "M";
    fprintf(out, "<path class=\"band\" style=\"fill:var(--c%zu)\" d=\"", series->colour % COLOURS);
    for (size_t k = 0; k < series->count; k++) {
        if (!shown(series, k, x, y))
            continue;
        fprintf(out, "%s%.1f %.1f", command, place(x, series->x[k]),
                place(y, series->y[k] + series->error[k]));
        command = "L";
    }
    for (size_t k = series->count; k-- > 0;) {
        if (shown(series, k, x, y))
            fprintf(out, "L%.1f %.1f", place(x, series->x[k]), place(y, lowest(series, k, y)));
    }
    fprintf(out, "\"/>\n");
}

static void draw_line(const struct plot_series *series, const struct axis *x, const struct axis *y,
                      FILE *out)
{
    const char *command = "M";
    fprintf(out, "<path class=\"curve\" data-rule=\"");
    plot_text(series->name, out);
    fprintf(out, "\" style=\"stroke:var(--c%zu)\" stroke-dasharray=\"%s\" d=\"",
            series->colour % COLOURS, DASHES[series->colour % COLOURS]);
    for (size_t k = 0; k < series->count; k++) {
        if (!shown(series, k, x, y))
            continue;
        fprintf(out, "%s%.1f %.1f", command, place(x, series->x[k]), place(y, series->y[k]));
        command = "L";
    }
    fprintf(out, "\"><title>");
    plot_text(series->name, out);
    fprintf(out, "</title></path>\n");
}

static void draw_legend(const struct plot *plot, FILE *out)
{
    fprintf(out, "<ul class=\"legend\">\n");
    for (size_t k = 0; k < plot->count; k++) {
        size_t colour = plot->series[k].colour % COLOURS;
        fprintf(out,
                "<li><svg width=\"34\" height=\"10\" aria-hidden=\"true\"><line class=\"curve\" "
                "x1=\"1\" x2=\"33\" y1=\"5\" y2=\"5\" style=\"stroke:var(--c%zu)\" "
                "stroke-dasharray=\"%s\"/></svg> ",
                colour, DASHES[colour]);
        plot_text(plot->series[k].name, out);
        fprintf(out, "</li>\n");
    }
    fprintf(out, "</ul>\n");
}

void plot_lines(const struct plot *plot, FILE *out)
{
    struct axis x = {INFINITY, -INFINITY, plot->log_x, LEFT, WIDTH - RIGHT};
    struct axis y = {INFINITY, -INFINITY, plot->log_y, HEIGHT - BOTTOM, TOP};
    for (size_t s = 0; s < plot->count; s++) {
        const struct plot_series *series = &plot->series[s];
        for (size_t k = 0; k < series->count; k++) {
            if (!shown(series, k, &x, &y))
                continue;
            widen(&x, series->x[k]);
            widen(&y, series->y[k]);
            if (series->error != NULL) {
                widen(&y, series->y[k] + series->error[k]);
                widen(&y, lowest(series, k, &y));
            }
        }
    }
    close_axis(&x);
    close_axis(&y);
    fprintf(out, "<figure><figcaption>");
    plot_text(plot->title, out);
    fprintf(out, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
            HEIGHT);
    plot_text(plot->title, out);
    fprintf(out, "\">\n");
    draw_frame(plot, &x, &y, out);
    for (size_t s = 0; s < plot->count; s++) {
        if (plot->series[s].error != NULL)
            draw_band(&plot->series[s], &x, &y, out);
    }
    for (size_t s = 0; s < plot->count; s++)
        draw_line(&plot->series[s], &x, &y, out);
    fprintf(out, "</svg>\n");
    draw_legend(plot, out);
    fprintf(out, "</figure>\n");
}

/* ---- bars ---- */

static void draw_bar(const struct plot_bar *bar, size_t row, double scale, const char *missing,
                     FILE *out)
{
    double top = TOP + (double)row * BAR;
    double length = isnan(bar->value) ? 0 : bar->value * scale;
    fprintf(out, "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", BAR_LEFT - 8,
            top + 15);
    plot_text(bar->name, out);
    fprintf(out, "</text><rect class=\"bar\" data-rule=\"");
    plot_text(bar->name, out);
    fprintf(out,
            "\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" style=\"fill:var(--c%zu)\"/>"
            "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">",
            BAR_LEFT, top + 3, length, BAR - 6, bar->colour % COLOURS, BAR_LEFT + length + 6,
            top + 15);
    if (isnan(bar->value))
        plot_text(missing, out);
    else
        fprintf(out, "%.4g", bar->value);
    fprintf(out, "</text>\n");
}

void plot_bars(const char *title, const char *label, const struct plot_bar *bars, size_t count,
               double mark, const char *missing, FILE *out)
{
    double most = isfinite(mark) ? mark : 0;
    for (size_t k = 0; k < count; k++)
        most = bars[k].value > most ? bars[k].value : most;
    double scale = (WIDTH - BAR_LEFT - BAR_RIGHT) / (most > 0 ? most : 1);
    int height = TOP + (int)count * BAR + 30;
    fprintf(out, "<figure><figcaption>");
    plot_text(title, out);
    fprintf(out, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
            height);
    plot_text(title, out);
    fprintf(out, "\">\n");
    for (size_t k = 0; k < count; k++)
        draw_bar(&bars[k], k, scale, missing, out);
    if (isfinite(mark))
        fprintf(out, "<line class=\"mark\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n",
                BAR_LEFT + mark * scale, BAR_LEFT + mark * scale, TOP, TOP + (int)count * BAR);
    fprintf(out, "<text class=\"axis\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
            (BAR_LEFT + WIDTH - BAR_RIGHT) / 2, height - 8);
    plot_text(label, out);
    fprintf(out, "</text>\n</svg>\n</figure>\n");
}
