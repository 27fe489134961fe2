/*
 * report_words.h: how the page writes numbers, times, names and texts.
 *
 * Flow: values -> HTML text. Errors: none; what is unknown is a dash.
 */
#ifndef EVOKE_REPORT_WORDS_H
#define EVOKE_REPORT_WORDS_H

#include "report.h"

/* A number, or a dash where it is unknown. */
void report_number(FILE *to, const char *format, double value);

/* Name and colour of a policy's trials, for people. */
const char *report_kind_label(unsigned kind);
const char *report_kind_color(unsigned kind);

/* A time in ms with its unit, as short as it may be. */
void report_time(char *text, size_t size, double ms);

/* Text with what HTML does not take as it is replaced. */
void report_text(FILE *to, const char *text);

#endif
