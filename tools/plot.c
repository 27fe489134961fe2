#include "plot.h"

#include <math.h>
#include <string.h>

#define TICKS_MOST 64
#define FONT       "font-family=\"Helvetica Neue,Helvetica,Arial,Liberation Sans,sans-serif\""

void plot_escape(FILE *to, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        case '"':
            fputs("&quot;", to);
            break;
        default:
            fputc(*text, to);
        }
    }
}

static double along(const struct plot_axis *axis, double value)
{
    if (axis->is_log)
        return value > 0 ? log(value / axis->from) / log(axis->to / axis->from)
                         : (double)NAN;
    return (value - axis->from) / (axis->to - axis->from);
}

double plot_x(const struct plot *plot, double x)
{
    return plot->left + along(&plot->x, x) * (plot->width - plot->left - plot->right);
}

double plot_y(const struct plot *plot, double y)
{
    return plot->height - plot->bottom -
           along(&plot->y, y) * (plot->height - plot->top - plot->bottom);
}

/* The step of 1, 2 or 5 times a power of ten that gives at most so many. */
static double nice_step(double range, int most)
{
    double power = pow(10, floor(log10(range / most)));

    for (int i = 0; i < 3; i++) {
        double step = power * (const double[]){1, 2, 5}[i];
        if (range / step <= most * (1 + 1e-9))
            return step;
    }
    return power * 10;
}

void plot_axis_round(struct plot_axis *axis, int most)
{
    double step;

    if (axis->is_log) {
        axis->from = pow(10, floor(log10(axis->from) + 1e-9));
        axis->to = pow(10, ceil(log10(axis->to) - 1e-9));
        if (axis->to <= axis->from)
            axis->to = 10 * axis->from;
        return;
    }
    if (!(axis->to > axis->from))
        axis->to = axis->from + 1;
    step = nice_step(axis->to - axis->from, most);
    axis->from = floor(axis->from / step + 1e-9) * step;
    axis->to = ceil(axis->to / step - 1e-9) * step;
}

static int linear_ticks(const struct plot_axis *axis, int most, double *ticks)
{
    double step = nice_step(axis->to - axis->from, most);
    double first = ceil(axis->from / step - 1e-9);
    int n = 0;

    while (n < TICKS_MOST && (first + n) * step <= axis->to + 1e-9 * step) {
        ticks[n] = (first + n) * step;
        n++;
    }
    return n;
}

/* Powers of ten, with 2 and 5 between where there are few. */
static int log_ticks(const struct plot_axis *axis, double *ticks)
{
    int lo = (int)floor(log10(axis->from) + 1e-9), hi = (int)ceil(log10(axis->to)), n = 0;
    int between = axis->to / axis->from < 100;

    for (int power = lo; power <= hi; power++) {
        for (int i = 0; i < (between ? 3 : 1); i++) {
            double tick = pow(10, power) * (const double[]){1, 2, 5}[i];
            if (n < TICKS_MOST && tick >= axis->from * (1 - 1e-9) &&
                tick <= axis->to * (1 + 1e-9))
                ticks[n++] = tick;
        }
    }
    return n;
}

static int axis_ticks(const struct plot_axis *axis, int most, double *ticks)
{
    return axis->is_log ? log_ticks(axis, ticks) : linear_ticks(axis, most, ticks);
}

static void label(const struct plot *plot, double x, double y, const char *anchor,
                  const char *color, const char *text)
{
    fprintf(plot->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">", x, y,
            anchor, color);
    plot_escape(plot->to, text);
    fputs("</text>\n", plot->to);
}

void plot_begin(const struct plot *plot, const char *title)
{
    fprintf(plot->to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"%.0f\" "
            "height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" font-size=\"13\" " FONT ">\n",
            plot->width, plot->height, plot->width, plot->height);
    fputs("<title>", plot->to);
    plot_escape(plot->to, title);
    fputs("</title>\n", plot->to);
}

void plot_end(const struct plot *plot)
{
    fputs("</svg>\n", plot->to);
}

/* A tick's number, in thousands where it would be long. */
static void tick_text(double tick, char *text, size_t size)
{
    if (fabs(tick) >= 1e4 && fabs(tick) < 1e7)
        snprintf(text, size, "%.6gk", tick / 1000);
    else
        snprintf(text, size, "%.6g", tick == 0 ? 0.0 : tick);
}

static void rule(const struct plot *plot, double x0, double y0, double x1, double y1,
                 const char *color)
{
    fprintf(plot->to,
            "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x0,
            y0, x1, y1, color);
}

