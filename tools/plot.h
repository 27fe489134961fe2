/*
 * plot.h: figures as SVG: axes, lines, points, bars, bands.
 *
 * Flow:   plot_begin() -> bands and bars -> plot_axes() -> lines and points ->
 *         plot_end(); each writes its piece of SVG at once.
 * Memory: none but the caller's struct. Units: SVG user units; data in their own.
 * Errors: what cannot be drawn (NaN, outside a logarithmic axis) is left out; a line is
 *         broken there.
 * Invariant: the SVG needs nothing from elsewhere: no font, script or style sheet.
 */
#ifndef EVOKE_PLOT_H
#define EVOKE_PLOT_H

#include <stdio.h>

#define PLOT_INK  "#1f2933"
#define PLOT_DIM  "#7b8794"
#define PLOT_GRID "#e4e7eb"
#define PLOT_BLUE "#2368a2"
#define PLOT_RED  "#ba2525"
#define PLOT_GOLD "#cb8a17"
#define PLOT_TEAL "#1b8079"

struct plot_axis {
    double from, to;
    int is_log;
    const char *label; /* NULL: none */
    int has_no_ticks;
};

struct plot {
    FILE *to;
    double width, height;            /* of the whole figure */
    double left, right, top, bottom; /* margins round the data's rectangle */
    struct plot_axis x, y;
};

struct plot_style {
    const char *color;
    double width;     /* of a stroke, or the radius of a point */
    double opacity;   /* 0..1 */
    const char *dash; /* "4 3"; NULL: solid */
};

/* Open the figure; title: what it shows, for those who cannot see it. */
void plot_begin(const struct plot *plot, const char *title);
void plot_end(const struct plot *plot);

/* Grid, ticks and labels. */
void plot_axes(const struct plot *plot);

/* A line through n points; x, y: (n). */
void plot_line(const struct plot *plot, int n, const double *x, const double *y,
               const struct plot_style *style);

/* A straight line between two points. */
void plot_segment(const struct plot *plot, double x0, double y0, double x1, double y1,
                  const struct plot_style *style);

void plot_point(const struct plot *plot, double x, double y,
                const struct plot_style *style);

/* A filled rectangle; where y0 and y1 are equal to the axis' ends it is a band. title:
 * shown under the mouse, may be NULL. */
void plot_box(const struct plot *plot, double x0, double y0, double x1, double y1,
              const struct plot_style *style, const char *title);

/* Text at a point of the data plus (dx, dy); anchor: start, middle or end. */
void plot_text(const struct plot *plot, double x, double y, double dx, double dy,
               const char *anchor, const char *color, const char *text);

/* From data to the figure's coordinates. */
double plot_x(const struct plot *plot, double x);
double plot_y(const struct plot *plot, double y);

/* Widen an axis to round numbers; at most `most` steps of a linear one. */
void plot_axis_round(struct plot_axis *axis, int most);

/* Text with what XML does not take as it is replaced. */
void plot_escape(FILE *to, const char *text);

#endif
