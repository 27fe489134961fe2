#include "report_words.h"

#include <math.h>
#include <string.h>

#include "plot.h"

void report_text(FILE *to, const char *text)
{
    plot_escape(to, text ? text : "\u2013");
}

void report_number(FILE *to, const char *format, double value)
{
    char text[64];

    if (!isfinite(value)) {
        fputs("\u2013", to);
        return;
    }
    snprintf(text, sizeof(text), format, value);
    if (text[0] != '-')
        fputs(text, to);
    else if (strspn(text, "-0.") == strlen(text)) /* rounded to zero */
        fputs(text + 1, to);
    else
        fprintf(to, "\u2212%s", text + 1);
}

void report_time(char *text, size_t size, double ms)
{
    if (ms < 0.9995)
        snprintf(text, size, "%.3g \u00b5s", ms * 1e3);
    else
        snprintf(text, size, "%.3g ms", ms);
}

const char *report_kind_label(unsigned kind)
{
    static const char *const labels[REPORT_KINDS] = {"external stimuli", "random stimuli",
                                                     "info-max stimuli", "MEIs"};

    return kind < REPORT_KINDS ? labels[kind] : "other stimuli";
}

const char *report_kind_color(unsigned kind)
{
    static const char *const colors[REPORT_KINDS] = {PLOT_TEAL, PLOT_GOLD, PLOT_BLUE,
                                                     PLOT_RED};

    return colors[kind];
}
