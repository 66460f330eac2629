/* A plot as SVG: lines with bands of error, or bars, on linear or logarithmic axes. Colours are the
 * CSS variables --c0 to --c11 of the page around it; each series also has a dash of its own, so
 * that it can be told apart without colour. */
#ifndef INFOPAIR_PLOT_H
#define INFOPAIR_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct plot_series {
    const char *name;
    size_t colour; /* number of the colour and the dash */
    const double *x, *y;
    const double *error; /* half of the band; NULL: none */
    size_t count;
};

struct plot {
    const char *title, *x_label, *y_label;
    bool log_x, log_y;
    const struct plot_series *series;
    size_t count;
};

/* Lines; what is not finite, or not positive on a logarithmic axis, is left out. */
void plot_lines(const struct plot *plot, FILE *out);

struct plot_bar {
    const char *name;
    size_t colour;
    double value; /* NaN: an empty bar that says `missing` */
};

/* Horizontal bars from 0, with `mark` as a line across (NaN: none). */
void plot_bars(const char *title, const char *label, const struct plot_bar *bars, size_t count,
               double mark, const char *missing, FILE *out);

/* Text with <, >, & and quotes escaped. */
void plot_text(const char *text, FILE *out);

#endif
