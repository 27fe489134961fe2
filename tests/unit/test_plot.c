/* SVG figures: what is drawn where, and that it is XML. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/plot.h"

static char *svg;
static size_t svg_size;

static struct plot begin(int is_log)
{
    struct plot plot = {
        .width = 300, .height = 200, .left = 50, .right = 50, .top = 50, .bottom = 50};

    plot.to = open_memstream(&svg, &svg_size);
    assert_non_null(plot.to);
    plot.x = plot.y =
        (struct plot_axis){is_log ? 0.1 : 0, is_log ? 1000 : 10, is_log, "a < b", 0};
    plot_begin(&plot, "one & \"two\"");
    return plot;
}

static void end(struct plot *plot)
{
    plot_end(plot);
    fclose(plot->to);
}

static int count(const char *what)
{
    int n = 0;

    for (const char *at = svg; (at = strstr(at, what)); at++)
        n++;
    return n;
}

static const struct plot_style thin = {PLOT_BLUE, 1, 1, NULL};

static void coordinates(void **state)
{
    struct plot plot = begin(0);

    (void)state;
    assert_float_equal(plot_x(&plot, 0), 50, 1e-9);
    assert_float_equal(plot_x(&plot, 10), 250, 1e-9);
    assert_float_equal(plot_y(&plot, 0), 150, 1e-9);
    assert_float_equal(plot_y(&plot, 2.5), 125, 1e-9);
    end(&plot);
    free(svg);
    plot = begin(1);
    assert_float_equal(plot_x(&plot, 10), 150, 1e-9); /* the middle of four decades */
    assert_true(isnan(plot_x(&plot, 0)));
    end(&plot);
    free(svg);
}

static void line_is_broken_where_there_is_nothing(void **state)
{
    const double x[] = {1, 2, 3, 4, 5, 6}, y[] = {1, 2, NAN, 4, INFINITY, 6};
    struct plot plot = begin(0);

    (void)state;
    plot_line(&plot, 6, x, y, &thin);
    end(&plot);
    assert_non_null(strstr(svg, "d=\"M70.0 140.0L90.0 130.0M130.0 110.0M170.0 90.0\""));
    free(svg);
}

static void nothing_outside_a_logarithm(void **state)
{
    struct plot plot = begin(1);

    (void)state;
    plot_point(&plot, 0, 1, &thin);
    plot_point(&plot, 1, -1, &thin);
    plot_point(&plot, 1, 1, &thin);
    plot_box(&plot, 0, 1, 2, 2, &thin, NULL);
    plot_box(&plot, 1, 1, 2, 2, &thin, "t");
    end(&plot);
    assert_int_equal(count("<circle"), 1);
    assert_int_equal(count("<rect"), 1);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    free(svg);
}

static void box_has_its_corners_in_order(void **state)
{
    struct plot plot = begin(0);

    (void)state;
    plot_box(&plot, 6, 5, 4, 0, &thin, NULL);
    end(&plot);
    assert_non_null(
        strstr(svg, "x=\"130.00\" y=\"100.00\" width=\"40.00\" height=\"50.00\""));
    free(svg);
}

static void text_is_escaped(void **state)
{
    struct plot plot = begin(0);

    (void)state;
    plot_axes(&plot);
    plot_text(&plot, 1, 1, 0, 0, "middle", PLOT_INK, "</text><script>");
    end(&plot);
    assert_non_null(strstr(svg, "one &amp; &quot;two&quot;"));
    assert_int_equal(count("a &lt; b"), 2);
    assert_non_null(strstr(svg, "&lt;/text&gt;&lt;script&gt;"));
    assert_null(strstr(svg, "<script"));
    free(svg);
}

static void ticks_are_round(void **state)
{
    struct plot plot = begin(0);

    (void)state;
    plot_axes(&plot);
    end(&plot);
    assert_non_null(strstr(svg, ">0</text>"));
    assert_non_null(strstr(svg, ">10</text>"));
    assert_int_equal(count("<text"), 2 + 3 + 3); /* labels, 0 5 10, 0 5 10 */
    free(svg);
    plot = begin(1);
    plot_axes(&plot);
    end(&plot);
    assert_int_equal(count("<text"), 2 + 5 + 5); /* 0.1 1 10 100 1000 */
    assert_int_equal(count(">1000</text>"), 2);
    free(svg);
}

static void axis_is_widened_to_round_numbers(void **state)
{
    struct plot_axis axis = {-0.13, 0.87, 0, NULL, 0};

    (void)state;
    plot_axis_round(&axis, 6);
    assert_float_equal(axis.from, -0.2, 1e-12);
    assert_float_equal(axis.to, 1.0, 1e-12);
    axis = (struct plot_axis){3, 3, 0, NULL, 0}; /* without extent */
    plot_axis_round(&axis, 6);
    assert_true(axis.from <= 3 && axis.to > axis.from);
    axis = (struct plot_axis){0.03, 40, 1, NULL, 0};
    plot_axis_round(&axis, 6);
    assert_float_equal(axis.from, 0.01, 1e-12);
    assert_float_equal(axis.to, 100, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coordinates),
        cmocka_unit_test(line_is_broken_where_there_is_nothing),
        cmocka_unit_test(nothing_outside_a_logarithm),
        cmocka_unit_test(box_has_its_corners_in_order),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(ticks_are_round),
        cmocka_unit_test(axis_is_widened_to_round_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