static void x_axis(const struct plot *plot)
{
    double ticks[TICKS_MOST], right = plot->width - plot->right,
                              floor_y = plot->height - plot->bottom;
    int most = (int)fmax(2, (right - plot->left) / 70), n;
    char text[32];

    n = plot->x.has_no_ticks ? 0 : axis_ticks(&plot->x, most, ticks);
    for (int i = 0; i < n; i++) {
        double x = plot_x(plot, ticks[i]);
        tick_text(ticks[i], text, sizeof(text));
        rule(plot, x, floor_y, x, floor_y + 4, PLOT_DIM);
        label(plot, x, floor_y + 18, "middle", PLOT_DIM, text);
    }
    rule(plot, plot->left, floor_y, right, floor_y, PLOT_DIM);
    if (plot->x.label)
        label(plot, (plot->left + right) / 2, plot->height - 4, "middle", PLOT_INK,
              plot->x.label);
}

static void y_axis(const struct plot *plot)
{
    double ticks[TICKS_MOST], right = plot->width - plot->right,
                              floor_y = plot->height - plot->bottom;
    double middle = (plot->top + floor_y) / 2;
    int most = (int)fmax(2, (floor_y - plot->top) / 34), n;
    char text[32];

    n = plot->y.has_no_ticks ? 0 : axis_ticks(&plot->y, most, ticks);
    for (int i = 0; i < n; i++) {
        double y = plot_y(plot, ticks[i]);
        tick_text(ticks[i], text, sizeof(text));
        rule(plot, plot->left, y, right, y, PLOT_GRID);
        label(plot, plot->left - 7, y + 4.5, "end", PLOT_DIM, text);
    }
    if (!plot->y.label)
        return;
    fprintf(plot->to,
            "<text transform=\"translate(14,%.1f) rotate(-90)\" text-anchor=\"middle\" "
            "fill=\"%s\">",
            middle, PLOT_INK);
    plot_escape(plot->to, plot->y.label);
    fputs("</text>\n", plot->to);
}

void plot_axes(const struct plot *plot)
{
    y_axis(plot);
    x_axis(plot);
}

/* The attributes of a stroke. */
static void stroke(const struct plot *plot, const struct plot_style *style)
{
    fprintf(plot->to, "stroke=\"%s\" stroke-width=\"%.2g\" stroke-opacity=\"%.3g\"",
            style->color, style->width, style->opacity);
    if (style->dash)
        fprintf(plot->to, " stroke-dasharray=\"%s\"", style->dash);
}

void plot_line(const struct plot *plot, int n, const double *x, const double *y,
               const struct plot_style *style)
{
    int pen_is_down = 0;

    fputs("<path d=\"", plot->to);
    for (int i = 0; i < n; i++) {
        double at_x = plot_x(plot, x[i]), at_y = plot_y(plot, y[i]);
        if (!isfinite(at_x) || !isfinite(at_y)) {
            pen_is_down = 0;
            continue;
        }
        fprintf(plot->to, "%c%.1f %.1f", pen_is_down ? 'L' : 'M', at_x, at_y);
        pen_is_down = 1;
    }
    fputs("\" fill=\"none\" stroke-linejoin=\"round\" ", plot->to);
    stroke(plot, style);
    fputs("/>\n", plot->to);
}

void plot_segment(const struct plot *plot, double x0, double y0, double x1, double y1,
                  const struct plot_style *style)
{
    plot_line(plot, 2, (const double[]){x0, x1}, (const double[]){y0, y1}, style);
}

void plot_point(const struct plot *plot, double x, double y,
                const struct plot_style *style)
{
    double at_x = plot_x(plot, x), at_y = plot_y(plot, y);

    if (!isfinite(at_x) || !isfinite(at_y))
        return;
    fprintf(plot->to,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.2g\" fill=\"%s\" "
            "fill-opacity=\"%.3g\"/>\n",
            at_x, at_y, style->width, style->color, style->opacity);
}

void plot_box(const struct plot *plot, double x0, double y0, double x1, double y1,
              const struct plot_style *style, const char *title)
{
    double left = plot_x(plot, fmin(x0, x1)), right = plot_x(plot, fmax(x0, x1));
    double top = plot_y(plot, fmax(y0, y1)), bottom = plot_y(plot, fmin(y0, y1));

    if (!isfinite(left) || !isfinite(right) || !isfinite(top) || !isfinite(bottom))
        return;
    fprintf(plot->to,
            "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" "
            "fill-opacity=\"%.3g\"",
            left, top, right - left, bottom - top, style->color, style->opacity);
    if (title) {
        fputs("><title>", plot->to);
        plot_escape(plot->to, title);
        fputs("</title></rect>\n", plot->to);
    } else {
        fputs("/>\n", plot->to);
    }
}

void plot_text(const struct plot *plot, double x, double y, double dx, double dy,
               const char *anchor, const char *color, const char *text)
{
    double at_x = plot_x(plot, x) + dx, at_y = plot_y(plot, y) + dy;

    if (isfinite(at_x) && isfinite(at_y))
        label(plot, at_x, at_y, anchor, color, text);
}
