/*
 * report_page.h: the parts of the page that are pictures.
 *
 * Flow:   report -> HTML with inline SVG and PNG, written to the page at once.
 * Errors: none; where there is nothing to draw the page asks report_has_...() first.
 */
#ifndef EVOKE_REPORT_PAGE_H
#define EVOKE_REPORT_PAGE_H

#include "report.h"

extern const char report_style[];

void report_figure_timeline(const struct report *report, FILE *to);
void report_figure_learning(const struct report *report, FILE *to);
void report_figure_calibration(const struct report *report, FILE *to);
void report_figure_mei(const struct report *report, FILE *to);
void report_figure_times(const struct report_quantiles *times, const char *label,
                         FILE *to);
void report_figure_repeats(const struct report *report, FILE *to);

/* The units one by one: truth, field and MEI as pictures, with their numbers. */
void report_cards(const struct report *report, FILE *to);

/* Did trials of any kind suffice for a curve? */
int report_has_curve(const struct report *report);

/* Did any unit see its own MEI, and stimuli to compare with? */
int report_has_gain(const struct report *report);

#endif
