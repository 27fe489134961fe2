/* evoke bench: how fast it is on this machine. */
#include "tools/bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/ops.h"
#include "tools/tool.h"

static const char help[] =
    "Usage: evoke bench [NAME...] [--json] [--seconds S]\n\n"
    "Measures how fast Evoke is on this machine; all of it takes about 90 s. Each row "
    "is\n"
    "the median of its repeats and the smallest; where there is something to compare\n"
    "with, that was measured in turn with it in the same run.\n\n"
    "  NAME         only this row, as printed\n"
    "  --json       one JSON object a line\n"
    "  --seconds S  of the ingest bench; standard 60\n\n"
    "Example: evoke bench loop_latency_p99 ipc_roundtrip_p99\n";

/* What is measured together, and the rows that come of it. */
static const struct {
    int (*run)(const struct bench *bench);
    const char *rows[9];
} groups[] = {
    {bench_latency,
     {"loop_latency_p50", "loop_latency_p99", "loop_end_to_end_p50",
      "loop_end_to_end_p99", "ipc_roundtrip_p50", "ipc_roundtrip_p99"}},
    {bench_ingest, {"ingest_rate", "ingest_cpu_share", "ingest_rss_growth"}},
    {bench_models, {"glm_update_1000x1024"}},
};

#define N_GROUPS (sizeof(groups) / sizeof(groups[0]))

static int is_wanted(const struct bench *bench, const char *name)
{
    for (int i = 0; i < bench->n_wanted; i++)
        if (strcmp(bench->wanted[i], name) == 0)
            return 1;
    return bench->n_wanted == 0;
}

static int is_row(const char *name)
{
    for (size_t i = 0; i < N_GROUPS; i++)
        for (int k = 0; groups[i].rows[k]; k++)
            if (strcmp(groups[i].rows[k], name) == 0)
                return 1;
    return 0;
}

void bench_say(const struct bench *bench, const struct bench_row *row)
{
    int compared = isfinite(row->baseline);

    if (!is_wanted(bench, row->name))
        return;
    if (bench->json) {
        printf("{\"name\": \"%s\", \"median\": %.6g, \"min\": %.6g, \"unit\": \"%s\", "
               "\"threads\": %d",
               row->name, row->median, row->min, row->unit, row->threads);
        if (compared)
            printf(", \"baseline_median\": %.6g, \"ratio\": %.4g}\n", row->baseline,
                   row->median / row->baseline);
        else
            printf(", \"baseline_median\": null, \"ratio\": null}\n");
    } else {
        printf("%-22s %12.4g %-7s min %-10.4g", row->name, row->median, row->unit,
               row->min);
        if (compared)
            printf(" %.2f x %.4g", row->median / row->baseline, row->baseline);
        putchar('\n');
    }
    fflush(stdout);
}

void bench_remark(const struct bench *bench, const char *format, ...)
{
    va_list args;

    if (bench->json)
        return;
    printf("  ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, int n, double quantile)
{
    int i = (int)ceil(quantile * n) - 1;

    qsort(values, (size_t)n, sizeof(*values), ascending);
    return values[i < 0 ? 0 : i];
}

/* 0, or the exit code of wrong usage. */
static int parse(struct bench *bench, const char **names, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            bench->json = 1;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            bench->seconds = strtod(argv[++i], NULL);
            if (!(bench->seconds >= 1 && bench->seconds <= 86400))
                return tool_fail(TOOL_USAGE, "bench", "--seconds takes 1 to 86400");
        } else if (is_row(argv[i])) {
            names[bench->n_wanted++] = argv[i];
        } else {
            return tool_fail(TOOL_USAGE, "bench",
                             "no row '%s'; without a name all are printed", argv[i]);
        }
    }
    bench->wanted = names;
    return 0;
}

int tool_bench(int argc, char **argv)
{
    const char **names = calloc((size_t)argc, sizeof(*names));
    struct bench bench = {.seconds = 60};
    int code = TOOL_FAILED;

    if (names && tool_usage(argc, argv, help)) {
        code = TOOL_DONE;
    } else if (names && (code = parse(&bench, names, argc, argv)) == 0) {
        ops_init();
        for (size_t i = 0; i < N_GROUPS; i++) {
            int wanted = 0;
            for (int k = 0; groups[i].rows[k]; k++)
                wanted = wanted || is_wanted(&bench, groups[i].rows[k]);
            if (wanted && groups[i].run(&bench) != 0)
                code = TOOL_FAILED;
        }
    }
    free(names);
    return code;
}
