#include <stdlib.h>

#include "picture.h"
#include "report_page.h"
#include "report_words.h"

#define SIDE 96 /* pixels of a picture on the page, about */

/* RFC 4648. */
static void base64(FILE *to, const unsigned char *bytes, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        unsigned long three = (unsigned long)bytes[i] << 16 |
                              (i + 1 < n ? (unsigned long)bytes[i + 1] << 8 : 0) |
                              (i + 2 < n ? bytes[i + 2] : 0);
        fputc(digits[three >> 18], to);
        fputc(digits[three >> 12 & 63], to);
        fputc(i + 1 < n ? digits[three >> 6 & 63] : '=', to);
        fputc(i + 2 < n ? digits[three & 63] : '=', to);
    }
}

/* x (height, width) as a picture under its name; a dashed frame where there is none. */
static void picture(FILE *to, const char *name, const float *x, int height, int width)
{
    size_t n = (size_t)height * (size_t)width, size = 0;
    int scale = n ? picture_scale(height, width, SIDE) : 1;
    uint8_t *levels = report_take(n, 1);
    void *png = NULL;

    fputs("<div class=\"pic\">", to);
    if (x) {
        picture_levels(x, n, levels);
        picture_png(levels, height, width, scale, &png, &size);
    }
    if (png) {
        fprintf(to, "<img alt=\"%s\" src=\"data:image/png;base64,", name);
        base64(to, png, size);
        fputs("\" />", to);
    } else {
        fputs("<span class=\"none\">none</span>", to);
    }
    fprintf(to, "<small>%s</small></div>\n", name);
    free(png);
    free(levels);
}

static void fact(FILE *to, const char *name, const char *format, double value)
{
    fprintf(to, "<div><dt>%s</dt><dd>", name);
    report_number(to, format, value);
    fputs("</dd></div>", to);
}

/* A field of several frames: of one-line stimuli all of it, time running down; of others
 * the frame that has most in it. */
static void field(const struct report *report, const struct report_unit *unit, FILE *to)
{
    size_t n = (size_t)report->height * (size_t)report->width;

    if (!unit->field || report->height == 1)
        picture(to, "model", unit->field, report->n_frames * report->height,
                report->width);
    else
        picture(to, "model", unit->field + (size_t)unit->field_frame * n, report->height,
                report->width);
}

static void card(const struct report *report, int u, int with_truth, int with_mei,
                 FILE *to)
{
    const struct report_unit *unit = &report->units[u];

    fprintf(to, "<div class=\"card\"><h3>unit %d</h3>\n<div class=\"pics\">", u);
    if (with_truth)
        picture(to, "truth", unit->truth, report->height, report->width);
    field(report, unit, to);
    if (with_mei)
        picture(to, unit->mei_from == REPORT_MEI_NOW ? "MEI*" : "MEI", unit->mei,
                report->height, report->width);
    fputs("</div>\n<dl>", to);
    fact(to, "r", "%.2f", unit->correlation);
    fact(to, "r, 2nd half", "%.2f", unit->correlation_late);
    fact(to, "bits/spike", "%.2f", unit->bits_per_spike);
    if (with_truth)
        fact(to, "cos model", "%.2f", unit->field_cosine);
    if (with_truth && with_mei)
        fact(to, "cos MEI", "%.2f", unit->mei_cosine);
    fact(to, "mean count", "%.2f", unit->mean_count);
    fputs("</dl></div>\n", to);
}

void report_cards(const struct report *report, FILE *to)
{
    int with_truth = 0, with_mei = 0;

    for (int u = 0; u < report->n_units; u++) {
        with_truth |= report->units[u].truth != NULL;
        with_mei |= report->units[u].mei != NULL;
    }
    fputs("<div class=\"cards\">\n", to);
    for (int i = 0; i < report->n_units && i < REPORT_SHOWN; i++)
        card(report, report->order[i], with_truth, with_mei, to);
    fputs("</div>\n", to);
}
